"""Rows of shifted sound, held against a search through all rows and against what is seen by hand."""

from __future__ import annotations

import doctest
import statistics
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from tagf_head.robustness import audio_shift
from tagf_head.robustness.audio_shift import NO_ROW, frame_duration_s, shifted_rows


def nearest(time_s: list[Fraction], shift_s: Fraction) -> list[int]:
    """Row by row, in fractions: the nearest row, the earlier one of two."""
    half_s = statistics.median(after - before for before, after in pairwise(time_s)) / 2
    rows = []
    for wanted in (each - shift_s for each in time_s):
        inside = time_s[0] - half_s < wanted <= time_s[-1] + half_s
        distance = [abs(each - wanted) for each in time_s]
        rows.append(distance.index(min(distance)) if inside else NO_ROW)
    return rows


@pytest.mark.parametrize("fps", ["7.5", "24", "25", "30"])
@pytest.mark.parametrize("shift_s", ["-2", "-0.5", "-0.02", "0.02", "0.04", "0.2", "0.5", "1", "2"])
def test_constant_rates(fps: str, shift_s: str) -> None:
    exact = [Fraction("0.4") + row / Fraction(fps) for row in range(90)]
    time_s = np.array([float(each) for each in exact])
    assert shifted_rows(time_s, float(shift_s)).tolist() == nearest(exact, Fraction(shift_s))


def test_whole_frames_move_by_so_many_rows_at_every_rate() -> None:
    for fps in (10, 25, 50):
        time_s = 0.1 + np.arange(100) / fps
        rows = round(0.4 * fps)
        later = shifted_rows(time_s, 0.4)
        np.testing.assert_array_equal(later[:rows], NO_ROW)
        np.testing.assert_array_equal(later[rows:], np.arange(100 - rows))
        earlier = shifted_rows(time_s, -0.4)
        np.testing.assert_array_equal(earlier[: 100 - rows], np.arange(rows, 100))
        np.testing.assert_array_equal(earlier[100 - rows :], NO_ROW)


def test_half_a_frame_goes_to_the_earlier_row_whatever_the_rounding() -> None:
    time_s = 0.1 + np.arange(1000) / 25
    found = shifted_rows(time_s, 0.5)  # 12.5 rows
    np.testing.assert_array_equal(found[13:], np.arange(1000 - 13))
    np.testing.assert_array_equal(found[:13], NO_ROW)


def test_changing_frame_rate() -> None:
    generator = np.random.default_rng(3)
    time_s = np.cumsum(generator.uniform(0.02, 0.08, 80)).round(6)
    for shift_s in (-0.7, -0.1, 0.1, 0.7):
        exact = [Fraction(str(each)) for each in time_s]
        assert shifted_rows(time_s, shift_s).tolist() == nearest(exact, Fraction(str(shift_s)))


def test_no_shift_keeps_every_row() -> None:
    time_s = np.array([0.0, 0.0, 0.04, 0.04])  # even where times repeat
    assert shifted_rows(time_s, 0.0).tolist() == [0, 1, 2, 3]


def test_short_clips() -> None:
    assert shifted_rows(np.zeros(0), 1.0).tolist() == []
    assert shifted_rows(np.array([3.0]), 0.5).tolist() == [NO_ROW]
    assert frame_duration_s(np.array([3.0])) == 0


def test_examples() -> None:
    assert doctest.testmod(audio_shift).failed == 0
