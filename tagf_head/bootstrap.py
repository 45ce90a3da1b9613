"""Confidence intervals of the CCC: whole subjects are drawn with replacement, not frames.

Frames of one subject are anything but independent, so an interval over frames would be far too narrow. A
CCC needs only six sums, which are formed once per subject; a resample is then a weighted sum of them, and
thousands take milliseconds.

Letters: N rows, G subjects, R resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tagf_head.annotations import TARGETS
from tagf_head.errors import HeadError

NUM_RESAMPLES = 2000
CONFIDENCE = 0.95

# Rounding error of a variance of values in [-1, 1], with room to spare.
_ROUNDING = 1e-24

# Aff-Wild2 names the clips of a video that shows two people VIDEO, VIDEO_left and VIDEO_right.
_SIDES = ("_left", "_right")


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A percentile interval; its bounds are NaN where fewer than two subjects have labels."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class CccIntervals:
    """Intervals of the CCC, or of a difference of two CCCs, by target and of the mean over the targets."""

    valence: Interval
    arousal: Interval
    mean: Interval
    num_subjects: int


def subject_of(clip_id: str) -> str:
    """The unit of resampling: the clip, with the two sides of one video as one unit.

    >>> [subject_of(clip_id) for clip_id in ("video7", "video7_left", "video7_right")]
    ['video7', 'video7', 'video7']
    """
    for side in _SIDES:
        clip_id = clip_id.removesuffix(side)
    return clip_id


def subject_of_rows(clip_ids: Sequence[str], row_size: NDArray[np.int64]) -> NDArray[np.int64]:
    """``(N,)`` number of each row's subject, for clips whose rows follow one another."""
    number: dict[str, int] = {}
    of_clip = [number.setdefault(subject_of(clip_id), len(number)) for clip_id in clip_ids]
    return np.repeat(np.asarray(of_clip, np.int64), row_size)


def draw_subjects(num_subjects: int, num_resamples: int, seed: int) -> NDArray[np.int64]:
    """``(R, G)`` subjects of each resample, drawn with replacement."""
    return np.random.default_rng(seed).integers(num_subjects, size=(num_resamples, num_subjects))


def ccc_interval(
    prediction: NDArray[np.floating],
    target: NDArray[np.floating],
    mask: NDArray[np.bool_],
    subject: NDArray[np.int64],
    *,
    seed: int = 0,
    num_resamples: int = NUM_RESAMPLES,
) -> CccIntervals:
    """Interval of the pooled CCC.

    Args:
        prediction: ``(N, 2)`` valence and arousal.
        target: ``(N, 2)``.
        mask: ``(N,)``, false where there is no label.
        subject: ``(N,)`` number of each row's subject.
        seed: Seed of the resamples.
        num_resamples: Number of resamples R.

    Returns:
        The CCC over all labelled rows, and 95 % percentile intervals over subjects.

    Raises:
        HeadError: No row has a label.
    """
    moments = _subject_moments(prediction, target, mask, subject)
    estimate = _ccc(moments.sum(axis=0))
    return _intervals(estimate, _ccc(_resample(moments, num_resamples, seed)), num_subjects=len(moments))


def paired_ccc_difference(
    prediction: NDArray[np.floating],
    other: NDArray[np.floating],
    target: NDArray[np.floating],
    mask: NDArray[np.bool_],
    subject: NDArray[np.int64],
    *,
    seed: int = 0,
    num_resamples: int = NUM_RESAMPLES,
) -> CccIntervals:
    """Interval of ``CCC(prediction) - CCC(other)``, both on the same resamples of subjects.

    Pairing takes the subjects' difficulty out of the comparison, so the interval is narrower than the two
    separate ones suggest. Arguments are those of `ccc_interval`.
    """
    moments = [_subject_moments(each, target, mask, subject) for each in (prediction, other)]
    estimate = _ccc(moments[0].sum(axis=0)) - _ccc(moments[1].sum(axis=0))
    resampled = [_ccc(_resample(each, num_resamples, seed)) for each in moments]
    return _intervals(estimate, resampled[0] - resampled[1], num_subjects=len(moments[0]))


def _subject_moments(
    prediction: NDArray[np.floating],
    target: NDArray[np.floating],
    mask: NDArray[np.bool_],
    subject: NDArray[np.int64],
) -> NDArray[np.float64]:
    """``(G, 2, 6)`` sums of 1, x, y, xx, yy, xy per subject with labels and target; x - y keeps its scale."""
    if not mask.any():
        raise HeadError(
            "an interval needs at least one labelled frame, got 0; check the labels and the split"
        )
    x, y = (np.asarray(values, np.float64)[mask] for values in (prediction, target))
    # A shift that both share leaves the CCC alone and keeps its small variances clear of rounding.
    shift = y.mean(axis=0)
    x, y = x - shift, y - shift
    present, group = np.unique(subject[mask], return_inverse=True)
    sums = [
        [
            np.bincount(group, term[:, column], minlength=len(present))
            for term in (np.ones_like(x), x, y, x * x, y * y, x * y)
        ]
        for column in range(len(TARGETS))
    ]
    return np.asarray(sums, np.float64).transpose(2, 0, 1)


def _resample(moments: NDArray[np.float64], num_resamples: int, seed: int) -> NDArray[np.float64]:
    """``(R, 2, 6)`` sums over the subjects of each resample."""
    draws = draw_subjects(len(moments), num_resamples, seed)
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
    estimate: NDArray[np.float64], resampled: NDArray[np.float64], *, num_subjects: int
) -> CccIntervals:
    tail = (1 - CONFIDENCE) / 2
    if num_subjects < 2:
        bounds = np.full((2, len(estimate)), np.nan)
    else:
        bounds = np.quantile(resampled, (tail, 1 - tail), axis=0)
    valence, arousal, mean = (
        Interval(estimate=float(value), low=float(low), high=float(high))
        for value, low, high in zip(estimate, *bounds, strict=True)
    )
    return CccIntervals(valence=valence, arousal=arousal, mean=mean, num_subjects=num_subjects)
