"""What several raters become: their mean, or the evaluator-weighted mean.

Letters: S samples, K raters.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tagf_head.config import GoldStandard

# A standard deviation below this is that of a constant, as far as rounding can tell.
_CONSTANT = 1e-9


def gold_standard(ratings: NDArray[np.float64], kind: GoldStandard) -> NDArray[np.float64]:
    """One label per sample, of one clip and target.

    With w_k = 1 (`mean`) or w_k = `rater_weights` (`ewe`), over the raters k that rated sample s,

        y_s = sum_k w_k x_sk / sum_k w_k

    Args:
        ratings: ``(S, K)``, NaN where a rater gave none.
        kind: Which of the two.

    Returns:
        ``(S,)``, NaN where nobody rated whose weight is positive.
    """
    weight = rater_weights(ratings) if kind == "ewe" else np.ones(ratings.shape[1])
    return _weighted_mean(ratings, weight)


def rater_weights(ratings: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights of the evaluator-weighted estimator (Grimm and Kroschel, ASRU 2005).

    w_k = max(0, r_k), where r_k is Pearson's correlation of rater k with the mean of all raters, over the
    samples that the rater rated. It is undefined for a rater who never moved, whose weight is 0. Where nobody
    has a positive weight (one rater who never moved), all weigh the same.

    Args:
        ratings: ``(S, K)``, NaN where a rater gave none.

    Returns:
        ``(K,)`` weights.
    """
    num_raters = ratings.shape[1]
    mean = _weighted_mean(ratings, np.ones(num_raters))
    weight = np.zeros(num_raters)
    for rater in range(num_raters):
        rated = ~np.isnan(ratings[:, rater])
        if rated.any():
            weight[rater] = max(0.0, _correlation(ratings[rated, rater], mean[rated]))
    return weight if weight.any() else np.ones(num_raters)


def _weighted_mean(ratings: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """``(S,)`` mean over those who rated; NaN where their weights sum to 0."""
    rated = ~np.isnan(ratings)
    total = (rated * weight).sum(axis=1)
    summed = (np.where(rated, ratings, 0) * weight).sum(axis=1)
    mean = np.full(len(ratings), np.nan)
    np.divide(summed, total, out=mean, where=total > 0)
    return mean


def _correlation(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Pearson's correlation; 0 where one of the two is constant."""
    x, y = x - x.mean(), y - y.mean()
    deviations = np.sqrt((x * x).mean()), np.sqrt((y * y).mean())
    if min(deviations) < _CONSTANT:
        return 0.0
    return float((x * y).mean() / (deviations[0] * deviations[1]))
