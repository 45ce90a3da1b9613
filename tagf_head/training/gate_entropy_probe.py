"""How undecided a head's gates are while it predicts."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from tagf_head.config import TARGETS
from tagf_head.distributed import sum_arrays
from tagf_head.evaluation.head_passes import with_variance
from tagf_head.heads.head import Head
from tagf_head.heads.uncertain import UncertainHead
from tagf_head.layers.gate_entropy import gate_entropy


class GateEntropyProbe(nn.Module):
    """A head that predicts as before, and adds up the entropy of its gates.

    Args:
        head: With or without gates.

    Attributes:
        num_values: Number of values per frame that it gives.
    """

    def __init__(self, head: Head) -> None:
        super().__init__()
        self._head = head
        self._has_deviations = isinstance(head, UncertainHead)
        self.num_values = len(TARGETS) * (2 if self._has_deviations else 1)
        # Sums stay on the head's device: reading a value of an accelerator waits for it.
        self._sums: dict[str, list[Tensor]] = {name: [] for name in head.gate_candidates}
        self._num_frames: list[Tensor] = []

    def forward(self, visual: Tensor, audio: Tensor, frame_mask: Tensor) -> Tensor:
        """Valence and arousal as the head gives them; `with_variance` of an `UncertainHead`."""
        found = self._head(visual, audio, frame_mask, return_all=True)
        num_frames = frame_mask.sum()
        self._num_frames.append(num_frames)
        for name, alpha in found.gates.items():
            self._sums[name].append(gate_entropy(alpha, frame_mask) * num_frames)
        prediction: Tensor = found.prediction
        return with_variance(found) if self._has_deviations else prediction

    def mean_entropy(self) -> dict[str, float]:
        """Gate -> mean entropy over the frames seen by all processes, in nats; all of them come here."""
        if not self._sums:
            return {}
        totals = np.array([_total(each) for each in (self._num_frames, *self._sums.values())])
        sum_arrays(totals)
        return dict(zip(self._sums, (totals[1:] / totals[0]).tolist(), strict=True))


def _total(values: list[Tensor]) -> float:
    return float(torch.stack(values).double().sum()) if values else 0.0
