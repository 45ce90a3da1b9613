"""Gate of DCA and its successors against its equations, frame by frame in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from tagf_head.layers.attention_gate import AttentionGate

D = 4


def make_gate(num_candidates: int) -> AttentionGate:
    torch.manual_seed(0)
    return AttentionGate(D, num_candidates).double()


def make_candidates(num_candidates: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(2, 5, D, generator=generator, dtype=torch.float64) for _ in range(num_candidates)]


@pytest.mark.parametrize("num_candidates", [2, 4])
def test_against_numpy(num_candidates: int) -> None:
    gate, candidates = make_gate(num_candidates), make_candidates(num_candidates)
    fused, weights = gate(candidates)
    (matrix,) = (value.numpy() for value in gate.state_dict().values())
    for b, frame in np.ndindex(2, 5):
        x = [candidate[b, frame].numpy() for candidate in candidates]
        exponents = np.exp(matrix @ x[-1] / 0.1)
        expected = exponents / exponents.sum()
        np.testing.assert_allclose(weights[b, frame].detach(), expected, rtol=0, atol=1e-9)
        mixed = np.maximum(sum(g * each for g, each in zip(expected, x, strict=True)), 0)
        np.testing.assert_allclose(fused[b, frame].detach(), mixed, rtol=0, atol=1e-9)


def test_it_can_choose_one_candidate() -> None:
    gate, candidates = make_gate(2), make_candidates(2)
    gate.weights.linear.weight.data[:] = torch.tensor([[100.0] * D, [-100.0] * D])
    positive = candidates[1].sum(dim=-1) > 0
    fused, _ = gate(candidates)
    expected = torch.where(positive[..., None], candidates[0], candidates[1]).relu()
    torch.testing.assert_close(fused, expected, rtol=0, atol=1e-6)


def test_frames_without_features_weigh_all_candidates_alike() -> None:
    _, weights = make_gate(3)([torch.zeros(1, 2, D, dtype=torch.float64)] * 3)
    torch.testing.assert_close(weights, torch.full_like(weights, 1 / 3))


def test_weights_are_float32_under_autocast() -> None:
    gate = make_gate(2).float()
    candidates = [candidate.bfloat16() for candidate in make_candidates(2)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        fused, weights = gate(candidates)
    assert weights.dtype is torch.float32
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(2, 5), rtol=0, atol=1e-6)
    assert torch.isfinite(fused).all()


def test_gradient_is_the_numerical_one() -> None:
    gate = make_gate(3)
    candidates = [candidate[:1, :2].clone().requires_grad_() for candidate in make_candidates(3)]
    assert torch.autograd.gradcheck(lambda *x: gate(x), candidates)
