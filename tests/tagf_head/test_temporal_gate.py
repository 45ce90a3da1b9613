"""Gate against a BiLSTM, softmax and sum written out in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tagf_head.temporal_gate import TemporalGate

Array = NDArray[np.float64]
D = 4


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def reference_states(candidates: Array, gate: TemporalGate) -> Array:
    """g_1 ... g_M of one frame, `(M, 2 D)`: one LSTM forwards, one backwards over the candidates `(M, D)`."""
    state = {name: value.numpy() for name, value in gate.lstm.state_dict().items()}
    states = np.zeros((len(candidates), 2 * D))
    for direction, suffix in enumerate(("", "_reverse")):
        hidden, cell = np.zeros(D), np.zeros(D)
        order = range(len(candidates)) if direction == 0 else reversed(range(len(candidates)))
        for t in order:
            gates = (
                state[f"weight_ih_l0{suffix}"] @ candidates[t]
                + state[f"bias_ih_l0{suffix}"]
                + state[f"weight_hh_l0{suffix}"] @ hidden
                + state[f"bias_hh_l0{suffix}"]
            )
            inward, forget, new, outward = np.split(gates, 4)
            cell = sigmoid(forget) * cell + sigmoid(inward) * np.tanh(new)
            hidden = sigmoid(outward) * np.tanh(cell)
            states[t, direction * D : (direction + 1) * D] = hidden
    return states


def make_gate() -> TemporalGate:
    torch.manual_seed(0)
    gate = TemporalGate(D).double()
    gate.score.weight.data *= 10  # weights far from equal
    return gate


@pytest.mark.parametrize("num_candidates", [1, 2, 3, 5])
def test_against_numpy(num_candidates: int) -> None:
    gate = make_gate()
    candidates = torch.randn(2, 6, num_candidates, D, dtype=torch.float64)
    fused, weights = gate(candidates)
    assert fused.shape == (2, 6, D)
    assert weights.shape == (2, 6, num_candidates)
    w = gate.score.weight.detach().numpy()[0]
    for b in range(2):
        for frame in range(6):
            h = candidates[b, frame].numpy()
            scores = np.array([w @ g for g in reference_states(h, gate)])
            alpha = np.exp(scores) / np.exp(scores).sum()
            np.testing.assert_allclose(weights[b, frame].detach(), alpha, rtol=0, atol=1e-9)
            expected = sum(alpha[t] * h[t] for t in range(num_candidates))
            np.testing.assert_allclose(fused[b, frame].detach(), expected, rtol=0, atol=1e-9)


def test_weights_sum_to_one_and_can_choose() -> None:
    gate = make_gate()
    gate.score.weight.data *= 50
    _, weights = gate(torch.randn(3, 50, 3, D, dtype=torch.float64))
    torch.testing.assert_close(weights.sum(dim=2), torch.ones(3, 50, dtype=torch.float64))
    assert weights.max() > 0.9
    assert weights.min() < 0.1


def test_frames_do_not_touch_one_another() -> None:
    gate = make_gate()
    candidates = torch.randn(2, 6, 3, D, dtype=torch.float64, requires_grad=True)
    fused, _ = gate(candidates)
    fused[1, 2].sum().backward()
    touched = candidates.grad.abs().sum(dim=(2, 3)) > 0
    assert touched.nonzero().tolist() == [[1, 2]]


def test_gradient_is_the_numerical_one() -> None:
    gate = make_gate()
    candidates = torch.randn(1, 2, 3, D, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(gate, candidates)
