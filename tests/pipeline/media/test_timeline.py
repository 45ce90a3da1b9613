"""Example placement, nearest rows and rising times, against brute force over the plain definitions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import OutOfClipError, PipelineError
from pipeline.media.timeline import (
    example_first_rows,
    example_span,
    index_at,
    overlaps_any,
    rising_time,
    window_first_samples,
)

BEFORE = {"start": Fraction(0), "center": Fraction(975, 2000), "end": Fraction(975, 1000)}


@pytest.mark.parametrize(
    ("anchor", "span"),
    [("start", (10.0, 10.975)), ("center", (9.5125, 10.4875)), ("end", (9.025, 10.0))],
)
def test_example_span_lies_at_after_or_before_the_frame(anchor, span):
    assert example_span(10.0, anchor) == pytest.approx(span, abs=1e-12)


@pytest.mark.parametrize("anchor", ["start", "center", "end"])
@given(
    ticks=st.lists(st.integers(-90_000, 9_000_000), min_size=1, max_size=20),
    start_ms=st.integers(-500, 5000),
)
def test_first_row_is_the_nearest_and_the_earlier_of_two(anchor, ticks, start_ms):
    rows = example_first_rows([tick / 90_000 for tick in ticks], start_ms / 1000, anchor)
    for tick, row in zip(ticks, rows, strict=True):
        wanted = (Fraction(tick, 90_000) - BEFORE[anchor] - Fraction(start_ms, 1000)) * 100  # exact
        candidates = range(int(wanted) - 3, int(wanted) + 4)
        assert row == min(candidates, key=lambda candidate: (abs(candidate - wanted), candidate))


@pytest.mark.parametrize("anchor", ["start", "center", "end"])
@given(
    ticks=st.lists(st.integers(-90_000, 9_000_000), min_size=1, max_size=20),
    start_ms=st.integers(-500, 5000),
    length=st.integers(1, 50_000),
)
def test_first_sample_is_the_nearest_and_the_earlier_of_two(anchor, ticks, start_ms, length):
    samples = window_first_samples([tick / 90_000 for tick in ticks], start_ms / 1000, anchor, length)
    share = {"start": Fraction(0), "center": Fraction(1, 2), "end": Fraction(1)}[anchor]
    for tick, sample in zip(ticks, samples, strict=True):
        wanted = (Fraction(tick, 90_000) - Fraction(start_ms, 1000)) * 16_000 - share * length
        candidates = range(int(wanted) - 3, int(wanted) + 4)
        assert sample == min(candidates, key=lambda candidate: (abs(candidate - wanted), candidate))


def test_evenly_spaced_frames_get_evenly_spaced_rows_though_every_row_is_a_tie():
    # 25 fps and `end`: 4 k - 97.5 rows, the half always.
    rows = example_first_rows(np.arange(5000) / 25, 0.0, "end")
    assert rows[0] == -98
    np.testing.assert_array_equal(np.diff(rows), 4)


@given(
    starts=st.lists(st.integers(-50, 150), max_size=30),
    length=st.integers(1, 40),
    cuts=st.lists(st.integers(0, 100), unique=True, max_size=8),
)
def test_overlap_with_spans_is_a_shared_sample(starts, length, cuts):
    cuts = sorted(cuts)
    spans = np.array(list(zip(cuts[::2], cuts[1::2], strict=False)), dtype=np.int64).reshape(-1, 2)
    decoded = {sample for first, stop in spans.tolist() for sample in range(first, stop)}
    expected = [bool(decoded & set(range(start, start + length))) for start in starts]
    assert overlaps_any(np.array(starts, dtype=np.int64), length, spans).tolist() == expected


def test_intervals_that_only_touch_a_span_do_not_overlap_it():
    starts = np.array([9, 10, 11, 24, 25, 29, 30])
    assert overlaps_any(starts, 10, np.array([(20, 25), (39, 50)])).tolist() == [
        False,  # 9..18
        False,  # 10..19
        True,  # 11..20
        True,  # 24..33
        False,  # 25..34
        False,  # 29..38
        True,  # 30..39
    ]


@given(
    steps=st.lists(st.integers(1, 9), min_size=1, max_size=20),
    begin=st.integers(-20, 20),
    where=st.floats(0, 1),
)
def test_index_at_is_the_nearest_frame(steps, begin, where):
    times = (begin + np.cumsum([0, *steps])) / 8  # exact in binary, so that ties are ties
    asked = float(times[0] + round(where * (times[-1] - times[0]) * 16) / 16)
    distances = [abs(time - asked) for time in times.tolist()]
    assert index_at(times, asked) == distances.index(min(distances))


def test_index_at_answers_for_half_a_frame_beyond_either_end_and_no_more():
    times = [1.0, 1.04, 1.14]
    assert index_at(times, 0.98) == 0
    assert index_at(times, 1.19) == 2
    for outside in (0.979, 1.191):
        with pytest.raises(OutOfClipError, match=r"expected a time from 0\.98 to 1\.19 s.*3 frames"):
            index_at(times, outside)


def test_index_at_of_no_frame_and_of_one():
    with pytest.raises(OutOfClipError, match="no frames"):
        index_at([], 0.0)
    assert index_at([2.0], 2.0) == 0
    with pytest.raises(PipelineError):
        index_at([2.0], 2.01)


@pytest.mark.parametrize(
    ("stamp_s", "previous_s", "expected"),
    [
        (None, None, 0.0),
        (1.5, None, 1.5),
        (-0.5, None, -0.5),
        (None, 1.0, 1.04),
        (1.3, 1.0, 1.3),
        (1.0, 1.0, 1.001),
        (0.96, 1.0, 1.001),
        (0.95, 1.0, None),
    ],
)
def test_times_rise_or_are_refused(stamp_s, previous_s, expected):
    assert rising_time(stamp_s, previous_s, frame_s=0.04, tick_s=0.001) == pytest.approx(expected)
