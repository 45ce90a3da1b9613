"""Self-attention against its equations, window by window on the valid frames alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tagf_head.layers.dropout import Dropout
from tagf_head.layers.self_attention import SelfAttention, SelfAttentionStep

Array = NDArray[np.float64]
D, L = 4, 8
VALID = ([0, 1, 2, 3, 4, 5, 6, 7], [0, 1, 2], [1, 4, 5, 7])


class Halve(nn.Module):
    """Stands in for dropout, so that its place in the computation shows."""

    def forward(self, features: Tensor) -> Tensor:
        return features / 2


def make_attention(num_steps: int = 1, *, share_steps: bool = False, mix_time: bool = False) -> SelfAttention:
    torch.manual_seed(0)
    return SelfAttention(
        D,
        num_steps=num_steps,
        share_steps=share_steps,
        dropout=0.0,
        reference_length=L,
        mix_time=mix_time,
    ).double()


def make_inputs(valid: tuple[list[int], ...] = VALID) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    rows = torch.randn(len(valid), L, D, generator=generator, dtype=torch.float64)
    mask = torch.zeros(len(valid), L, dtype=torch.bool)
    for b, frames in enumerate(valid):
        mask[b, frames] = True
    return rows, mask


def reference_step(step: SelfAttentionStep, x: Array, frames: list[int], dropout: float = 1.0) -> Array:
    """One window of valid frames, `(n, D)`."""
    state = {name: value.numpy() for name, value in step.state_dict().items()}

    def linear(name: str, rows: Array) -> Array:
        return rows @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    keys = x
    if step.mixing is not None:
        over_time = state["mixing.linear.weight"][np.ix_(frames, frames)]
        keys = over_time @ x + state["mixing.linear.bias"][frames, None]
    product = sum(np.outer(k, j) for k, j in zip(keys, linear("joint", x), strict=True))
    correlation = dropout * np.tanh(product * L / len(x) / np.sqrt(D))
    attended = np.maximum(np.tanh(linear("query", x) @ correlation), 0)
    return x + dropout * np.maximum(linear("update", attended), 0)


@pytest.mark.parametrize("mix_time", [False, True])
@pytest.mark.parametrize(("num_steps", "share_steps"), [(1, False), (3, False), (3, True)])
def test_against_numpy(num_steps: int, share_steps: bool, mix_time: bool) -> None:
    attention = make_attention(num_steps, share_steps=share_steps, mix_time=mix_time)
    assert len(attention.steps) == (1 if share_steps else num_steps)
    rows, mask = make_inputs()
    measured = attention(rows, mask)
    for b, frames in enumerate(VALID):
        expected = rows[b, frames].numpy()
        for t in range(num_steps):
            expected = reference_step(attention.steps[0 if share_steps else t], expected, frames)
        np.testing.assert_allclose(measured[b, frames].detach(), expected, rtol=0, atol=1e-9)


def test_dropout_is_on_correlations_and_updates() -> None:
    step = SelfAttentionStep(D, dropout=0.6, reference_length=L, mix_time=False).double()
    assert [m.probability for m in step.modules() if isinstance(m, Dropout)] == [0.6]
    step.dropout = Halve()
    rows, mask = make_inputs()
    expected = reference_step(step, rows[0].numpy(), VALID[0], 0.5)
    np.testing.assert_allclose(step(rows, mask)[0].detach(), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("mix_time", [False, True])
def test_padding_has_no_influence(mix_time: bool) -> None:
    attention = make_attention(2, mix_time=mix_time)
    rows, mask = make_inputs((*VALID, []))
    given = rows.clone().requires_grad_()
    result = attention(given, mask)
    other = attention(rows.masked_fill(~mask[..., None], 50.0), mask)
    torch.testing.assert_close(other[mask], result[mask], rtol=0, atol=1e-12)
    assert torch.isfinite(result).all()
    (result * mask[..., None]).square().sum().backward()
    assert torch.isfinite(given.grad).all()
    assert (given.grad[~mask] == 0).all()
