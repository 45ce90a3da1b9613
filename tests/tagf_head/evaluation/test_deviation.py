"""Variance of an ensemble, against the moments of a mixture of Gaussians."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.integrate
import scipy.stats

from tagf_head.evaluation.deviation import Deviations, DeviationTally


def heads(num_heads: int, num_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Means and variances, (heads, rows, 2)."""
    generator = np.random.default_rng(0)
    return generator.uniform(-1, 1, (num_heads, num_rows, 2)), generator.uniform(
        0.01, 0.2, (num_heads, num_rows, 2)
    )


def tallied(values: np.ndarray, variance: np.ndarray | None, rows: list[np.ndarray]) -> Deviations:
    tally = DeviationTally(len(rows[0]), predicted=variance is not None)
    for index, of_head in enumerate(rows):
        tally.add(values[index], None if variance is None else variance[index], of_head)
    return tally.deviations()


def test_it_is_the_variance_of_the_mixture() -> None:
    values, variance = heads(3, 4)
    found = tallied(values, variance, [np.ones(4, bool)] * 3)
    assert found.source == "both"
    deviation = found.total()
    assert deviation is not None
    assert deviation.dtype == np.float32

    def density(x: float, row: int, column: int) -> float:
        sd = np.sqrt(variance[:, row, column])
        return float(scipy.stats.norm.pdf(x, values[:, row, column], sd).mean())

    for row in range(4):
        for column in range(2):
            first, second = (
                scipy.integrate.quad(
                    lambda x, p=power, r=row, c=column: x**p * density(x, r, c), -6, 6, limit=200
                )[0]
                for power in (1, 2)
            )
            assert deviation[row, column] == pytest.approx(np.sqrt(second - first**2), rel=1e-6)


def test_heads_of_folds_predict_rows_of_their_own() -> None:
    values, variance = heads(4, 2)
    first, second = np.array([True, True, False, False]), np.array([False, False, True, True])
    found = tallied(values, variance, [first, second, first, second])
    for part, name in ((values, "ensemble"), (variance, "predicted")):
        pairs = (part[[0, 2]], part[[1, 3]])
        expected = np.concatenate(
            [pair.var(axis=0) if name == "ensemble" else pair.mean(axis=0) for pair in pairs]
        )
        np.testing.assert_allclose(getattr(found, name), expected, rtol=0, atol=1e-14)
    alone = tallied(values, variance, [first, second])
    assert alone.source == "predicted"
    np.testing.assert_array_equal(alone.predicted, np.concatenate([variance[0], variance[1]]))


def test_heads_without_deviations() -> None:
    values, _ = heads(3, 5)
    found = tallied(values, None, [np.ones(5, bool)] * 3)
    assert found.source == "ensemble"
    np.testing.assert_allclose(found.total(), values.std(axis=0), rtol=1e-6)
    summary = found.summary()
    assert set(summary) == {"source", "ensemble_sd"}
    rms = np.sqrt(values.var(axis=0).mean(axis=0))
    assert list(summary["ensemble_sd"].values()) == pytest.approx(rms, abs=1e-12)
    nothing = tallied(values[:1], None, [np.ones(5, bool)])
    assert (nothing.source, nothing.total()) == (None, None)


def test_heads_that_agree_have_no_deviation_at_all() -> None:
    values = np.full((7, 3, 2), 0.1)
    np.testing.assert_array_equal(tallied(values, None, [np.ones(3, bool)] * 7).total(), np.zeros((3, 2)))
