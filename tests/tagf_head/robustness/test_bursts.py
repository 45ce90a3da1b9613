"""Bursts: the exact share, the length that is asked for, and every place alike."""

from __future__ import annotations

from collections import Counter
from itertools import groupby

import numpy as np
import pytest
import scipy.stats

from tagf_head.robustness.bursts import burst_mask


def lengths(away: np.ndarray) -> list[int]:
    return [len(list(run)) for is_away, run in groupby(away.tolist()) if is_away]


@pytest.mark.parametrize("num_rows", [0, 1, 2, 7, 150, 301])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.25, 0.5, 0.8, 0.99, 1.0])
@pytest.mark.parametrize("burst_rows", [1, 5, 25])
def test_share_is_exact_and_bursts_have_their_length(num_rows: int, share: float, burst_rows: int) -> None:
    for seed in range(5):
        away = burst_mask(num_rows, share, burst_rows, np.random.default_rng(seed))
        assert abs(away.sum() - share * num_rows) <= 0.5
        found = lengths(away)
        if not found:
            continue
        assert max(found) - min(found) <= 1
        # As long as asked for, as nearly as a whole number of bursts allows; longer where no row is left to
        # stand between them, shorter where all together are less.
        wanted = max(1, round(away.sum() / burst_rows))
        assert len(found) == min(wanted, num_rows - away.sum() + 1)


def test_bursts_of_a_second_at_a_fifth() -> None:
    away = burst_mask(1500, 0.2, 25, np.random.default_rng(0))
    assert lengths(away) == [25] * 12


def test_every_place_is_as_likely() -> None:
    # Two single rows of six that do not touch: 10 ways.
    generator = np.random.default_rng(0)
    seen = Counter(tuple(np.flatnonzero(burst_mask(6, 2 / 6, 1, generator))) for _ in range(4000))
    assert len(seen) == 10
    assert all(second - first > 1 for first, second in seen)
    assert scipy.stats.chisquare([*seen.values()]).pvalue > 0.01


def test_one_generator_state_gives_one_mask() -> None:
    first, second = (burst_mask(200, 0.4, 7, np.random.default_rng(8)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, burst_mask(200, 0.4, 7, np.random.default_rng(9)))
