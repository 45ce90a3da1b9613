"""Metrics against numpy, scipy, torchmetrics and closed forms; merging against one pass."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torchmetrics.functional.regression import concordance_corrcoef

from tagf_head.errors import HeadError
from tagf_head.evaluation.metrics import ConcordanceMoments, regression_metrics

NAMES = ["ccc", "pcc", "rmse", "mae", "sagr"]


def random_pair(seed: int, n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    target = rng.uniform(-1, 1, n)
    return 0.5 * target + 0.3 * rng.normal(size=n) + 0.1, target


def reference_metrics(p: NDArray[np.float64], t: NDArray[np.float64]) -> dict[str, float]:
    bias = p.mean() - t.mean()
    return {
        "ccc": 2 * np.cov(p, t, ddof=0)[0, 1] / (p.var() + t.var() + bias**2),
        "pcc": scipy.stats.pearsonr(p, t).statistic,
        "rmse": math.sqrt(np.mean((p - t) ** 2)),
        "mae": np.mean(np.abs(p - t)),
        "sagr": sum(np.sign(a) == np.sign(b) for a, b in zip(p, t, strict=True)) / len(p),
    }


def test_against_numpy_and_scipy() -> None:
    prediction, target = random_pair(0, 300)
    measured = regression_metrics(prediction, target)
    assert list(measured) == NAMES
    assert measured == pytest.approx(reference_metrics(prediction, target), abs=1e-12)
    assert all(type(value) is float for value in measured.values())


def test_hand_worked_case() -> None:
    # As in test_ccc.py: 4/11. Errors 1, 2, 3.
    measured = regression_metrics([1, 2, 3], [2, 4, 6])
    expected = {"ccc": 4 / 11, "pcc": 1.0, "rmse": math.sqrt(14 / 3), "mae": 2.0, "sagr": 1.0}
    assert measured == pytest.approx(expected, abs=1e-15)


def test_sign_agreement_counts_zero_as_a_sign_of_its_own() -> None:
    prediction = [0.2, -0.2, 0.2, 0.0, 0.0, -0.1, -0.0, 0.3]
    target = [0.9, -0.9, -0.9, 0.0, 0.5, 0.0, 0.0, 0.1]
    assert regression_metrics(prediction, target)["sagr"] == 5 / 8


@pytest.mark.parametrize(("slope", "offset"), [(1.0, 0.3), (0.5, 0.0), (-1.0, 0.2)])
def test_closed_form_of_a_linear_prediction(slope: float, offset: float) -> None:
    _, target = random_pair(1, 400)
    measured = regression_metrics(slope * target + offset, target)
    bias = (slope - 1) * target.mean() + offset
    expected = 2 * slope * target.var() / ((1 + slope**2) * target.var() + bias**2)
    assert measured["ccc"] == pytest.approx(expected, abs=1e-12)
    assert measured["pcc"] == pytest.approx(math.copysign(1, slope), abs=1e-12)
    assert measured["rmse"] == pytest.approx(math.hypot((slope - 1) * target.std(), bias), abs=1e-12)


def test_difference_from_torchmetrics_is_the_sample_variance() -> None:
    prediction, target = random_pair(2, 50)
    theirs = concordance_corrcoef(torch.from_numpy(prediction), torch.from_numpy(target)).item()
    bias, covariance = prediction.mean() - target.mean(), np.cov(prediction, target, ddof=0)[0, 1]
    ours = regression_metrics(prediction, target)["ccc"]
    assert 1 / ours - 1 / theirs == pytest.approx(bias**2 / (2 * 50 * covariance), rel=1e-9)


@settings(max_examples=50)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=8), st.integers(0, 2**32 - 1))
def test_pieces_merge_to_the_whole(sizes: list[int], seed: int) -> None:
    prediction, target = random_pair(seed, sum(sizes) + 2)
    target += 100
    edges = [0, *np.cumsum(sizes).tolist(), len(target)]
    pieces = [
        ConcordanceMoments().add(prediction[start:stop], target[start:stop])
        for start, stop in itertools.pairwise(edges)
    ]
    added, merged_from_the_right = ConcordanceMoments(), ConcordanceMoments()
    for start, stop in itertools.pairwise(edges):
        added = added.add(prediction[start:stop], target[start:stop])
    for piece in reversed(pieces):
        merged_from_the_right = piece.merge(merged_from_the_right)
    whole = dataclasses.asdict(ConcordanceMoments().add(prediction, target))
    assert dataclasses.asdict(added) == pytest.approx(whole, rel=1e-11, abs=1e-11)
    assert dataclasses.asdict(merged_from_the_right) == pytest.approx(whole, rel=1e-11, abs=1e-11)


def test_mask_and_shape_of_the_arrays() -> None:
    prediction, target = random_pair(3, 60)
    mask = np.random.default_rng(3).uniform(size=60) > 0.4
    expected = regression_metrics(prediction[mask], target[mask])
    prediction[~mask], target[~mask] = np.nan, -5
    shape = (5, 12)
    measured = regression_metrics(prediction.reshape(shape), target.reshape(shape), mask.reshape(shape))
    assert measured == expected


def test_adding_leaves_the_instance_as_it_is() -> None:
    moments = ConcordanceMoments().add([0.1, 0.2], [0.3, 0.1])
    before = dataclasses.asdict(moments)
    moments.add([0.5], [0.1])
    moments.merge(moments)
    assert dataclasses.asdict(moments) == before
    nothing = moments.add([0.5], [0.1], [False])
    assert dataclasses.asdict(nothing) == before


def test_digits_survive_a_large_mean() -> None:
    prediction, target = random_pair(4, 500)
    expected = regression_metrics(prediction, target)
    moments = ConcordanceMoments()
    for start in range(0, 500, 50):
        piece = slice(start, start + 50)
        moments = moments.add(1e6 + prediction[piece], 1e6 + target[piece])
    assert moments.ccc == pytest.approx(expected["ccc"], abs=1e-8)
    assert moments.pcc == pytest.approx(expected["pcc"], abs=1e-8)


def test_float32_inputs_are_computed_in_float64() -> None:
    prediction, target = (x.astype(np.float32) for x in random_pair(5, 200))
    expected = reference_metrics(prediction.astype(np.float64), target.astype(np.float64))
    assert regression_metrics(prediction, target) == pytest.approx(expected, abs=1e-12)


def test_constants() -> None:
    _, target = random_pair(6, 75)
    constant = np.full(75, 0.1)
    assert regression_metrics(constant, target)["ccc"] == 0
    assert regression_metrics(constant, target)["pcc"] == 0
    assert regression_metrics(target, constant)["ccc"] == 0
    assert regression_metrics(constant, constant)["ccc"] == 1
    assert regression_metrics(constant, constant + 0.1)["ccc"] == 0
    in_pieces = ConcordanceMoments().add(target[:30], constant[:30]).add(target[30:], constant[30:])
    assert in_pieces.ccc == 0
    assert regression_metrics([0.3], [0.1])["ccc"] == 0


def test_what_the_frames_do_not_settle_is_left_out() -> None:
    """Where numpy's formulas divide zero by zero, or a constant hides what the prediction is worth."""
    prediction, target = random_pair(7, 40)
    constant = np.full(40, 0.1)

    def defined(p: NDArray[np.float64], t: NDArray[np.float64]) -> set[str]:
        metrics = ConcordanceMoments().add(p, t).defined_metrics()
        assert list(metrics) == NAMES
        values = {name: value for name, value in metrics.items() if value is not None}
        assert values == {name: regression_metrics(p, t)[name] for name in values}
        return set(values)

    errors = {"rmse", "mae", "sagr"}
    assert defined(prediction, target) == {*NAMES}
    assert defined(prediction[:2], target[:2]) == {*NAMES}
    assert defined(prediction[:1], target[:1]) == errors
    assert defined(prediction, constant) == errors
    assert defined(constant, constant) == errors
    # Labels that move and a prediction that does not: no correlation, but a concordance of 0.
    assert defined(constant, target) == {"ccc", *errors}
    assert ConcordanceMoments().add(constant, target).defined_metrics()["ccc"] == 0
    assert set(ConcordanceMoments().defined_metrics().values()) == {None}
    in_pieces = ConcordanceMoments().add(prediction[:3], constant[:3]).add(prediction[3:], constant[3:])
    assert in_pieces.defined_metrics()["ccc"] is None


def test_perfect_prediction_scores_exactly_one() -> None:
    for n in (2, 3, 75, 1000):
        _, target = random_pair(n, n)
        assert regression_metrics(target, target) == {"ccc": 1, "pcc": 1, "rmse": 0, "mae": 0, "sagr": 1}


def test_mistakes_are_named() -> None:
    with pytest.raises(HeadError, match=r"prediction \(2,\), target \(3,\) and mask \(2,\)"):
        regression_metrics([0.1, 0.2], [0.1, 0.2, 0.3])
    with pytest.raises(HeadError, match=r"one shape for all.* mask \(1,\)"):
        regression_metrics([0.1, 0.2], [0.1, 0.2], [True])
    with pytest.raises(HeadError, match="bool mask, got int64"):
        regression_metrics([0.1, 0.2], [0.1, 0.2], [1, 0])
    for name in NAMES:
        with pytest.raises(HeadError, match="at least one annotated frame, got 0"):
            getattr(ConcordanceMoments(), name)
