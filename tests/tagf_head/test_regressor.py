"""Regressor against numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tagf_head.regressor import Regressor

D, HIDDEN = 6, 5


def make_regressor() -> Regressor:
    torch.manual_seed(0)
    regressor = Regressor(D, HIDDEN).double()
    for name, parameter in regressor.named_parameters():
        if "batch_norm" in name:
            parameter.data = torch.randn_like(parameter)
    return regressor


@pytest.mark.parametrize("training", [True, False])
def test_against_numpy(training: bool) -> None:
    regressor = make_regressor().train(training)
    mask = torch.arange(8) < torch.tensor([8, 3])[:, None]
    features = 3 * torch.randn(2, 8, D, dtype=torch.float64)
    measured = regressor(features, mask).detach()
    for column, name in enumerate(("valence", "arousal")):
        state = {k: v.numpy() for k, v in getattr(regressor, name).state_dict().items()}
        hidden = features[mask].numpy() @ state["hidden.weight"].T
        if training:
            hidden = (hidden - hidden.mean(axis=0)) / np.sqrt(hidden.var(axis=0) + 1e-5)
        else:
            hidden /= np.sqrt(1 + 1e-5)
        hidden = hidden * state["batch_norm.weight"] + state["batch_norm.bias"]
        hidden = np.where(hidden > 0, hidden, 0.01 * hidden)
        expected = np.tanh(hidden @ state["output.weight"][0] + state["output.bias"][0])
        np.testing.assert_allclose(measured[..., column][mask], expected, rtol=0, atol=1e-9)
    assert (measured[~mask] == 0).all()


def test_gradient_is_the_numerical_one() -> None:
    regressor = make_regressor()
    mask = torch.tensor([[True, True, True], [True, False, False]])
    features = torch.randn(2, 3, D, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: regressor(x, mask), features)
