"""Speed and latency of a live prediction, counted while it runs, in memory that does not grow."""

from __future__ import annotations

from math import ceil, exp, log

import numpy as np

from pipeline.live.live_prediction import LiveAnswer
from pipeline.live.live_source import LiveSource

# Latencies are counted in classes that are 1 % wide, from 10 microseconds to a day.
_SHORTEST_S, _LONGEST_S, _WIDTH = 1e-5, 86_400.0, log(1.01)


class LatencyCount:
    """Latencies, of which quantiles are known to a per cent."""

    def __init__(self) -> None:
        self._counts = np.zeros(ceil(log(_LONGEST_S / _SHORTEST_S) / _WIDTH) + 1, np.int64)

    def add(self, latency_s: float) -> None:
        """Count one."""
        place = round(log(min(max(latency_s, _SHORTEST_S), _LONGEST_S) / _SHORTEST_S) / _WIDTH)
        self._counts[min(place, len(self._counts) - 1)] += 1

    def quantile(self, share: float) -> float | None:
        """The latency in seconds that a share of all do not exceed; None where there are none."""
        total = int(self._counts.sum())
        if not total:
            return None
        place = int(np.searchsorted(np.cumsum(self._counts), max(1, ceil(share * total))))
        return _SHORTEST_S * exp(place * _WIDTH)


class LiveTally:
    """Takes in one answer after the other.

    Attributes:
        num_answers: Answers so far.
        num_faces: Those of pictures with a face.
        latency: Of all answers.
    """

    def __init__(self) -> None:
        self.num_answers = self.num_faces = 0
        self.latency = LatencyCount()

    def add(self, answer: LiveAnswer) -> None:
        """Count an answer."""
        self.num_answers += 1
        self.num_faces += answer.face_found
        self.latency.add(answer.latency_s)

    def summary(self, source: LiveSource, elapsed_s: float) -> str:
        """One line for people.

        Args:
            source: What was read.
            elapsed_s: How long it took.
        """
        rate_hz, median_s, late_s = source.rate_hz, self.latency.quantile(0.5), self.latency.quantile(0.95)
        parts = [
            f"{self.num_answers} of {source.num_frames} frames answered in {elapsed_s:.1f} s",
            f"{self.num_answers / elapsed_s if elapsed_s > 0 else 0:.1f} frames/s",
            f"source {'unknown' if rate_hz is None else f'{rate_hz:.1f} frames/s'}",
            f"{source.slot.num_missed} skipped",
            f"face in {self.num_faces}",
        ]
        if median_s is not None and late_s is not None:
            parts.append(
                f"latency {1000 * median_s:.0f} ms (median), {1000 * late_s:.0f} ms (95th percentile)"
            )
        return ", ".join(parts)
