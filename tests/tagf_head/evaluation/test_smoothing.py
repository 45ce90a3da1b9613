"""Smoothing against pandas, against its formula, and in blocks against at once."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tagf_head.errors import HeadError
from tagf_head.evaluation import smoothing as module
from tagf_head.evaluation.smoothing import Smoothing, parse_smoothing, smooth_clip, smooth_clips


def clip(num_rows: int, seed: int = 0, *, jitter_ms: int = 12) -> tuple[NDArray[np.float32], NDArray]:
    """Values and times; times in whole milliseconds, which pandas and seconds both hold."""
    generator = np.random.default_rng(seed)
    step_ms = 40 + generator.integers(-jitter_ms, jitter_ms + 1, num_rows)
    values = generator.uniform(-1, 1, (num_rows, 2)).astype(np.float32)
    return values, (700 + np.cumsum(step_ms)) / 1000


def frame_of(values: NDArray[np.float32], time_s: NDArray[np.float64]) -> pd.DataFrame:
    """With the times as nanoseconds, in which the span's ends are exact."""
    index = pd.to_datetime(np.rint(time_s * 1e3).astype(np.int64), unit="ms")
    return pd.DataFrame(values.astype(np.float64), index=index)


@pytest.mark.parametrize("span_ms", [40, 120, 500, 4000])
@pytest.mark.parametrize("jitter_ms", [0, 12])
def test_median_is_that_of_pandas(span_ms: int, jitter_ms: int) -> None:
    values, time_s = clip(80, jitter_ms=jitter_ms)
    ours = smooth_clip(values, time_s, Smoothing(kind="median", seconds=span_ms / 1000))
    theirs = frame_of(values, time_s).rolling(f"{span_ms}ms", center=True, closed="both").median()
    np.testing.assert_array_equal(ours, theirs.to_numpy().astype(np.float32))
    assert ours.dtype == np.float32


def test_ends_of_the_span_count_whatever_the_last_bits_of_the_times() -> None:
    # At 25 frames/s a span of 0.24 s holds three rows before and three after: 0.12 s is not 3 / 25 in binary.
    values, _ = clip(50)
    for start_s in (0.0, 0.1, 3600.04):
        time_s = start_s + np.arange(50) / 25
        ours = smooth_clip(values, time_s, Smoothing(kind="median", seconds=0.24))
        np.testing.assert_array_equal(ours[20], np.median(values[17:24], axis=0))
        np.testing.assert_array_equal(ours[0], np.median(values[:4].astype(float), axis=0).astype(np.float32))


def test_exponential_is_that_of_pandas() -> None:
    values, time_s = clip(200)
    seconds = 0.3
    ours = smooth_clip(values, time_s, Smoothing(kind="exponential", seconds=seconds))
    frame = frame_of(values, time_s)
    half_life = pd.Timedelta(seconds=seconds * math.log(2))
    theirs = frame.ewm(halflife=half_life, times=frame.index, adjust=False).mean()
    # Pandas counts the half-life in whole nanoseconds.
    np.testing.assert_allclose(ours, theirs.to_numpy(), rtol=0, atol=1e-6)


def test_exponential_follows_a_step_by_its_time_constant() -> None:
    time_s = np.arange(100) / 50
    step = (time_s > 0).astype(np.float32)[:, None]
    ours = smooth_clip(step, time_s, Smoothing(kind="exponential", seconds=0.5))[:, 0]
    np.testing.assert_allclose(ours, 1 - np.exp(-time_s / 0.5), atol=1e-7)


@settings(deadline=None, max_examples=60)
@given(
    kind=st.sampled_from(["median", "exponential"]),
    seconds=st.sampled_from([0.04, 0.3, 1.0, 20.0]),
    cuts=st.lists(st.integers(0, 60), max_size=8),
    seed=st.integers(0, 5),
)
def test_in_blocks_as_at_once(kind: module.SmoothingKind, seconds: float, cuts: list[int], seed: int) -> None:
    values, time_s = clip(60, seed)
    smoothing = Smoothing(kind=kind, seconds=seconds)
    stream = smoothing.stream()
    bounds = [0, *sorted(cuts), 60]
    blocks = [
        stream.add(values[start:stop], time_s[start:stop]) for start, stop in itertools.pairwise(bounds)
    ]
    in_blocks = np.concatenate([*blocks, stream.finish()])
    np.testing.assert_array_equal(in_blocks, smooth_clip(values, time_s, smoothing))


def test_rows_are_given_out_as_soon_as_they_are_settled() -> None:
    values, time_s = clip(100, jitter_ms=0)
    median = Smoothing(kind="median", seconds=0.4).stream()
    given = [
        len(median.add(values[row : row + 1], time_s[row : row + 1])) for row in range(100)
    ]  # five rows ahead, and the one beyond
    assert sum(given[:6]) == 0
    assert given[6:] == [1] * 94
    assert len(median._values) <= 12  # type: ignore[attr-defined]  # what it keeps does not grow
    exponential = Smoothing(kind="exponential", seconds=0.4).stream()
    assert len(exponential.add(values, time_s)) == 100


def test_many_values_are_gathered_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    values, time_s = clip(90)
    smoothing = Smoothing(kind="median", seconds=0.9)
    whole = smooth_clip(values, time_s, smoothing)
    monkeypatch.setattr(module, "_MAX_GATHERED", 50)
    np.testing.assert_array_equal(smooth_clip(values, time_s, smoothing), whole)


def test_each_clip_by_itself() -> None:
    first, first_s = clip(30, 1)
    second, second_s = clip(20, 2)
    for kind in ("median", "exponential"):
        smoothing = Smoothing(kind=kind, seconds=0.5)
        both = smooth_clips(
            np.concatenate([first, second]),
            np.concatenate([first_s, second_s]),
            np.array([30, 0, 20]),
            smoothing,
        )
        np.testing.assert_array_equal(both[:30], smooth_clip(first, first_s, smoothing))
        np.testing.assert_array_equal(both[30:], smooth_clip(second, second_s, smoothing))


@pytest.mark.parametrize("kind", ["median", "exponential"])
def test_times_that_fall_are_refused(kind: module.SmoothingKind) -> None:
    values, time_s = clip(6, jitter_ms=0)
    stream = Smoothing(kind=kind, seconds=0.5).stream()
    stream.add(values[:3], time_s[:3])
    with pytest.raises(HeadError, match=r"got 0\.7 s after 0\.82 s"):
        stream.add(values[3:], np.array([0.7, 0.8, 0.9]))


def test_text() -> None:
    assert parse_smoothing("exponential:2") == Smoothing(kind="exponential", seconds=2.0)
    assert str(parse_smoothing("median:0.50")) == "median:0.5"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("medain:0.5", r"got the kind 'medain'; did you mean 'median'\?"),
        ("0.5", "expected KIND:SECONDS"),
        ("median", "expected a positive number of seconds behind the colon, got ''; give .*'median:0.5'"),
        ("median:half", "got 'half'"),
        ("median:0", "got '0'"),
        ("exponential:-1", "got '-1'"),
        ("exponential:nan", "got 'nan'"),
        ("median:inf", "got 'inf'"),
    ],
)
def test_text_that_says_nothing_usable(text: str, message: str) -> None:
    with pytest.raises(HeadError, match=message):
        parse_smoothing(text)
