"""The likelihood of errors, against scipy and numpy, and what it may not touch."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
import torch
import torch.distributed as dist
from torch import Tensor

from tagf_head.layers.deviation import INITIAL_DEVIATION, MIN_DEVIATION, DeviationEstimator
from tagf_head.training.likelihood import LikelihoodObjective, deviation_scale, gaussian_nll


def some_errors(num_windows: int = 5) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Predictions, features, labels and their mask, which one window has nothing of."""
    generator = torch.Generator().manual_seed(0)
    prediction, label = torch.rand(2, num_windows, 7, 2, generator=generator, dtype=torch.float64) * 2 - 1
    features = torch.randn(num_windows, 7, 6, generator=generator, dtype=torch.float64)
    mask = torch.rand(num_windows, 7, generator=generator) > 0.4
    mask[1] = False
    return prediction, features, label, mask


def test_it_is_scipys() -> None:
    prediction, features, label, mask = some_errors()
    deviation = features[..., :2].abs() + 0.1
    expected = -scipy.stats.norm.logpdf(label[mask], prediction[mask], deviation[mask]).mean()
    assert gaussian_nll(prediction, deviation, label, mask).item() == pytest.approx(expected, abs=1e-12)
    # Whatever stands where there is no label.
    for tensor in (prediction, deviation, label):
        tensor[~mask] = torch.nan
    found = gaussian_nll(prediction, deviation.requires_grad_(), label, mask)
    assert found.item() == pytest.approx(expected, abs=1e-12)
    torch.autograd.backward(found)
    assert deviation.grad is not None
    assert not deviation.grad[~mask].any()
    assert deviation.grad[mask].all()


def test_nothing_labelled_is_nothing() -> None:
    prediction, features, label, mask = some_errors()
    deviation = (features[..., :2].abs() + 0.1).requires_grad_()
    nll = gaussian_nll(prediction, deviation, label, torch.zeros_like(mask))
    torch.autograd.backward(nll)
    assert nll.item() == 0
    assert deviation.grad is not None
    assert not deviation.grad.any()


def test_its_gradient_in_numbers() -> None:
    prediction, features, label, mask = some_errors(2)
    deviation = (features[..., :2].abs() + 0.1).requires_grad_()
    assert torch.autograd.gradcheck(lambda sigma: gaussian_nll(prediction, sigma, label, mask), deviation)


def test_low_precision_is_not_kept() -> None:
    prediction, features, label, mask = some_errors()
    deviation = features[..., :2].abs() + 0.1
    low = [each.bfloat16() for each in (prediction, deviation, label)]
    found = gaussian_nll(*low, mask)
    assert found.dtype is torch.float32
    exact = gaussian_nll(*(each.double() for each in low), mask)
    assert found.item() == pytest.approx(exact.item(), abs=1e-5)


def of_a_share(
    prediction: Tensor, features: Tensor, label: Tensor, mask: Tensor
) -> tuple[float, list[Tensor]]:
    """Likelihood and gradients that a process gets from its windows, averaged as the training does it."""
    from torch.nn.parallel import DistributedDataParallel

    torch.manual_seed(3)
    objective = LikelihoodObjective(
        DeviationEstimator(6, 4, 2).double(), over_processes=dist.is_initialized()
    )
    module = objective
    if dist.is_initialized():
        module = DistributedDataParallel(objective, broadcast_buffers=False)
        # Unequal shares, and the second one without a label.
        mine = slice(0, 1) if dist.get_rank() else slice(1, None)
        prediction, features, label, mask = (each[mine] for each in (prediction, features, label, mask))
        if dist.get_rank():
            mask = torch.zeros_like(mask)
    nll = module(prediction, features, label, mask)
    torch.autograd.backward(nll)
    return nll.item(), [parameter.grad for parameter in objective.parameters()]


def test_processes_average_over_the_frames_of_all(tmp_path: Path, run_processes) -> None:
    prediction, features, label, mask = some_errors()
    whole = mask.clone()
    whole[0] = False  # what the second process has no label of
    expected, gradients = of_a_share(prediction, features, label, whole)
    for nll, found in run_processes(tmp_path, of_a_share, prediction, features, label, mask):
        assert nll == pytest.approx(expected, abs=1e-12)
        for one, other in zip(found, gradients, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def test_the_scale_is_that_of_the_greatest_likelihood() -> None:
    generator = np.random.default_rng(0)
    deviation = generator.uniform(0.1, 0.5, (300, 2))
    error = generator.normal(0, deviation * [2.5, 0.4])
    scale = deviation_scale(error, deviation)
    np.testing.assert_allclose(((error / (deviation * scale)) ** 2).mean(axis=0), 1, atol=1e-12)
    for column in range(2):
        best = scipy.optimize.minimize_scalar(
            lambda s, c=column: -scipy.stats.norm.logpdf(error[:, c], 0, s * deviation[:, c]).mean(),
            bounds=(0.01, 10),
            method="bounded",
            options={"xatol": 1e-9},
        )
        assert scale[column] == pytest.approx(best.x, rel=1e-5)
    # Heads that are never wrong.
    assert (deviation_scale(np.zeros((3, 2)), np.ones((3, 2))) == MIN_DEVIATION).all()


def test_the_estimator_is_its_equations() -> None:
    estimator = DeviationEstimator(6, 4, 2).double()
    estimator.scale.copy_(torch.tensor([0.5, 3.0]))
    features = some_errors()[1]
    weights = [each.detach().numpy() for each in estimator.parameters()]
    hidden = features.numpy() @ weights[0].T + weights[1]
    output = np.where(hidden > 0, hidden, 0.01 * hidden) @ weights[2].T + weights[3]
    expected = (np.log1p(np.exp(output)) + 1e-3) * [0.5, 3.0]
    np.testing.assert_allclose(estimator(features).detach().numpy(), expected, rtol=0, atol=1e-12)
    fresh = DeviationEstimator(6, 4, 2)(torch.zeros(1, 1, 6))
    assert (fresh > 0.5 * INITIAL_DEVIATION).all()
    assert (fresh < 2 * INITIAL_DEVIATION).all()


def test_autocast_does_not_touch_the_estimator() -> None:
    estimator, features = DeviationEstimator(6, 4, 2), some_errors()[1].bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = estimator(features)
    assert found.dtype is torch.float32
    exact = copy.deepcopy(estimator).double()(features.double())
    torch.testing.assert_close(found.double(), exact, rtol=0, atol=1e-6)
