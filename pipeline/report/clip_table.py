"""The report's table of clips: what was found in each, how well it was predicted, and what failed."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pipeline.report.clip_prediction import ClipPrediction
from pipeline.report.true_labels import TrueLabels
from tagf_head.config import TARGETS
from tagf_head.evaluation.metrics import ConcordanceMoments

#: Metrics of a clip that the table shows.
SHOWN_METRICS = ("ccc", "rmse")


@dataclass(frozen=True, kw_only=True)
class ClipRow:
    """One line of the table.

    Attributes:
        clip_id: The clip.
        group: Subject, media file or clip, as the evaluation grouped it; None where it is not known.
        num_frames: Rows of its predictions.
        num_labelled: Rows with a label; None where no labels are at hand.
        seconds: From its first row to its last, and the last one's length.
        face_share: Share of the rows in which a face was found; None without rows.
        metrics: `valence_ccc`, `arousal_ccc`, `valence_rmse`, `arousal_rmse`; None where the labels do not
            settle one.
        mean_sd: Mean standard deviation of valence and arousal; None where none is known.
        error: Why the clip failed; None where it did not.
    """

    clip_id: str
    group: str | None = None
    num_frames: int = 0
    num_labelled: int | None = None
    seconds: float = 0.0
    face_share: float | None = None
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    mean_sd: float | None = None
    error: str | None = None

    @property
    def mean_ccc(self) -> float | None:
        """Mean of both targets' CCC."""
        values = [self.metrics.get(f"{target}_ccc") for target in TARGETS]
        return None if None in values else math.fsum(value for value in values if value is not None) / 2


def row_of_clip(clip: ClipPrediction, labels: TrueLabels | None, group: str | None) -> ClipRow:
    """What there is to say of a clip with predictions."""
    row = ClipRow(
        clip_id=clip.clip_id,
        group=group,
        num_frames=len(clip),
        seconds=float(clip.time_s[-1] - clip.time_s[0] + clip.frame_s) if len(clip) else 0.0,
        face_share=float(clip.face_found.mean()) if len(clip) else None,
        mean_sd=None if clip.deviation is None or not len(clip) else float(clip.deviation.mean()),
    )
    found = None if labels is None else labels.of_clip(clip)
    if found is None:
        return row
    label, mask = found
    metrics: dict[str, float | None] = {}
    for column, target in enumerate(TARGETS):
        moments = ConcordanceMoments().add(clip.values[:, column], label[:, column], mask)
        values = moments.defined_metrics()
        metrics |= {f"{target}_{name}": values[name] for name in SHOWN_METRICS}
    return replace(row, num_labelled=int(mask.sum()), metrics=metrics)


def spread_choice(rows: Sequence[ClipRow], count: int, predicted: Collection[str]) -> list[int]:
    """Which clips to show when there are too many: from the worst to the best in even steps.

    Args:
        rows: The clips.
        count: How many, at least 1.
        predicted: Clips whose predictions are at hand.

    Returns:
        Indices into `rows`, rising. All that have predictions where they are few enough; those of no CCC come
        behind the others in their own order.
    """
    shown = [index for index, row in enumerate(rows) if row.num_frames > 0 and row.clip_id in predicted]
    if len(shown) <= count:
        return shown
    ranked = sorted(
        (index for index in shown if rows[index].mean_ccc is not None),
        key=lambda index: (rows[index].mean_ccc, index),
    )
    if not ranked:
        return shown[:count]
    if len(ranked) <= count:
        rest = [index for index in shown if rows[index].mean_ccc is None]
        return sorted([*ranked, *rest[: count - len(ranked)]])
    if count == 1:
        return [ranked[0]]
    return sorted({ranked[round(step * (len(ranked) - 1) / (count - 1))] for step in range(count)})
