"""Whether the best epoch can be chosen by the validation labels."""

from __future__ import annotations

from tagf_head.config import TARGETS
from tagf_head.data.split_data import SplitData
from tagf_head.errors import TrainingError


def require_varying_labels(validation: SplitData) -> None:
    """Refuse labels of which no CCC can be taken.

    Raises:
        TrainingError: All labels of a target are the same.
    """
    label = validation.label[validation.label_mask]
    for column, target in enumerate(TARGETS):
        if (label[:, column] == label[0, column]).all():
            raise TrainingError(
                f"{validation.name}: expected labels that vary, got {target} {label[0, column]} for all "
                f"{len(label)} labelled frames of {len(validation.clip_ids)} clips, and no CCC to choose the "
                "best epoch by; validate on more clips, or train with --fold"
            )
