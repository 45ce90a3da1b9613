"""Latencies against NumPy's quantiles, and the line at the end."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from pipeline.live.live_prediction import LiveAnswer
from pipeline.live.live_summary import LatencyCount, LiveTally


def test_quantiles_are_known_to_a_per_cent():
    latencies_s = np.random.default_rng(0).lognormal(-3, 0.7, 5000)
    count = LatencyCount()
    for latency_s in latencies_s:
        count.add(float(latency_s))
    for share in (0.05, 0.5, 0.95, 1.0):
        expected = np.quantile(latencies_s, share, method="inverted_cdf")
        assert count.quantile(share) == pytest.approx(expected, rel=0.01)


def test_odd_latencies_count_as_the_nearest():
    count = LatencyCount()
    assert count.quantile(0.5) is None
    for latency_s in (-1.0, 0.0, 1e9):
        count.add(latency_s)
    assert count.quantile(0.3) == pytest.approx(1e-5)
    assert count.quantile(1.0) == pytest.approx(86_400, rel=0.01)


def test_the_summary_says_all_there_is_to_say():
    tally = LiveTally()
    for number in range(20):
        latency_s = 0.05 if number < 19 else 0.2
        tally.add(
            LiveAnswer(
                frame=number, time_s=0.0, valence=0.0, arousal=0.0, face_found=number > 4, latency_s=latency_s
            )
        )
    source = SimpleNamespace(num_frames=25, rate_hz=25.0, slot=SimpleNamespace(num_missed=5))
    assert tally.summary(source, 2.0) == (
        "20 of 25 frames answered in 2.0 s, 10.0 frames/s, source 25.0 frames/s, 5 skipped, face in 15, "
        "latency 50 ms (median), 50 ms (95th percentile)"
    )
    empty = SimpleNamespace(num_frames=0, rate_hz=None, slot=SimpleNamespace(num_missed=0))
    assert "source unknown" in LiveTally().summary(empty, 0.0)
