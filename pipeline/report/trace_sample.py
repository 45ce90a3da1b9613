"""Long traces on few points, so that no peak is lost, packed tightly for the page.

A chart is some 1,000 pixels wide. Of every bin of rows those stay that hold the least and the largest value
of any series, so that the drawn outline is that of all rows; values and times of the rows that stay are the
clip's own.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Of int16; the lowest stands for "none".
_NONE, _LARGEST = -32768, 32767
_FINEST_STEP = 1e-4


def rows_to_draw(series: Sequence[NDArray[np.floating]], num_points: int) -> NDArray[np.int64]:
    """Rows that keep the outline of several series over the same time.

    Args:
        series: ``(N,)`` each; NaN is nowhere the least or the largest.
        num_points: How many rows to return at most, at least 2 more than twice the number of series.

    Returns:
        Rising row numbers with the first and the last row; all rows where they are few enough.
    """
    num_rows = len(series[0])
    if num_rows <= num_points:
        return np.arange(num_rows)
    num_bins = max(1, (num_points - 2) // (2 * len(series)))
    edges = np.linspace(0, num_rows, num_bins + 1).astype(np.int64)
    kept = {0, num_rows - 1}
    for values in series:
        for start, stop in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            piece = values[start:stop]
            known = np.flatnonzero(~np.isnan(piece))
            if len(known):
                kept.add(start + int(known[np.argmin(piece[known])]))
                kept.add(start + int(known[np.argmax(piece[known])]))
    return np.array(sorted(kept), np.int64)


def bin_means(values: NDArray[np.floating], num_bins: int) -> NDArray[np.float64]:
    """Means of consecutive rows.

    Args:
        values: ``(N, M)``, N > 0.
        num_bins: Number of bins B, at most N.

    Returns:
        ``(B, M)``.
    """
    edges = np.linspace(0, len(values), num_bins + 1).astype(np.int64)
    sums = np.add.reduceat(values.astype(np.float64), edges[:-1], axis=0)
    return sums / np.diff(edges)[:, None]


def gaps(found: NDArray[np.bool_], time_s: NDArray[np.float64], frame_s: float) -> list[list[float]]:
    """Spans of time, ``[start, end]`` in seconds, in which something was not found."""
    missing = np.concatenate(([False], ~found, [False])).astype(np.int8)
    change = np.diff(missing)
    starts, stops = np.flatnonzero(change == 1), np.flatnonzero(change == -1)
    return [
        [round(float(time_s[start]), 4), round(float(time_s[stop - 1]) + frame_s, 4)]
        for start, stop in zip(starts, stops, strict=True)
    ]


def merged_gaps(spans: list[list[float]], num_spans: int) -> list[list[float]]:
    """As many spans at most: those that lie closest together become one."""
    if len(spans) <= num_spans:
        return spans
    between = np.array([after[0] - before[1] for before, after in pairwise(spans)])
    kept = {*np.argsort(-between, kind="stable")[: num_spans - 1].tolist()}
    merged = [list(spans[0])]
    for index, span in enumerate(spans[1:]):
        if index in kept:
            merged.append(list(span))
        else:
            merged[-1][1] = span[1]
    return merged


def packed(values: NDArray[np.floating]) -> dict[str, Any]:
    """Numbers as int16 steps in base64, to 0.0001 where they lie within 3.2 of 0; NaN stays none.

    Args:
        values: ``(n,)``.
    """
    finite = np.isfinite(values)
    largest = float(np.abs(values[finite]).max()) if finite.any() else 0.0
    step = max(_FINEST_STEP, largest / _LARGEST)
    steps = np.full(len(values), _NONE, "<i2")
    steps[finite] = np.rint(values[finite] / step).astype("<i2")
    return {"step": step, "i16": base64.b64encode(steps.tobytes()).decode()}


def packed_times(time_s: NDArray[np.float64]) -> dict[str, Any]:
    """Times as float32 after the first one, in base64."""
    start = float(time_s[0]) if len(time_s) else 0.0
    return {"start": start, "f32": base64.b64encode((time_s - start).astype("<f4").tobytes()).decode()}


def packed_frames(frame: NDArray[np.int64]) -> str:
    """Indices of pictures as uint32 in base64."""
    return base64.b64encode(frame.astype("<u4").tobytes()).decode()
