"""Narrow regressor against numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tagf_head.layers.dropout import Dropout
from tagf_head.layers.mlp_regressor import MlpRegressor

D, HIDDEN = 6, 5


class Halve(nn.Module):
    """Stands in for dropout, so that its place in the computation shows."""

    def forward(self, features: Tensor) -> Tensor:
        return features / 2


def make_regressor(num_outputs: int = 2) -> MlpRegressor:
    torch.manual_seed(0)
    return MlpRegressor(D, HIDDEN, num_outputs, dropout=0.6).double()


def make_features() -> Tensor:
    return 3 * torch.randn(2, 8, D, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("num_outputs", [1, 2])
def test_against_numpy(num_outputs: int) -> None:
    regressor = make_regressor(num_outputs)
    regressor.dropout = Halve()
    measured = regressor(make_features()).detach().numpy()
    state = {name: value.numpy() for name, value in regressor.state_dict().items()}
    assert measured.shape == (2, 8, num_outputs)
    for target in range(num_outputs):
        own = slice(target * HIDDEN, (target + 1) * HIDDEN)  # the target's hidden units
        hidden = make_features().numpy() @ state["hidden.weight"][own].T + state["hidden.bias"][own]
        summed = np.maximum(hidden, 0) / 2 @ state["output.weight"][target] + state["output.bias"][target]
        np.testing.assert_allclose(measured[..., target], np.tanh(summed), rtol=0, atol=1e-9)


def test_targets_share_no_weights() -> None:
    regressor = make_regressor().eval()
    regressor(make_features())[..., 1].square().sum().backward()
    for parameter in (regressor.hidden.weight, regressor.hidden.bias, regressor.output.weight):
        of_valence, of_arousal = parameter.grad.chunk(2)
        assert (of_valence == 0).all()
        assert (of_arousal != 0).any()


def test_dropout_has_the_rate_asked_for_and_rests_in_evaluation() -> None:
    regressor, features = make_regressor(), make_features()
    assert [m.probability for m in regressor.modules() if isinstance(m, Dropout)] == [0.6]
    assert not torch.equal(regressor(features), regressor(features))
    regressor.eval()
    assert torch.equal(regressor(features), regressor(features))
