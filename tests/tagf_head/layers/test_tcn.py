"""TCN against a frame-by-frame computation in numpy; receptive field, causality and padding."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call

from tagf_head.layers.dropout import Dropout
from tagf_head.layers.tcn import TemporalConvNet, receptive_field

Array = NDArray[np.float64]


class Halve(nn.Module):
    """Stands in for dropout, so that its place in the computation shows."""

    def forward(self, features: Tensor) -> Tensor:
        return features / 2


def make_tcn(
    in_features: int = 4, channels: tuple[int, ...] = (6, 6, 3), *, kernel_size: int = 3, causal: bool = True
) -> TemporalConvNet:
    """A TCN in float64 whose parameters are all random, the weights' norms included."""
    torch.manual_seed(0)
    tcn = TemporalConvNet(in_features, channels, kernel_size=kernel_size, causal=causal, dropout=0.0).double()
    for parameter in tcn.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return tcn


def mask_of(*lengths: int, num_frames: int) -> Tensor:
    return torch.arange(num_frames) < torch.tensor(lengths)[:, None]


def reference_convolution(x: Array, state: dict[str, Array], name: str, dilation: int, causal: bool) -> Array:
    """Weight-normalised convolution of `(L, D_in)`, one frame and one tap at a time; zeros outside."""
    direction, norm = (state[f"{name}.conv.parametrizations.weight.original{i}"] for i in (1, 0))
    weight = np.stack([norm.flat[o] * w / np.linalg.norm(w) for o, w in enumerate(direction)])[:, :, 0]
    num_taps = weight.shape[2]
    last = 0 if causal else (num_taps - 1) // 2 * dilation  # offset of the last tap from the frame
    out = np.zeros((len(x), len(weight)))
    for t in range(len(x)):
        out[t] = state[f"{name}.conv.bias"]
        for tap in range(num_taps):
            source = t + last - (num_taps - 1 - tap) * dilation
            if 0 <= source < len(x):
                out[t] += weight[:, :, tap] @ x[source]
    return out


def leaky(x: Array) -> Array:
    return np.where(x > 0, x, 0.01 * x)


def reference_tcn(x: Array, tcn: TemporalConvNet, causal: bool, dropout: float = 1.0) -> Array:
    """All levels on one window `(L, D)` without padding; `dropout` multiplies where dropout stands."""
    state = {name: value.numpy() for name, value in tcn.state_dict().items()}
    for level in range(len(tcn.levels)):
        branch = x
        for name in ("first", "second"):
            branch = reference_convolution(branch, state, f"levels.{level}.{name}", 2**level, causal)
            branch = dropout * leaky(branch)
        if f"levels.{level}.residual.weight" in state:
            x = x @ state[f"levels.{level}.residual.weight"].T + state[f"levels.{level}.residual.bias"]
        x = leaky(x + branch)
    return x


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("kernel_size", [1, 3, 5])
def test_against_numpy(causal: bool, kernel_size: int) -> None:
    tcn = make_tcn(kernel_size=kernel_size, causal=causal)
    lengths = (20, 13, 1)
    rows = torch.randn(3, 20, 4, dtype=torch.float64)
    measured = tcn(rows, mask_of(*lengths, num_frames=20)).detach().numpy()
    assert measured.shape == (3, 20, 3)
    for b, length in enumerate(lengths):
        expected = reference_tcn(rows[b, :length].numpy(), tcn, causal)
        np.testing.assert_allclose(measured[b, :length], expected, rtol=0, atol=1e-9)


def test_dropout_follows_each_activation() -> None:
    tcn = make_tcn()
    for level in tcn.levels:
        level.dropout = Halve()
    rows = torch.randn(1, 15, 4, dtype=torch.float64)
    measured = tcn(rows, mask_of(15, num_frames=15))[0].detach().numpy()
    np.testing.assert_allclose(measured, reference_tcn(rows[0].numpy(), tcn, True, 0.5), rtol=0, atol=1e-9)


