"""MaskedBatchNorm against torch.nn.BatchNorm1d on the valid frames stacked."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tagf_head.layers.masked_batch_norm import MaskedBatchNorm

B, L, C = 4, 9, 5


@pytest.fixture(params=["full", "padded", "scattered"])
def frame_mask(request: pytest.FixtureRequest) -> Tensor:
    if request.param == "full":
        return torch.ones(B, L, dtype=torch.bool)
    if request.param == "padded":
        return torch.arange(L) < torch.tensor([9, 4, 1, 0])[:, None]
    return torch.rand(B, L, generator=torch.Generator().manual_seed(0)) > 0.5


def make_pair() -> tuple[MaskedBatchNorm, nn.BatchNorm1d]:
    """Ours and torch's, with the same random weights."""
    torch.manual_seed(1)
    ours, theirs = MaskedBatchNorm(C).double(), nn.BatchNorm1d(C).double()
    weight, bias = torch.randn(2, C, dtype=torch.float64)
    for module in (ours, theirs):
        module.weight.data.copy_(weight)
        module.bias.data.copy_(bias)
    return ours, theirs


def test_equals_batch_norm_on_the_valid_frames(frame_mask: Tensor) -> None:
    ours, theirs = make_pair()
    for step in range(4):
        generator = torch.Generator().manual_seed(step)
        features = 3 * torch.randn(B, L, C, generator=generator, dtype=torch.float64) + 2
        upstream = torch.randn(B, L, C, generator=generator, dtype=torch.float64)
        if step == 3:
            ours.eval()
            theirs.eval()
        ours_in, theirs_in = features.clone().requires_grad_(), features[frame_mask].requires_grad_()
        ours_out, theirs_out = ours(ours_in, frame_mask), theirs(theirs_in)
        torch.testing.assert_close(ours_out[frame_mask], theirs_out, rtol=0, atol=1e-12)
        assert (ours_out[~frame_mask] == 0).all()
        ours_out.backward(upstream)
        theirs_out.backward(upstream[frame_mask])
        torch.testing.assert_close(ours_in.grad[frame_mask], theirs_in.grad, rtol=0, atol=1e-12)
        assert (ours_in.grad[~frame_mask] == 0).all()
        torch.testing.assert_close(ours.running_mean, theirs.running_mean, rtol=0, atol=1e-12)
        torch.testing.assert_close(ours.running_variance, theirs.running_var, rtol=0, atol=1e-12)
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad, rtol=0, atol=1e-11)
    torch.testing.assert_close(ours.bias.grad, theirs.bias.grad, rtol=0, atol=1e-11)


@pytest.mark.parametrize("training", [True, False])
def test_padding_has_no_influence(training: bool) -> None:
    ours, _ = make_pair()
    ours.train(training)
    frame_mask = torch.arange(L) < torch.tensor([9, 4, 1, 0])[:, None]
    features = torch.randn(B, L, C, dtype=torch.float64)
    first = ours(features, frame_mask)
    second = ours(features.masked_fill(~frame_mask[..., None], 1e6), frame_mask)
    assert torch.equal(first, second)


@pytest.mark.parametrize("num_valid", [0, 1])
def test_too_few_frames_leave_the_running_statistics(num_valid: int) -> None:
    ours, _ = make_pair()
    ours.running_mean += 0.5
    ours.running_variance += 0.5
    before = {name: value.clone() for name, value in ours.named_buffers()}
    frame_mask = torch.zeros(B, L, dtype=torch.bool)
    frame_mask[0, :num_valid] = True
    features = torch.randn(B, L, C, dtype=torch.float64, requires_grad=True)
    normalised = ours(features, frame_mask)
    normalised.sum().backward()
    torch.testing.assert_close(normalised[frame_mask], ours.bias.detach().expand(num_valid, C))
    assert torch.isfinite(features.grad).all()
    assert torch.isfinite(ours.weight.grad).all()
    for name, value in ours.named_buffers():
        assert torch.equal(value, before[name])


def test_float32_keeps_its_digits_far_from_zero() -> None:
    torch.manual_seed(2)
    features = 1000 + torch.randn(B, 100, C)
    frame_mask = torch.ones(B, 100, dtype=torch.bool)
    exact = MaskedBatchNorm(C).double()(features.double(), frame_mask)
    torch.testing.assert_close(MaskedBatchNorm(C)(features, frame_mask).double(), exact, rtol=0, atol=1e-3)


@pytest.mark.parametrize("training", [True, False])
def test_gradient_is_the_numerical_one(training: bool) -> None:
    ours, _ = make_pair()
    ours.train(training)
    frame_mask = torch.tensor([[True, True, False], [True, False, False]])
    features = torch.randn(2, 3, C, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: ours(x, frame_mask), features)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("training", [True, False])
def test_half_precision_is_normalised_in_float32(dtype: torch.dtype, training: bool) -> None:
    torch.manual_seed(3)
    features = (3 + torch.randn(B, 100, C)).to(dtype)
    frame_mask = torch.rand(B, 100) > 0.2
    ours, exact = MaskedBatchNorm(C), MaskedBatchNorm(C).double()
    for module in (ours, exact):
        module.running_mean += 0.3
        module.train(training)
    found = ours(features, frame_mask)
    assert found.dtype is torch.float32
    torch.testing.assert_close(found.double(), exact(features.double(), frame_mask), rtol=0, atol=1e-5)
    torch.testing.assert_close(ours.running_variance.double(), exact.running_variance, rtol=0, atol=1e-6)
