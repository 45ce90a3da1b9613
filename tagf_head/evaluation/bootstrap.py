"""Confidence intervals of the CCC: whole groups of clips (subjects, at best) are drawn with replacement.

Frames of one subject are anything but independent, so an interval over frames would be far too narrow. A
CCC needs only six sums, which are formed once per group; a resample is then a weighted sum of them, and
thousands take milliseconds. `tagf_head.data.clip_groups` says what a group is.

A head that was trained with several seeds has several predictions of each row. Its CCC is then the mean of
the seeds' CCCs, in the estimate and within every resample: the interval says how that mean would vary over
other subjects, and holds the seeds at hand fixed.

Letters: N rows, G groups, R resamples, S seeds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import nan

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
        prediction: ``(N, 2)`` valence and arousal, or ``(S, N, 2)``, whose CCCs are averaged over the seeds.
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
    estimate, resampled = _seed_means(moments, num_resamples, seed)
    return _intervals(estimate, resampled, num_groups=moments.shape[1])


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
    separate ones suggest. Arguments are those of `ccc_interval`; both may have different numbers of seeds.
    """
    moments = [_group_moments(each, target, mask, group) for each in (prediction, other)]
    (estimate, resampled), (other_estimate, other_resampled) = (
        _seed_means(each, num_resamples, seed) for each in moments
    )
    return _intervals(estimate - other_estimate, resampled - other_resampled, num_groups=moments[0].shape[1])


def where_labels_vary(
    intervals: CccIntervals, target: NDArray[np.floating], mask: NDArray[np.bool_]
) -> CccIntervals:
    """The intervals, NaN for a target whose labels are all the same and for the mean that it enters.

    Args:
        intervals: Of CCCs, or of differences of CCCs.
        target: ``(N, 2)``.
        mask: ``(N,)``, false where there is no label.
    """
    label = target[mask]
    is_constant = (label == label[0]).all(axis=0)
    nothing = Interval(estimate=nan, low=nan, high=nan)
    return replace(
        intervals,
        valence=nothing if is_constant[0] else intervals.valence,
        arousal=nothing if is_constant[1] else intervals.arousal,
        mean=nothing if is_constant.any() else intervals.mean,
    )


def _group_moments(
    prediction: NDArray[np.floating],
    target: NDArray[np.floating],
    mask: NDArray[np.bool_],
    group: NDArray[np.int64],
) -> NDArray[np.float64]:
    """``(S, G, 2, 6)`` sums of 1, x, y, xx, yy, xy per seed, group with labels and target."""
    if not mask.any():
        raise HeadError(
            "an interval needs at least one labelled frame, got 0; check the labels and the split"
        )
    seeds = prediction[np.newaxis] if prediction.ndim == 2 else prediction
    return np.stack([_moments_of_seed(each, target, mask, group) for each in seeds])


def _moments_of_seed(
    prediction: NDArray[np.floating],
    target: NDArray[np.floating],
    mask: NDArray[np.bool_],
    group: NDArray[np.int64],
) -> NDArray[np.float64]:
    """``(G, 2, 6)``; x - y keeps its scale."""
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


def _seed_means(
    moments: NDArray[np.float64], num_resamples: int, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """CCCs averaged over the seeds: ``(3,)`` of all groups, and ``(R, 3)`` of the resamples."""
    draws = draw_groups(moments.shape[1], num_resamples, seed)
    counts = np.zeros(draws.shape)
    np.add.at(counts, (np.arange(num_resamples)[:, None], draws), 1)
    resampled = [_ccc(np.tensordot(counts, of_seed, axes=1)) for of_seed in moments]
    return _ccc(moments.sum(axis=1)).mean(axis=0), np.mean(resampled, axis=0)


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
