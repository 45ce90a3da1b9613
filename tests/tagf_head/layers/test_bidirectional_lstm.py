"""LSTM over candidates against its equations in numpy, and against torch's own with the same weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tagf_head.layers.bidirectional_lstm import BidirectionalLstm

Array = NDArray[np.float64]
D = 4


def make_lstm(learned_start: bool) -> BidirectionalLstm:
    torch.manual_seed(0)
    lstm = BidirectionalLstm(D, learned_start=learned_start).double()
    for parameter in lstm.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return lstm


def make_candidates(num_candidates: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    shape = (2, 5, D)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(num_candidates)]


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def reference_states(sequence: Array, state: dict[str, Array]) -> Array:
    """h_1 ... h_M of one frame, `(M, D)`, one candidate after the other."""
    hidden = state.get("first_hidden", np.zeros(D))
    cell = state.get("first_cell", np.zeros(D))
    states = []
    for x in sequence:
        rows = state["input.weight"] @ x + state["input.bias"] + state["recurrent.weight"] @ hidden
        inward, forget, new, outward = (rows[k * D : (k + 1) * D] for k in range(4))
        cell = sigmoid(forget) * cell + sigmoid(inward) * np.tanh(new)
        hidden = sigmoid(outward) * np.tanh(cell)
        states.append(hidden)
    return np.array(states)


@pytest.mark.parametrize("learned_start", [False, True])
@pytest.mark.parametrize("num_candidates", [1, 2, 3, 5])
def test_against_numpy(num_candidates: int, learned_start: bool) -> None:
    lstm = make_lstm(learned_start)
    candidates = make_candidates(num_candidates)
    measured = torch.stack(lstm(candidates), dim=2).detach().numpy()  # (B, L, M, 2 * D)
    forwards, backwards = (
        {name: value.numpy() for name, value in direction.state_dict().items()}
        for direction in (lstm.forwards, lstm.backwards)
    )
    for b, frame in np.ndindex(2, 5):
        sequence = np.array([candidate[b, frame].numpy() for candidate in candidates])
        there = reference_states(sequence, forwards)
        back = reference_states(sequence[::-1], backwards)[::-1]
        np.testing.assert_allclose(measured[b, frame], np.hstack([there, back]), rtol=0, atol=1e-9)


@pytest.mark.parametrize("learned_start", [False, True])
def test_states_and_gradients_are_those_of_torch(learned_start: bool) -> None:
    ours = make_lstm(learned_start)
    theirs = nn.LSTM(D, D, batch_first=True, bidirectional=True).double()
    directions = (("", ours.forwards), ("_reverse", ours.backwards))
    for suffix, direction in directions:
        for name, value in (
            ("weight_ih", direction.input.weight),
            ("weight_hh", direction.recurrent.weight),
            ("bias_ih", direction.input.bias),
            ("bias_hh", torch.zeros(4 * D)),
        ):
            getattr(theirs, f"{name}_l0{suffix}").data.copy_(value)
    start = None
    if learned_start:
        start = tuple(
            torch.stack([getattr(direction, name).detach() for _, direction in directions])[:, None]
            .expand(2, 10, D)
            .contiguous()
            for name in ("first_hidden", "first_cell")
        )
    candidates = make_candidates(3)
    upstream = torch.randn(2, 5, 3, 2 * D, dtype=torch.float64)
    measured = torch.stack(ours(candidates), dim=2)
    expected, _ = theirs(torch.stack(candidates, dim=2).flatten(0, 1), start)
    torch.testing.assert_close(measured.flatten(0, 1), expected, rtol=0, atol=1e-12)
    measured.backward(upstream)
    expected.backward(upstream.flatten(0, 1))
    for suffix, direction in directions:
        for name, layer in (("weight_ih", direction.input), ("weight_hh", direction.recurrent)):
            gradient = getattr(theirs, f"{name}_l0{suffix}").grad
            torch.testing.assert_close(layer.weight.grad, gradient, rtol=0, atol=1e-11)
        bias = getattr(theirs, f"bias_ih_l0{suffix}").grad
        torch.testing.assert_close(direction.input.bias.grad, bias, rtol=0, atol=1e-11)


def test_fresh_weights_come_from_the_distribution_of_torch() -> None:
    torch.manual_seed(0)
    ours, theirs = BidirectionalLstm(64, learned_start=True), nn.LSTM(64, 64, bidirectional=True)
    for name, parameter in ours.named_parameters():
        if "first" in name:
            assert (parameter == 0).all()
        else:
            like = theirs.weight_ih_l0
            assert parameter.abs().max() <= 1 / 8
            torch.testing.assert_close(parameter.std(), like.std(), rtol=0.1, atol=0)


@pytest.mark.parametrize("learned_start", [False, True])
def test_gradient_is_the_numerical_one(learned_start: bool) -> None:
    lstm = make_lstm(learned_start)
    candidates = [torch.randn(1, 2, D, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    assert torch.autograd.gradcheck(lambda *h: lstm(h), candidates)
