"""Rate, scale and randomness of dropout, against the binomial distribution."""

from __future__ import annotations

import math

import pytest
import torch

from tagf_head.layers.dropout import Dropout, random_factors

SHAPE = (7, 301, 95)  # not a multiple of 4 values
N = math.prod(SHAPE)


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.6, 0.97])
def test_rate_and_scale(probability: float) -> None:
    torch.manual_seed(0)
    factors = random_factors(torch.empty(SHAPE, dtype=torch.float64), probability)
    assert factors.shape == SHAPE
    rounded = round(probability * 2**16) / 2**16
    assert factors.unique().tolist() == [0, pytest.approx(1 / (1 - rounded), rel=1e-12)]
    deviation = math.sqrt(probability * (1 - probability) / N)
    assert abs(float((factors == 0).double().mean()) - probability) < 4.5 * deviation


def test_values_are_dropped_independently_of_one_another() -> None:
    torch.manual_seed(1)
    dropped = (random_factors(torch.empty(400_000, dtype=torch.float64), 0.3) == 0).double()
    centred = dropped - dropped.mean()
    for lag in (1, 2, 3, 4, 5, 8, 64):  # four values share a random number
        correlation = float((centred[:-lag] * centred[lag:]).mean() / centred.square().mean())
        assert abs(correlation) < 4.5 / math.sqrt(len(dropped))
    by_lane = dropped.reshape(-1, 4).mean(dim=0)
    assert (by_lane - 0.3).abs().max() < 4.5 * math.sqrt(0.3 * 0.7 / 100_000)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_forward_and_gradient_use_the_same_factors(dtype: torch.dtype) -> None:
    features = torch.full(SHAPE, 3, dtype=dtype, requires_grad=True)
    out = Dropout(0.25)(features)
    out.sum().backward()
    assert out.dtype is dtype
    torch.testing.assert_close(out, 3 * features.grad, rtol=0, atol=0)
    assert set(out.unique().tolist()) == {0, 4}


def test_rests_in_evaluation_and_at_probability_zero() -> None:
    features = torch.randn(5, 6)
    assert Dropout(0.5).eval()(features) is features
    assert Dropout(0.0).train()(features) is features


def test_follows_the_seed_and_changes_from_call_to_call() -> None:
    dropout, features = Dropout(0.5), torch.ones(50)
    torch.manual_seed(3)
    first, second = dropout(features), dropout(features)
    torch.manual_seed(3)
    assert torch.equal(dropout(features), first)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("probability", [1e-9, 1 - 1e-9])
def test_extreme_probabilities_stay_finite(probability: float) -> None:
    assert torch.isfinite(random_factors(torch.empty(1000), probability)).all()
