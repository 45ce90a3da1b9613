"""LSTM over time for any mask against `torch.nn.LSTM` on the valid frames of one window after another."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tagf_head.layers.dropout import Dropout
from tagf_head.layers.temporal_lstm import TemporalLstm

D, OUT, L = 3, 4, 7
MASK = torch.tensor(
    [
        [1, 1, 1, 1, 1, 1, 1],
        [1, 1, 1, 0, 0, 0, 0],
        [0, 0, 1, 1, 1, 1, 0],  # padding in front
        [1, 0, 0, 1, 1, 0, 1],  # and within
        [0, 0, 0, 0, 1, 0, 0],
        [0, 0, 0, 0, 0, 0, 0],
    ],
    dtype=torch.bool,
)


class Halve(nn.Module):
    """Stands in for dropout, so that its place in the computation shows."""

    def forward(self, features: Tensor) -> Tensor:
        return features / 2


def make_pair(num_layers: int) -> tuple[TemporalLstm, list[nn.LSTM]]:
    """Ours, and torch's bidirectional layers, with the same random weights."""
    torch.manual_seed(0)
    ours = TemporalLstm(D, OUT, num_layers=num_layers).double()
    theirs = []
    for forwards, backwards in zip(ours.forwards, ours.backwards, strict=True):
        layer = nn.LSTM(forwards.input_size, OUT // 2, batch_first=True, bidirectional=True).double()
        for suffix, direction in (("", forwards), ("_reverse", backwards)):
            for name, value in direction.named_parameters():
                getattr(layer, f"{name}{suffix}").data.copy_(value)
        theirs.append(layer)
    return ours, theirs


def make_rows() -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(len(MASK), L, D, generator=generator, dtype=torch.float64)


def run_torch(layers: list[nn.LSTM], rows: Tensor, factor: float = 1.0) -> Tensor:
    """All layers on each window's valid frames alone; `factor` multiplies what goes from layer to layer."""
    found = torch.zeros(len(MASK), L, OUT, dtype=torch.float64)
    for b, valid in enumerate(MASK):
        if valid.any():
            features = rows[b][valid][None]
            for index, layer in enumerate(layers):
                features, _ = layer(features * (factor if index else 1))
            found[b, valid] = features[0]
    return found


@pytest.mark.parametrize("num_layers", [1, 3])
def test_states_and_gradients_are_those_of_torch_on_the_valid_frames(num_layers: int) -> None:
    ours, theirs = make_pair(num_layers)
    rows, upstream = make_rows(), torch.randn(len(MASK), L, OUT, dtype=torch.float64)
    given, expected_given = rows.clone().requires_grad_(), rows.clone().requires_grad_()
    measured, expected = ours(given, MASK), run_torch(theirs, expected_given)
    torch.testing.assert_close(measured, expected, rtol=0, atol=1e-12)
    measured.backward(upstream)
    expected.backward(upstream)
    torch.testing.assert_close(given.grad, expected_given.grad, rtol=0, atol=1e-12)
    for forwards, backwards, layer in zip(ours.forwards, ours.backwards, theirs, strict=True):
        for suffix, direction in (("", forwards), ("_reverse", backwards)):
            for name, value in direction.named_parameters():
                gradient = getattr(layer, f"{name}{suffix}").grad
                torch.testing.assert_close(value.grad, gradient, rtol=0, atol=1e-11)


def test_padding_has_no_influence_and_is_zero() -> None:
    ours, _ = make_pair(2)
    rows = make_rows()
    expected = ours(rows, MASK)
    measured = ours(rows.masked_fill(~MASK[..., None], 1e3), MASK)
    assert torch.equal(measured, expected)
    assert (measured[~MASK] == 0).all()
    assert (measured[MASK] != 0).all()


def test_dropout_lies_between_layers_alone() -> None:
    ours, theirs = make_pair(3)
    ours.dropout = Halve()
    measured = ours(make_rows(), MASK)
    torch.testing.assert_close(measured, run_torch(theirs, make_rows(), 0.5), rtol=0, atol=1e-12)


def test_dropout_has_the_rate_asked_for_and_rests_in_evaluation() -> None:
    lstm = TemporalLstm(D, OUT, num_layers=2, dropout=0.25).double()
    assert [m.probability for m in lstm.modules() if isinstance(m, Dropout)] == [0.25]
    assert not torch.equal(lstm(make_rows(), MASK), lstm(make_rows(), MASK))
    lstm.eval()
    assert torch.equal(lstm(make_rows(), MASK), lstm(make_rows(), MASK))
