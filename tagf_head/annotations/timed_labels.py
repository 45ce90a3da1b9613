"""Labels with time stamps, at a rate of their own: each frame's label is interpolated.

    noted at      0.0    0.1    0.2    0.3    -      0.5 s      period 0.1 s
    value         o------o------o------o             o
    label of      |=========================|     |=====|       linear between neighbours, and half a period
    a frame                                                     beyond the first and last of a stretch

Letters: S samples, N rows of the clip in the store.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tagf_head.annotations.clip_labels import AlignedLabels

# Jitter and rounded time stamps double a step now and then; neighbours further apart have a gap between them.
_GAP_PERIODS = 2.5
# Times that are multiples of a period differ from their true values in the last bits.
_ROUNDING = 1e-6


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelTrace:
    """The course of one target in one clip.

    Attributes:
        time_s: ``(S,)`` seconds on the container's timeline, rising strictly.
        value: ``(S,)`` float64, NaN where nobody annotated.
    """

    time_s: NDArray[np.float64]
    value: NDArray[np.float64]

    @cached_property
    def period_s(self) -> float:
        """Usual distance of neighbouring samples, their median; 0 for fewer than two samples."""
        return _period_s(self.time_s)

    def at(self, wanted_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Value at each time.

        Linear between neighbouring samples that are both annotated and at most 2.5 periods apart; elsewhere
        the value of an annotated sample within half a period.

        Args:
            wanted_s: ``(N,)`` seconds.

        Returns:
            ``(N,)``, NaN where there is no label.
        """
        if not len(self.time_s):
            return np.full(len(wanted_s), np.nan)
        after = np.searchsorted(self.time_s, wanted_s).clip(max=len(self.time_s) - 1)
        before = np.where(self.time_s[after] > wanted_s, np.maximum(after - 1, 0), after)
        from_before, to_after = wanted_s - self.time_s[before], self.time_s[after] - wanted_s
        step = self.time_s[after] - self.time_s[before]
        # NaN wherever one of the two is not annotated.
        share = np.divide(from_before, step, out=np.zeros_like(step), where=step > 0)
        value = (1 - share) * self.value[before] + share * self.value[after]
        is_between = (step > 0) & (step <= (_GAP_PERIODS + _ROUNDING) * self.period_s) & ~np.isnan(value)
        grace_s = (0.5 + _ROUNDING) * self.period_s
        held = np.where(np.abs(from_before) <= grace_s, self.value[before], np.nan)
        held = np.where(np.isnan(held) & (np.abs(to_after) <= grace_s), self.value[after], held)
        return np.where(is_between, value, held)

    def covers(self, wanted_s: NDArray[np.float64]) -> NDArray[np.bool_]:
        """``(N,)``, whether a time lies between first and last sample, half a period of grace."""
        if not len(self.time_s):
            return np.zeros(len(wanted_s), bool)
        grace_s = (0.5 + _ROUNDING) * self.period_s
        inside = (wanted_s >= self.time_s[0] - grace_s) & (wanted_s <= self.time_s[-1] + grace_s)
        return np.asarray(inside)

    def num_outside(self, wanted_s: NDArray[np.float64]) -> int:
        """Samples before the first or after the last of some times, half a period (the longer) of grace."""
        if not len(wanted_s):
            return len(self.time_s)
        grace_s = (0.5 + _ROUNDING) * max(self.period_s, _period_s(wanted_s))
        outside = (self.time_s < wanted_s[0] - grace_s) | (self.time_s > wanted_s[-1] + grace_s)
        return int(outside.sum())


@dataclass(frozen=True, kw_only=True, eq=False)
class TimedLabels:
    """Labels by time stamp; the two targets may have time stamps of their own.

    Attributes:
        valence: Course of valence.
        arousal: Course of arousal.
    """

    valence: LabelTrace
    arousal: LabelTrace

    @property
    def num_labelled(self) -> int:
        """See `ClipLabels`."""
        return min(int((~np.isnan(trace.value)).sum()) for trace in (self.valence, self.arousal))

    def align(
        self, source_frame: NDArray[np.int64], time_s: NDArray[np.float64], delay_s: float
    ) -> AlignedLabels:
        """See `ClipLabels`."""
        wanted_s = time_s + delay_s
        labels = np.stack([self.valence.at(wanted_s), self.arousal.at(wanted_s)], axis=1)
        mask = np.asarray(~np.isnan(labels).any(axis=1))
        labels[~mask] = 0
        covered = self.valence.covers(wanted_s) & self.arousal.covers(wanted_s)
        return AlignedLabels(
            labels=labels.astype(np.float32),
            mask=mask,
            num_not_annotated=int((covered & ~mask).sum()),
            num_missing=int((~covered).sum()),
            num_surplus=max(self.valence.num_outside(wanted_s), self.arousal.num_outside(wanted_s)),
        )

    def content(self) -> bytes:
        """See `ClipLabels`."""
        traces = (self.valence, self.arousal)
        sizes = f"times {len(traces[0].time_s)} {len(traces[1].time_s)}\n".encode()
        arrays = [array for trace in traces for array in (trace.time_s, trace.value)]
        # One NaN for all, for their bits differ by how they came about.
        return sizes + b"".join(
            np.where(np.isnan(each), np.nan, each).astype("<f8").tobytes() for each in arrays
        )


def _period_s(time_s: NDArray[np.float64]) -> float:
    return float(np.median(np.diff(time_s))) if len(time_s) > 1 else 0.0
