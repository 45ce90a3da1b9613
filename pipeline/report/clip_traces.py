"""One clip as the page draws it: predicted and true traces, spans without a face, gates over time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.report.clip_prediction import ClipPrediction
from pipeline.report.trace_sample import (
    bin_means,
    gaps,
    merged_gaps,
    packed,
    packed_frames,
    packed_times,
    rows_to_draw,
)
from tagf_head.config import TARGETS

# More bins are not told apart on a screen; more cells would fill the page.
_MAX_GATE_BINS, _MAX_GATE_CELLS = 400, 3_000
_MAX_GAPS = 150


def clip_traces(
    clip: ClipPrediction,
    labels: tuple[NDArray[np.float32], NDArray[np.bool_]] | None,
    *,
    num_points: int,
) -> dict[str, Any]:
    """A clip for the page's data.

    Args:
        clip: At least one row.
        labels: ``(N, 2)`` and ``(N,)`` mask; None where none are at hand.
        num_points: Points of each trace at most.
    """
    true = None
    if labels is not None and labels[1].any():
        true = np.where(labels[1][:, None], labels[0], np.float32(np.nan))
    series = [*clip.values.T, *(() if true is None else true.T)]
    rows = rows_to_draw(series, num_points)
    traces: dict[str, Any] = {
        "frame_s": clip.frame_s,
        "complete": len(rows) == len(clip),
        "time": packed_times(clip.time_s[rows]),
        "frame": packed_frames(clip.frame[rows]),
        "gaps": merged_gaps(gaps(clip.face_found, clip.time_s, clip.frame_s), _MAX_GAPS),
        "gates": _gates(clip, num_points),
    }
    for column, target in enumerate(TARGETS):
        traces[target] = {
            "predicted": packed(clip.values[rows, column]),
            "sd": None if clip.deviation is None else packed(clip.deviation[rows, column]),
            "true": None if true is None else packed(true[rows, column]),
        }
    return traces


def _gates(clip: ClipPrediction, num_points: int) -> dict[str, Any] | None:
    """Mean weights in equal numbers of rows, with the times at which the bins begin and end."""
    if not clip.gates:
        return None
    num_rows = sum(len(gate.candidates) for gate in clip.gates.values())
    num_bins = max(1, min(_MAX_GATE_BINS, _MAX_GATE_CELLS // num_rows, num_points, len(clip)))
    edges = np.linspace(0, len(clip), num_bins + 1).astype(np.int64)
    ends = np.append(clip.time_s, clip.time_s[-1] + clip.frame_s)
    return {
        "edges": packed_times(ends[edges]),
        "gates": [
            {
                "name": name,
                "candidates": list(gate.candidates),
                "weights": [packed(column) for column in bin_means(gate.weights, num_bins).T],
            }
            for name, gate in clip.gates.items()
        ],
    }
