"""Gate against softmax and sum written out in numpy, with either score."""

from __future__ import annotations

import math
from typing import get_args

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from tagf_head.head_config import GateScore
from tagf_head.layers.dropout import Dropout
from tagf_head.layers.temporal_gate import TemporalGate

Array = NDArray[np.float64]
D = 4


@pytest.fixture(params=get_args(GateScore))
def score(request: pytest.FixtureRequest) -> GateScore:
    value: GateScore = request.param
    return value


def make_gate(score: GateScore) -> TemporalGate:
    """A gate in evaluation mode: the dropout of one score rests."""
    torch.manual_seed(0)
    gate = TemporalGate(D, score=score, dropout=0.1).double().eval()
    for parameter in gate.parameters():
        parameter.data += 0.5 * torch.randn_like(parameter)
    return gate


def make_candidates(num_candidates: int, *, num_frames: int = 6) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    shape = (2, num_frames, D)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(num_candidates)]


def reference_score(candidate: Array, state: Array, gate: TemporalGate, score: GateScore) -> float:
    weights = {name: value.numpy() for name, value in gate.score.state_dict().items()}
    if score == "learned":
        return float(weights["linear.weight"][0] @ state)
    z = weights["linear.weight"] @ np.concatenate([candidate, state]) + weights["linear.bias"]
    return float((z / np.sqrt((z**2).sum())).mean() / 0.1)


@pytest.mark.parametrize("num_candidates", [1, 2, 3, 5])
def test_against_numpy(num_candidates: int, score: GateScore) -> None:
    gate = make_gate(score)
    candidates = make_candidates(num_candidates)
    fused, weights = gate(candidates)
    states = gate.lstm(candidates)
    assert fused.shape == (2, 6, D)
    assert weights.shape == (2, 6, num_candidates)
    for b, frame in np.ndindex(2, 6):
        h = [candidate[b, frame].numpy() for candidate in candidates]
        g = [state[b, frame].detach().numpy() for state in states]
        scores = np.array([reference_score(*pair, gate, score) for pair in zip(h, g, strict=True)])
        alpha = np.exp(scores) / np.exp(scores).sum()
        np.testing.assert_allclose(weights[b, frame].detach(), alpha, rtol=0, atol=1e-9)
        expected = sum(alpha[t] * h[t] for t in range(num_candidates))
        np.testing.assert_allclose(fused[b, frame].detach(), expected, rtol=0, atol=1e-9)


def test_learned_score_can_choose() -> None:
    gate = make_gate("learned")
    gate.score.linear.weight.data *= 50
    _, weights = gate(make_candidates(3, num_frames=50))
    torch.testing.assert_close(weights.sum(dim=2), torch.ones(2, 50, dtype=torch.float64))
    assert weights.max() > 0.9
    assert weights.min() < 0.1


@pytest.mark.parametrize(("num_features", "low", "high"), [(256, 0.17, 0.55), (128, 0.125, 0.64)])
def test_channel_mean_can_hardly_choose(num_features: int, low: float, high: float) -> None:
    # The mean of a unit vector of n channels is at most 1 / sqrt(n), where all channels are equal.
    extreme = 10 / math.sqrt(2 * num_features)
    most = math.exp(extreme) / (math.exp(extreme) + 2 * math.exp(-extreme))
    least = math.exp(-extreme) / (math.exp(-extreme) + 2 * math.exp(extreme))
    assert low - 0.005 < least < most < high + 0.005
    torch.manual_seed(0)
    gate = TemporalGate(num_features, score="channel_mean", dropout=0.1).eval()
    candidates = [torch.randn(2, 10, num_features) for _ in range(3)]
    _, fresh = gate(candidates)
    assert 0.29 < fresh.min() < fresh.max() < 0.38
    # Every channel of z of the first candidate as positive as can be, of the others as negative.
    gate.score.linear.weight.data[:] = 0
    gate.score.linear.weight.data[:, 0] = 1
    gate.score.linear.bias.data[:] = 0
    for sign, candidate in zip((1, -1, -1), candidates, strict=True):
        candidate[..., 0] = sign
    _, pushed = gate(candidates)
    torch.testing.assert_close(pushed[..., 0], torch.full((2, 10), most), rtol=0, atol=1e-5)
    _, pushed = gate([-candidate for candidate in candidates])
    torch.testing.assert_close(pushed[..., 0], torch.full((2, 10), least), rtol=0, atol=1e-5)


def test_dropout_belongs_to_the_channel_mean_alone() -> None:
    candidates = make_candidates(3)
    rates = {}
    for score in get_args(GateScore):
        gate = make_gate(score).train()
        rates[score] = [m.probability for m in gate.modules() if isinstance(m, Dropout)]
        assert torch.equal(gate(candidates)[1], gate(candidates)[1]) is (score == "learned")
    assert rates == {"learned": [], "channel_mean": [0.1]}


def test_first_states_are_learned_with_the_channel_mean_alone(score: GateScore) -> None:
    names = {name for name, _ in make_gate(score).lstm.forwards.named_parameters()}
    assert ({"first_hidden", "first_cell"} <= names) is (score == "channel_mean")


def test_frames_do_not_touch_one_another(score: GateScore) -> None:
    gate = make_gate(score)
    candidates = [candidate.requires_grad_() for candidate in make_candidates(3)]
    fused, _ = gate(candidates)
    fused[1, 2].sum().backward()
    for candidate in candidates:
        assert (candidate.grad.abs().sum(dim=2) > 0).nonzero().tolist() == [[1, 2]]


def test_gradient_is_the_numerical_one(score: GateScore) -> None:
    gate = make_gate(score)
    candidates = [candidate[:1, :2].requires_grad_() for candidate in make_candidates(3)]
    assert torch.autograd.gradcheck(lambda *h: gate(h), candidates)
