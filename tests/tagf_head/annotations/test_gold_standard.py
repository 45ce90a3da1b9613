"""Mean and evaluator-weighted mean, against scipy's Pearson correlation in a plain loop."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import pearsonr

from tagf_head.annotations.gold_standard import gold_standard, rater_weights

NAN = np.nan


def make_ratings(seed: int, num_raters: int = 5, missing: float = 0.0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    course = np.sin(np.arange(80) / 7)[:, None]
    ratings = np.clip(0.5 * course + generator.normal(0, 0.4, (80, num_raters)), -1, 1)
    ratings[generator.random(ratings.shape) < missing] = NAN
    return ratings


def weighted_by_loop(ratings: np.ndarray) -> np.ndarray:
    """Grimm and Kroschel's estimator, sample by sample and rater by rater."""
    mean = [np.mean([x for x in sample if x == x]) if (sample == sample).any() else NAN for sample in ratings]
    weights = []
    for rater in range(ratings.shape[1]):
        pairs = [(x, m) for x, m in zip(ratings[:, rater], mean, strict=True) if x == x]
        weights.append(max(0.0, pearsonr(*zip(*pairs, strict=True))[0]))
    gold = []
    for sample in ratings:
        present = [(w, x) for w, x in zip(weights, sample, strict=True) if x == x]
        total = sum(w for w, _ in present)
        gold.append(sum(w * x for w, x in present) / total if total > 0 else NAN)
    return np.array(gold)


@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_mean(missing: float) -> None:
    ratings = make_ratings(0, missing=missing)
    np.testing.assert_allclose(gold_standard(ratings, "mean"), np.nanmean(ratings, axis=1), atol=1e-12)


@pytest.mark.parametrize(("seed", "missing"), [(1, 0.0), (2, 0.3)])
def test_evaluator_weighted_mean(seed: int, missing: float) -> None:
    ratings = make_ratings(seed, missing=missing)
    found = gold_standard(ratings, "ewe")
    np.testing.assert_allclose(found, weighted_by_loop(ratings), rtol=0, atol=1e-9)
    assert np.abs(found - gold_standard(ratings, "mean")).max() > 0.005


def test_a_rater_against_all_others_has_no_weight() -> None:
    ratings = make_ratings(3, num_raters=4)
    ratings[:, 2] = -ratings[:, [0, 1, 3]].mean(axis=1)
    weights = rater_weights(ratings)
    assert weights[2] == 0
    assert (weights[[0, 1, 3]] > 0).all()
    np.testing.assert_allclose(gold_standard(ratings, "ewe"), weighted_by_loop(ratings), atol=1e-9)


def test_a_rater_who_never_moved_has_no_weight() -> None:
    ratings = make_ratings(4, num_raters=3)
    ratings[:, 1] = 0.1  # not exact in binary: its deviations are rounding, not zero
    weights = rater_weights(ratings)
    assert weights[1] == 0
    found = gold_standard(ratings, "ewe")
    np.testing.assert_allclose(
        found,
        (weights[0] * ratings[:, 0] + weights[2] * ratings[:, 2]) / (weights[0] + weights[2]),
        atol=1e-12,
    )


def test_where_nobody_moved_all_weigh_the_same() -> None:
    ratings = np.tile([0.1, 0.4], (6, 1))
    np.testing.assert_allclose(gold_standard(ratings, "ewe"), 0.25, atol=1e-12)
    opposite = np.array([[0.3, -0.3], [0.1, -0.1], [-0.7, 0.7]])  # their mean never moves
    np.testing.assert_allclose(gold_standard(opposite, "ewe"), 0, atol=1e-12)


def test_one_rater_is_the_gold_standard() -> None:
    ratings = make_ratings(5, num_raters=1, missing=0.2)
    for kind in ("mean", "ewe"):
        np.testing.assert_allclose(gold_standard(ratings, kind), ratings[:, 0], atol=1e-12)


def test_samples_that_nobody_of_weight_rated_have_no_label() -> None:
    ratings = make_ratings(6, num_raters=3)
    ratings[:, 2] = -0.2
    ratings[10] = NAN
    ratings[20, :2] = NAN
    assert np.flatnonzero(np.isnan(gold_standard(ratings, "mean"))).tolist() == [10]
    assert np.flatnonzero(np.isnan(gold_standard(ratings, "ewe"))).tolist() == [10, 20]


def test_raters_who_stopped_early() -> None:
    ratings = make_ratings(7)
    ratings[50:, 0] = NAN
    ratings[:, 4] = NAN
    with np.errstate(all="raise"):
        found = gold_standard(ratings, "ewe")
    np.testing.assert_allclose(found, weighted_by_loop(ratings[:, :4]), atol=1e-9)
    assert gold_standard(np.empty((0, 3)), "ewe").shape == (0,)
