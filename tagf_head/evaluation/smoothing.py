"""Smoothing of predictions over time: a median that is centred, or an exponential mean of what came before.

    median:0.5         each row becomes the median of the rows up to 0.25 s before and after it
    exponential:0.5    y_i = y_(i-1) + (1 - exp(-(t_i - t_(i-1)) / 0.5)) (x_i - y_(i-1)),  y_0 = x_0

Both go by the rows' own times, so that a variable frame rate, or another one than in training, changes
nothing. The median takes out short jumps and keeps steps; it looks ahead by half its span. The exponential
mean looks back alone, as a live prediction must, and lags behind by its time constant.

What is smoothed in blocks equals what is smoothed at once, to the last bit. A clip's rows are smoothed by
themselves. Letters in shapes: N rows, K values per row.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from tagf_head.errors import HeadError

SmoothingKind = Literal["median", "exponential"]

# Times that are multiples of a period differ from their true values in the last bits: a row as far away as
# the span reaches is within it.
_SAME_TIME_S = 1e-6
# Values that are gathered at once for their medians.
_MAX_GATHERED = 2**20


@dataclass(frozen=True, kw_only=True)
class Smoothing:
    """What is done to predictions.

    Attributes:
        kind: `median` or `exponential`.
        seconds: Span of the median, from its first to its last row; time constant of the exponential mean.
    """

    kind: SmoothingKind
    seconds: float

    def __post_init__(self) -> None:
        if self.kind not in get_args(SmoothingKind):
            raise ValueError(f"kind must be one of {', '.join(get_args(SmoothingKind))}, got {self.kind!r}")
        if not (math.isfinite(self.seconds) and self.seconds > 0):
            raise ValueError(f"seconds must be a positive number, got {self.seconds}")

    def __str__(self) -> str:
        return f"{self.kind}:{self.seconds:g}"

    def stream(self) -> SmoothedStream:
        """For one clip, whose rows come in blocks."""
        return _MedianStream(self.seconds) if self.kind == "median" else _ExponentialStream(self.seconds)


class SmoothedStream(Protocol):
    """Smooths one clip: blocks of rows in, blocks of rows out, in order."""

    def add(self, values: NDArray[np.float32], time_s: NDArray[np.float64]) -> NDArray[np.float32]:
        """Take in the next rows.

        Args:
            values: ``(N, K)``.
            time_s: ``(N,)``, not falling, nor before the rows that came earlier.

        Returns:
            ``(n, K)`` the next rows that no later one has an influence on; there may be none.

        Raises:
            HeadError: The times fall.
        """
        ...

    def finish(self) -> NDArray[np.float32]:
        """``(n, K)`` the rows that are left, when all have come in."""
        ...


def parse_smoothing(text: str) -> Smoothing:
    """Smoothing from its text.

    >>> parse_smoothing("median:0.5")
    Smoothing(kind='median', seconds=0.5)

    Args:
        text: `KIND:SECONDS`.

    Raises:
        HeadError: It is something else.
    """
    kinds: tuple[SmoothingKind, ...] = get_args(SmoothingKind)
    given, _, span = text.partition(":")
    kind = next((each for each in kinds if each == given), None)
    if kind is None:
        close = get_close_matches(given, kinds, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise HeadError(
            f"smoothing {text!r}: expected KIND:SECONDS with a kind of {', '.join(kinds)}, like "
            f"'median:0.5', got the kind {given!r}{hint}"
        )
    try:
        return Smoothing(kind=kind, seconds=float(span))
    except ValueError as error:
        raise HeadError(
            f"smoothing {text!r}: expected a positive number of seconds behind the colon, got {span!r}; give "
            f"for example '{kind}:0.5'"
        ) from error


def smooth_clip(
    values: NDArray[np.float32], time_s: NDArray[np.float64], smoothing: Smoothing
) -> NDArray[np.float32]:
    """One clip's rows, smoothed.

    Args:
        values: ``(N, K)``.
        time_s: ``(N,)``, not falling.
        smoothing: What to do.

    Returns:
        ``(N, K)``; the sums are done in float64.

    Raises:
        HeadError: The times fall.
    """
    stream = smoothing.stream()
    return np.concatenate([stream.add(values, time_s), stream.finish()])


def smooth_clips(
    values: NDArray[np.float32],
    time_s: NDArray[np.float64],
    row_size: NDArray[np.int64],
    smoothing: Smoothing,
) -> NDArray[np.float32]:
    """The rows of several clips, each clip smoothed by itself.

    Args:
        values: ``(N, K)``.
        time_s: ``(N,)``, not falling within a clip.
        row_size: Number of rows of each clip, in order; N is their sum.
        smoothing: What to do.

    Raises:
        HeadError: The times of a clip fall.
    """
    smoothed = np.empty_like(values)
    stops = np.cumsum(row_size)
    for start, stop in zip((stops - row_size).tolist(), stops.tolist(), strict=True):
        smoothed[start:stop] = smooth_clip(values[start:stop], time_s[start:stop], smoothing)
    return smoothed


class _MedianStream:
    """Keeps the rows that are within the span of a row that is still to come."""

    def __init__(self, seconds: float) -> None:
        self._reach_s = seconds / 2 + _SAME_TIME_S
        self._values: NDArray[np.float32] | None = None
        self._time_s = np.empty(0)
        self._num_given = 0  # of the rows that are kept, those that were given out

    def add(self, values: NDArray[np.float32], time_s: NDArray[np.float64]) -> NDArray[np.float32]:
        _check_times(self._time_s[-1:], time_s)
        self._values = values if self._values is None else np.concatenate([self._values, values])
        self._time_s = np.concatenate([self._time_s, time_s])
        # A row is settled by the first row that lies beyond its reach.
        last_s = self._time_s[-1] if len(self._time_s) else -math.inf
        return self._give(int(np.searchsorted(self._time_s + self._reach_s, last_s)))

    def finish(self) -> NDArray[np.float32]:
        return self._give(len(self._time_s))

    def _give(self, stop: int) -> NDArray[np.float32]:
        """The rows from the first that was not given out up to `stop`; forgets what no later one needs."""
        assert self._values is not None  # rows are added first
        rows = np.arange(self._num_given, max(stop, self._num_given))
        first = np.searchsorted(self._time_s, self._time_s[rows] - self._reach_s)
        behind = np.searchsorted(self._time_s, self._time_s[rows] + self._reach_s, side="right")
        medians = _medians(self._values, first, behind)
        self._num_given += len(rows)
        if self._num_given < len(self._time_s):
            first_needed = np.searchsorted(self._time_s, self._time_s[self._num_given] - self._reach_s)
            self._values, self._time_s = self._values[first_needed:], self._time_s[first_needed:]
            self._num_given -= int(first_needed)
        return medians


class _ExponentialStream:
    """Keeps the last row."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._mean: Sequence[float] | None = None
        self._time_s = np.empty(0)
        self._nothing = np.empty((0, 0), np.float32)

    def add(self, values: NDArray[np.float32], time_s: NDArray[np.float64]) -> NDArray[np.float32]:
        self._nothing = values[:0]
        if not len(values):
            return values
        _check_times(self._time_s, time_s)
        weights = -np.expm1(-np.diff(time_s, prepend=self._time_s[-1:]) / self._seconds)
        rows = values.astype(np.float64).tolist()
        means = []
        if self._mean is None:
            self._mean, rows = rows[0], rows[1:]
            means.append(self._mean)
        for row, weight in zip(rows, weights.tolist(), strict=True):
            self._mean = [mean + weight * (value - mean) for mean, value in zip(self._mean, row, strict=True)]
            means.append(self._mean)
        self._time_s = time_s[-1:]
        return np.array(means).astype(np.float32)

    def finish(self) -> NDArray[np.float32]:
        return self._nothing


def _check_times(before: NDArray[np.float64], time_s: NDArray[np.float64]) -> None:
    falls = np.flatnonzero(np.diff(time_s, prepend=before) < 0)
    if len(falls):
        both = np.concatenate([before, time_s])
        raise HeadError(
            f"smoothing: expected times that do not fall, got {both[falls[0] + 1]:g} s after "
            f"{both[falls[0]]:g} s; leave the smoothing out, or mend the clip's times"
        )


def _medians(
    values: NDArray[np.float32], first: NDArray[np.intp], behind: NDArray[np.intp]
) -> NDArray[np.float32]:
    """Medians of runs of rows: ``(n, K)`` of ``values[first:behind]`` for each of n runs, none empty."""
    medians = np.empty((len(first), values.shape[1]), np.float32)
    sizes = behind - first
    for size in np.unique(sizes).tolist():
        runs = np.flatnonzero(sizes == size)
        step = max(1, _MAX_GATHERED // size)
        for start in range(0, len(runs), step):
            some = runs[start : start + step]
            gathered = values[first[some][:, None] + np.arange(size)].astype(np.float64)  # (n, size, K)
            medians[some] = np.median(gathered, axis=1)
    return medians
