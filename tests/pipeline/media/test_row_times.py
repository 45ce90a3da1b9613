"""Rows at a constant rate, against the nearest frame by exhaustive search in exact numbers."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.media.row_times import rows_of_frames


def nearest_by_search(times: list[Fraction], rate: Fraction) -> list[int]:
    """Number of the frame that each row shows."""
    shown = []
    row = times[0]
    while row <= times[-1] + 1 / (2 * rate):
        distances = [abs(time - row) for time in times]
        shown.append(distances.index(min(distances)))
        row += 1 / rate
    return shown


@given(
    steps_ms=st.lists(st.integers(1, 400), max_size=40),
    start_ms=st.integers(-5000, 5_000_000),
    rate=st.sampled_from([1, 4, 10, 24, 25, 50, 60, 1000]),
)
def test_each_row_shows_the_frame_nearest_in_time(steps_ms, start_ms, rate):
    times = [Fraction(int(ms), 1000) for ms in start_ms + np.cumsum([0, *steps_ms])]
    given_rows = list(rows_of_frames([(float(time), k) for k, time in enumerate(times)], rate))
    shown = [item for item, rows in given_rows for _ in rows]
    assert [row for _, rows in given_rows for row in rows] == list(range(len(shown)))
    assert all(len(rows) > 0 for _, rows in given_rows)
    assert shown == nearest_by_search(times, Fraction(rate))


@pytest.mark.parametrize(
    ("frames_hz", "rows_hz", "expected"),
    [
        (25, 25, [0, 1, 2, 3, 4, 5]),
        (50, 25, [0, 2, 4, 5]),  # the last row lies half a row after the last frame
        (25, 50, [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5]),  # every second row is a tie
        (30, 10, [0, 3, 5]),
    ],
)
def test_ties_go_to_the_earlier_frame_at_any_time_of_day(frames_hz, rows_hz, expected):
    for start_s in (0.0, 0.852, 86_400.1):
        timed = ((start_s + k / frames_hz, k) for k in range(6))
        assert [item for item, rows in rows_of_frames(timed, rows_hz) for _ in rows] == expected


def test_no_frames_have_no_rows():
    assert list(rows_of_frames([], 25)) == []


def test_frames_are_given_as_soon_as_the_next_one_is_known():
    drawn = []

    def frames():
        for k in range(5):
            drawn.append(k)
            yield k / 25, k

    assert next(iter(rows_of_frames(frames(), 25))) == (0, range(0, 1))
    assert drawn == [0, 1]
