"""Predictions as annotations: one span per second with the mean of its rows, and spans without a face.

Annotation tools draw a course over time beside the picture, and search and compare annotations, which are
spans with a text. Frames would be too many of them: half a million in a day of video.

    rows        . . . . . . . . . . . .
    valence     |  0.12 |  0.15 |  0.09|        a span for each second of the container's timeline
    no face         |####|

A row lasts until the next one, the last row as long as the one before it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pipeline.prediction.predicted_rows import PredictedRows

#: Of a span of means.
SPAN_S = 1.0
NO_FACE = "no face"
# Where a clip has one row alone.
_LONE_ROW_S = 0.04
# Times that are multiples of a period differ from their true values in the last bits: a row at 1 s belongs to
# the second that begins there.
_SAME_TIME_S = 1e-6


@dataclass(frozen=True, kw_only=True)
class Span:
    """An annotation.

    Attributes:
        start_s: Its begin, in seconds on the container's timeline.
        stop_s: Its end, later than that.
        text: What it says.
    """

    start_s: float
    stop_s: float
    text: str


@dataclass(frozen=True, kw_only=True)
class AnnotationTiers:
    """Annotations of one clip.

    Attributes:
        start_s: Time of the first row.
        stop_s: End of the last row; as the start for a clip without rows.
        tiers: Name -> spans in order, which do not overlap: `valence`, `arousal`, `no face`.
    """

    start_s: float
    stop_s: float
    tiers: dict[str, tuple[Span, ...]]


class TierTally:
    """Takes in a clip's rows, and keeps a few numbers per second."""

    def __init__(self) -> None:
        self._first_s = self._last_s = 0.0
        self._step_s = _LONE_ROW_S
        self._num_rows = 0
        # Second -> number of rows, sums of valence and arousal; seconds without rows are left out.
        self._sums: dict[int, tuple[int, float, float]] = {}
        self._faceless: list[tuple[float, float]] = []  # begin of a span, and of the row after it
        self._faceless_since: float | None = None

    def add(self, rows: PredictedRows) -> None:
        """Take in the next rows."""
        if not len(rows):
            return
        times = rows.time_s.tolist()
        if not self._num_rows:
            self._first_s = times[0]
        if len(times) > 1 or self._num_rows:
            before = times[-2] if len(times) > 1 else self._last_s
            self._step_s = times[-1] - before
        self._last_s, self._num_rows = times[-1], self._num_rows + len(times)
        seconds = np.floor((rows.time_s + _SAME_TIME_S) / SPAN_S).astype(np.int64)
        for second in np.unique(seconds).tolist():
            of_second = rows.values[seconds == second].astype(np.float64)
            count, valence, arousal = self._sums.get(second, (0, 0.0, 0.0))
            sums = of_second.sum(axis=0).tolist()
            self._sums[second] = (count + len(of_second), valence + sums[0], arousal + sums[1])
        for time_s, found in zip(times, rows.face_found.tolist(), strict=True):
            if not found and self._faceless_since is None:
                self._faceless_since = time_s
            elif found and self._faceless_since is not None:
                self._faceless.append((self._faceless_since, time_s))
                self._faceless_since = None

    def tiers(self) -> AnnotationTiers:
        """The annotations of all rows."""
        stop_s = self._last_s + self._step_s if self._num_rows else self._first_s
        means = [
            (
                max(second * SPAN_S, self._first_s),
                min((second + 1) * SPAN_S, stop_s),
                (valence / count, arousal / count),
            )
            for second, (count, valence, arousal) in self._sums.items()
        ]
        faceless = list(self._faceless)
        if self._faceless_since is not None:
            faceless.append((self._faceless_since, stop_s))
        of_targets = {
            target: tuple(
                Span(start_s=start, stop_s=stop, text=_number(mean[column]))
                for start, stop, mean in means
                if stop > start
            )
            for column, target in enumerate(("valence", "arousal"))
        }
        return AnnotationTiers(
            start_s=self._first_s,
            stop_s=stop_s,
            tiers=of_targets
            | {NO_FACE: tuple(Span(start_s=start, stop_s=stop, text=NO_FACE) for start, stop in faceless)},
        )


def _number(value: float) -> str:
    """Two digits, and never a minus sign before zeros."""
    rounded = round(value, 2)
    return f"{math.copysign(0.0, 1.0) if rounded == 0 else rounded:.2f}"
