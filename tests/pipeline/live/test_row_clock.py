"""Rows that end with a picture."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.live.live_source import LiveFrame
from pipeline.live.row_clock import RowClock
from pipeline.media.row_times import rows_of_frames

PICTURE = np.zeros((2, 2, 3), np.uint8)


def frames(times_s: list[float], indices: list[int] | None = None) -> list[LiveFrame]:
    return [
        LiveFrame(index=index, time_s=time_s, rgb=PICTURE, arrived_s=0.0)
        for index, time_s in zip(indices or range(len(times_s)), times_s, strict=True)
    ]


def test_each_picture_has_a_row_and_missed_ones_have_theirs():
    clock = RowClock(None)
    assert [clock.rows_until(each) for each in frames([5, 5.1, 5.4, 5.5], [3, 4, 7, 8])] == [1, 1, 3, 1]


@pytest.mark.parametrize(("source_hz", "rate_hz"), [(30, 25), (25, 25), (60, 25), (24, 24)])
def test_at_a_rate_pictures_have_the_rows_that_stage_one_gives_them(source_hz, rate_hz):
    times_s = [7 + number / source_hz for number in range(300)]
    clock = RowClock(rate_hz)
    rows = [clock.rows_until(each) for each in frames(times_s)]
    expected = {
        number: len(of) for number, of in rows_of_frames(zip(times_s, range(300), strict=True), rate_hz)
    }
    # The last picture of a file shows half a row more.
    assert rows[:-1] == [expected.get(number, 0) for number in range(299)]


def test_times_that_jitter_around_the_rate_give_a_row_each():
    jitter = np.random.default_rng(0).uniform(-0.015, 0.015, 200)
    jitter[0] = 0
    clock = RowClock(25)
    rows = [clock.rows_until(each) for each in frames((np.arange(200) / 25 + jitter).tolist())]
    assert rows == [1] * 200


def test_a_slow_source_fills_its_rows():
    clock = RowClock(25)
    assert [clock.rows_until(each) for each in frames([0, 0.08, 0.16, 0.4])] == [1, 2, 2, 6]