def test_dropout_has_the_rate_asked_for_and_rests_in_evaluation() -> None:
    tcn = TemporalConvNet(4, (4,), kernel_size=3, causal=True, dropout=0.25)
    rows, mask = torch.randn(2, 30, 4), mask_of(30, 30, num_frames=30)
    assert not torch.equal(tcn(rows, mask), tcn(rows, mask))
    tcn.eval()
    assert torch.equal(tcn(rows, mask), tcn(rows, mask))
    assert [m.probability for m in tcn.modules() if isinstance(m, Dropout)] == [0.25]


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(("num_levels", "kernel_size"), [(1, 3), (2, 5), (3, 3), (4, 5)])
def test_receptive_field_shows_in_the_gradient(causal: bool, num_levels: int, kernel_size: int) -> None:
    tcn = make_tcn(2, (2,) * num_levels, kernel_size=kernel_size, causal=causal)
    field = receptive_field(num_levels, kernel_size)
    num_frames, frame = 2 * field + 10, field + 5
    rows = torch.randn(1, num_frames, 2, dtype=torch.float64, requires_grad=True)
    tcn(rows, mask_of(num_frames, num_frames=num_frames))[0, frame].sum().backward()
    seen = torch.nonzero(rows.grad[0].abs().sum(dim=1)).flatten().tolist()
    first = frame - (field - 1 if causal else (field - 1) // 2)
    assert seen == list(range(first, first + field))


def test_receptive_field_of_the_released_network() -> None:
    assert receptive_field(num_levels=4, kernel_size=5) == 1 + 2 * 4 * (1 + 2 + 4 + 8) == 121
    assert receptive_field(num_levels=3, kernel_size=1) == 1


@pytest.mark.parametrize("causal", [True, False])
def test_later_frames_reach_back_only_where_not_causal(causal: bool) -> None:
    tcn = make_tcn(causal=causal)
    mask = mask_of(24, num_frames=24)
    rows = torch.randn(1, 24, 4, dtype=torch.float64)
    changed = rows.clone()
    changed[:, 12:] += 1
    difference = (tcn(rows, mask) - tcn(changed, mask)).abs().amax(dim=2)[0]
    assert (difference[12:] > 0).all()
    assert bool((difference[:12] == 0).all()) is causal


@pytest.mark.parametrize("causal", [True, False])
def test_padding_before_and_after_changes_no_valid_frame(causal: bool) -> None:
    tcn = make_tcn(causal=causal)
    rows = torch.randn(1, 14, 4, dtype=torch.float64)
    alone = tcn(rows, mask_of(14, num_frames=14))
    filler = torch.full((1, 9, 4), 1e3, dtype=torch.float64)
    padded_rows = torch.cat([filler, rows, filler], dim=1)
    mask = torch.zeros(1, 32, dtype=torch.bool)
    mask[:, 9:23] = True
    torch.testing.assert_close(tcn(padded_rows, mask)[:, 9:23], alone, rtol=0, atol=1e-11)


def test_gradient_is_the_numerical_one() -> None:
    tcn = make_tcn(2, (3, 2), causal=False)
    rows = torch.randn(2, 6, 2, dtype=torch.float64, requires_grad=True)
    mask = mask_of(6, 3, num_frames=6)
    assert torch.autograd.gradcheck(lambda x: tcn(x, mask) * mask[..., None], rows)


def test_gradients_of_the_weights_are_the_numerical_ones() -> None:
    tcn = make_tcn(2, (3, 2), causal=True)
    rows, mask = torch.randn(2, 5, 2, dtype=torch.float64), mask_of(5, 3, num_frames=5)
    names, values = zip(*tcn.named_parameters(), strict=True)
    assert torch.autograd.gradcheck(
        lambda *given: (
            functional_call(tcn, dict(zip(names, given, strict=True)), (rows, mask)) * mask[..., None]
        ),
        values,
        fast_mode=True,
    )
