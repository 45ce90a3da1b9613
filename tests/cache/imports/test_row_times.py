"""Nearest rows, against a loop over exact fractions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.imports.row_times import nearest_rows, period_of, regular_times_s


def nearest(wanted: Fraction, given_times: list[Fraction], period: Fraction) -> int:
    distances = [abs(wanted - each) for each in given_times]
    if not distances or min(distances) > period / 2:
        return -1
    return distances.index(min(distances))  # the first of those that are as near


@pytest.mark.parametrize("wanted_hz", [25, Fraction(30000, 1001), 10, 3])
@pytest.mark.parametrize("given_hz", [25, Fraction(25, 2), 50, 100, Fraction(30000, 1001), 1])
@pytest.mark.parametrize("given_rows", [0, 1, 2, 40])
def test_regular_rates(wanted_hz: Fraction, given_hz: Fraction, given_rows: int) -> None:
    wanted = [Fraction(row) / wanted_hz for row in range(60)]
    given_times = [Fraction(row) / given_hz for row in range(given_rows)]
    rows = nearest_rows(
        regular_times_s(60, float(wanted_hz)),
        regular_times_s(given_rows, float(given_hz)),
        1 / float(given_hz),
    )
    period = 1 / Fraction(given_hz)
    assert rows.tolist() == [nearest(each, given_times, period) for each in wanted]


times = st.lists(st.integers(-50, 50), unique=True, max_size=12).map(sorted)


@given(wanted=times, given_times=times, period=st.integers(1, 20))
def test_any_times(wanted: list[int], given_times: list[int], period: int) -> None:
    # Quarters are exact in float64.
    rows = nearest_rows(np.array(wanted) / 4.0, np.array(given_times) / 4.0, period / 4.0)
    exact = [Fraction(each, 4) for each in given_times]
    assert rows.tolist() == [nearest(Fraction(each, 4), exact, Fraction(period, 4)) for each in wanted]


def test_period() -> None:
    assert period_of(np.array([0.0, 1.0, 2.0, 10.0])) == 1.0
    assert period_of(np.array([3.0])) is None
