"""Regressor against numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tagf_head.layers.regressor import Regressor

D, HIDDEN = 6, 5


def make_regressor(num_outputs: int = 2) -> Regressor:
    torch.manual_seed(0)
    regressor = Regressor(D, HIDDEN, num_outputs).double()
    for name, parameter in regressor.named_parameters():
        if "batch_norm" in name:
            parameter.data = torch.randn_like(parameter)
    return regressor


@pytest.mark.parametrize("num_outputs", [1, 2])
@pytest.mark.parametrize("training", [True, False])
def test_against_numpy(training: bool, num_outputs: int) -> None:
    regressor = make_regressor(num_outputs).train(training)
    mask = torch.arange(8) < torch.tensor([8, 3])[:, None]
    features = 3 * torch.randn(2, 8, D, dtype=torch.float64)
    measured = regressor(features, mask).detach()
    assert measured.shape == (2, 8, num_outputs)
    state = {name: value.numpy().copy() for name, value in regressor.state_dict().items()}
    for target in range(num_outputs):
        own = slice(target * HIDDEN, (target + 1) * HIDDEN)  # the target's hidden units
        hidden = features[mask].numpy() @ state["hidden.weight"][own].T
        if training:
            hidden = (hidden - hidden.mean(axis=0)) / np.sqrt(hidden.var(axis=0) + 1e-5)
        else:
            hidden /= np.sqrt(1 + 1e-5)
        hidden = hidden * state["batch_norm.weight"][own] + state["batch_norm.bias"][own]
        hidden = np.where(hidden > 0, hidden, 0.01 * hidden)
        expected = np.tanh(hidden @ state["output.weight"][target] + state["output.bias"][target])
        np.testing.assert_allclose(measured[..., target][mask], expected, rtol=0, atol=1e-9)


def test_targets_share_no_weights() -> None:
    regressor = make_regressor()
    features, mask = torch.randn(2, 8, D, dtype=torch.float64), torch.ones(2, 8, dtype=torch.bool)
    regressor(features, mask)[..., 1].square().sum().backward()
    for parameter in (regressor.hidden.weight, regressor.batch_norm.weight, regressor.batch_norm.bias):
        of_valence, of_arousal = parameter.grad.chunk(2)
        assert (of_valence == 0).all()
        assert (of_arousal != 0).any()
    assert (regressor.output.weight.grad[0] == 0).all()


def test_gradient_is_the_numerical_one() -> None:
    regressor = make_regressor()
    mask = torch.tensor([[True, True, True], [True, False, False]])
    features = torch.randn(2, 3, D, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: regressor(x, mask) * mask[..., None], features)
