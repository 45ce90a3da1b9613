"""Metrics of each clip by itself, and their mean over the clips.

Pooled metrics ask whether clips are told apart as well as how each is followed; those of a clip ask for the
latter alone. Both stand on the same moments.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tagf_head.config import TARGETS
from tagf_head.evaluation.metrics import METRICS, ConcordanceMoments
from tagf_head.evaluation.predictions import Predictions
from tagf_head.run_folder import csv_bytes, write_file

_COLUMNS = (
    "clip_id",
    "group",
    "num_frames",
    "num_labelled",
    "face_share",
    *(f"{target}_{metric}" for target in TARGETS for metric in METRICS),
)


@dataclass(frozen=True, kw_only=True)
class ClipMetrics:
    """One clip.

    Attributes:
        clip_id: The clip.
        group: What it was grouped by: a subject, a media file or the clip itself.
        num_frames: Frames of the clip.
        num_labelled: Frames with a label.
        face_share: Share of the frames in which a face was found; None without frames.
        moments: Of valence and of arousal, over the labelled frames.
    """

    clip_id: str
    group: str
    num_frames: int
    num_labelled: int
    face_share: float | None
    moments: tuple[ConcordanceMoments, ConcordanceMoments]


def metrics_of_clips(
    predictions: Predictions, label: NDArray[np.float32], label_mask: NDArray[np.bool_]
) -> tuple[ClipMetrics, ...]:
    """Metrics of every clip, in the predictions' order.

    Args:
        predictions: Of N frames.
        label: ``(N, 2)`` valence and arousal.
        label_mask: ``(N,)``, false where there is no label.
    """
    stops = np.cumsum(predictions.row_size)
    clips = []
    for index, (clip_id, stop) in enumerate(zip(predictions.clip_ids, stops, strict=True)):
        rows = slice(stop - predictions.row_size[index], stop)
        mask = label_mask[rows]
        valence, arousal = (
            ConcordanceMoments().add(predictions.values[rows, column], label[rows, column], mask)
            for column in range(len(TARGETS))
        )
        clips.append(
            ClipMetrics(
                clip_id=clip_id,
                group=predictions.groups.group[index],
                num_frames=len(mask),
                num_labelled=int(mask.sum()),
                face_share=float(predictions.face_found[rows].mean()) if len(mask) else None,
                moments=(valence, arousal),
            )
        )
    return tuple(clips)


def pooled_moments(clips: Sequence[ClipMetrics]) -> tuple[ConcordanceMoments, ConcordanceMoments]:
    """Moments of valence and of arousal over the labelled frames of all clips."""
    valence = arousal = ConcordanceMoments()
    for clip in clips:
        valence, arousal = valence.merge(clip.moments[0]), arousal.merge(clip.moments[1])
    return valence, arousal


def clip_means(clips: Sequence[ClipMetrics], target: int) -> dict[str, float | int | None]:
    """Unweighted mean of each metric over the clips for which it is defined.

    Args:
        clips: The clips.
        target: 0 for valence, 1 for arousal.

    Returns:
        Each metric, None where no clip defines it, and `num_clips` that define the CCC.
    """
    found = [clip.moments[target].defined_metrics() for clip in clips]
    means: dict[str, float | int | None] = {}
    for name in METRICS:
        values = [value for each in found if (value := each[name]) is not None]
        means[name] = float(np.mean(values)) if values else None
    return means | {"num_clips": sum(each["ccc"] is not None for each in found)}


def write_clip_metrics(path: Path, clips: Sequence[ClipMetrics]) -> None:
    """Write a CSV file of one line per clip; the cell of a metric that is not defined is empty."""
    lines = [
        (
            clip.clip_id,
            clip.group,
            clip.num_frames,
            clip.num_labelled,
            _cell(clip.face_share),
            *(_cell(value) for moments in clip.moments for value in moments.defined_metrics().values()),
        )
        for clip in clips
    ]
    write_file(path, csv_bytes(_COLUMNS, lines))


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.6f}"
