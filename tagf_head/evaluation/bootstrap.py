"""Confidence intervals of the CCC: whole groups of clips (subjects, at best) are drawn with replacement.

Frames of one subject are anything but independent, so an interval over frames would be far too narrow. A
CCC needs only six sums, which are formed once per group; a resample is then a weighted sum of them, and
thousands take milliseconds. `tagf_head.data.clip_groups` says what a group is.

Letters: N rows, G groups, R resamples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tagf_head.config import TARGETS
from tagf_head.errors import HeadError

NUM_RESAMPLES = 2000
CONFIDENCE = 0.95

# Rounding error of a variance of values in [-1, 1], with room to spare.
_ROUNDING = 1e-24


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A percentile interval; its bounds are NaN where fewer than two groups have labels."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class CccIntervals:
    """Intervals of the CCC, or of a difference of two CCCs, by target and of the mean over the targets."""

    valence: Interval
    arousal: Interval
    mean: Interval
    num_groups: int


def draw_groups(num_groups: int, num_resamples: int, seed: int) -> NDArray[np.int64]:
    """``(R, G)`` groups of each resample, drawn with replacement."""
    return np.random.default_rng(seed).integers(num_groups, size=(num_resamples, num_groups))


def ccc_interval(
    prediction: NDArray[np.floating],
    target: NDArray[np.floating],
    mask: NDArray[np.bool_],
    group: NDArray[np.int64],
    *,
    seed: int = 0,
    num_resamples: int = NUM_RESAMPLES,
) -> CccIntervals:
    """Interval of the pooled CCC.

    Args:
        prediction: ``(N, 2)`` valence and arousal.
        target: ``(N, 2)``.
        mask: ``(N,)``, false where there is no label.
        group: ``(N,)`` number of each row's group, see `ClipGroups.of_rows`.
        seed: Seed of the resamples.
        num_resamples: Number of resamples R.

    Returns:
        The CCC over all labelled rows, and 95 % percentile intervals over groups.

    Raises:
        HeadError: No row has a label.
    """
    moments = _group_moments(prediction, target, mask, group)
    estimate = _ccc(moments.sum(axis=0))
    return _intervals(estimate, _ccc(_resample(moments, num_resamples, seed)), num_groups=len(moments))


def paired_ccc_difference(
    prediction: NDArray[np.floating],
    other: NDArray[np.floating],
    target: NDArray[np.floating],
    mask: NDArray[np.bool_],
    group: NDArray[np.int64],
    *,
    seed: int = 0,
    num_resamples: int = NUM_RESAMPLES,
) -> CccIntervals:
    """Interval of ``CCC(prediction) - CCC(other)``, both on the same resamples of groups.

    Pairing takes the groups' difficulty out of the comparison, so the interval is narrower than the two
    separate ones suggest. Arguments are those of `ccc_interval`.
    """
    moments = [_group_moments(each, target, mask, group) for each in (prediction, other)]
    estimate = _ccc(moments[0].sum(axis=0)) - _ccc(moments[1].sum(axis=0))
    resampled = [_ccc(_resample(each, num_resamples, seed)) for each in moments]
    return _intervals(estimate, resampled[0] - resampled[1], num_groups=len(moments[0]))


def _group_moments(
    prediction: NDArray[np.floating],
    target: NDArray[np.floating],
    mask: NDArray[np.bool_],
    group: NDArray[np.int64],
) -> NDArray[np.float64]:
    """``(G, 2, 6)`` sums of 1, x, y, xx, yy, xy per group with labels and target; x - y keeps its scale."""
    if not mask.any():
        raise HeadError(
            "an interval needs at least one labelled frame, got 0; check the labels and the split"
        )
    x, y = (np.asarray(values, np.float64)[mask] for values in (prediction, target))
    # A shift that both share leaves the CCC alone and keeps its small variances clear of rounding.
    shift = y.mean(axis=0)
    x, y = x - shift, y - shift
    present, number = np.unique(group[mask], return_inverse=True)
    sums = [
        [
            np.bincount(number, term[:, column], minlength=len(present))
            for term in (np.ones_like(x), x, y, x * x, y * y, x * y)
        ]
        for column in range(len(TARGETS))
    ]
    return np.asarray(sums, np.float64).transpose(2, 0, 1)


def _resample(moments: NDArray[np.float64], num_resamples: int, seed: int) -> NDArray[np.float64]:
    """``(R, 2, 6)`` sums over the groups of each resample."""
    draws = draw_groups(len(moments), num_resamples, seed)
    counts = np.zeros((num_resamples, len(moments)))
    np.add.at(counts, (np.arange(num_resamples)[:, None], draws), 1)
    resampled: NDArray[np.float64] = np.tensordot(counts, moments, axes=1)
    return resampled


def _ccc(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """``(..., 2, 6)`` sums to ``(..., 3)`` CCC of valence, of arousal, and their mean."""
    count, x, y, xx, yy, xy = np.moveaxis(sums, -1, 0)
    mean_x, mean_y = x / count, y / count
    covariance = xy / count - mean_x * mean_y
    variances = (xx / count - mean_x**2) + (yy / count - mean_y**2)
    denominator = variances + (mean_x - mean_y) ** 2
    # Both are one constant, as far as rounding can tell: 1, as everywhere else.
    equal = denominator < _ROUNDING
    ccc = np.where(equal, 1.0, 2 * covariance / np.where(equal, 1.0, denominator))
    return np.concatenate([ccc, ccc.mean(axis=-1, keepdims=True)], axis=-1)


def _intervals(
    estimate: NDArray[np.float64], resampled: NDArray[np.float64], *, num_groups: int
) -> CccIntervals:
    tail = (1 - CONFIDENCE) / 2
    if num_groups < 2:
        bounds = np.full((2, len(estimate)), np.nan)
    else:
        bounds = np.quantile(resampled, (tail, 1 - tail), axis=0)
    valence, arousal, mean = (
        Interval(estimate=float(value), low=float(low), high=float(high))
        for value, low, high in zip(estimate, *bounds, strict=True)
    )
    return CccIntervals(valence=valence, arousal=arousal, mean=mean, num_groups=num_groups)
