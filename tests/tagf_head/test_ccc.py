"""CCC and its loss against numpy, closed forms, torchmetrics and numerical gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torchmetrics.functional.regression import concordance_corrcoef

from tagf_head.ccc import ccc_loss, concordance_correlation_coefficient
from tagf_head.config import CccScope
from tagf_head.errors import HeadError


def reference_ccc(p: NDArray[np.float64], t: NDArray[np.float64]) -> float:
    """Formula of Lin with population moments, for vectors."""
    n = len(p)
    covariance = sum((p[i] - p.mean()) * (t[i] - t.mean()) for i in range(n)) / n
    return float(2 * covariance / (p.var() + t.var() + (p.mean() - t.mean()) ** 2))


def random_batch(seed: int, *shape: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Correlated prediction and target, and a mask with frames missing in each row."""
    generator = torch.Generator().manual_seed(seed)
    target = torch.rand(shape, generator=generator, dtype=torch.float64) * 2 - 1
    prediction = 0.6 * target + 0.4 * torch.rand(shape, generator=generator, dtype=torch.float64)
    mask = torch.rand(shape, generator=generator) > 0.3
    return prediction, target, mask


def test_hand_worked_case() -> None:
    # Means 2 and 4, variances 2/3 and 8/3, covariance 4/3: (8/3) / (10/3 + 4) = 4/11.
    prediction, target = torch.tensor([1.0, 2.0, 3.0]).double(), torch.tensor([2.0, 4.0, 6.0]).double()
    assert concordance_correlation_coefficient(prediction, target).item() == pytest.approx(4 / 11, abs=1e-15)


@pytest.mark.parametrize(("slope", "offset"), [(1.0, 0.3), (0.5, 0.0), (-1.0, 0.0), (2.0, -0.7)])
def test_closed_form_of_a_linear_prediction(slope: float, offset: float) -> None:
    _, target, _ = random_batch(1, 500)
    mean, variance = target.mean().item(), target.var(correction=0).item()
    expected = 2 * slope * variance / ((1 + slope**2) * variance + ((slope - 1) * mean + offset) ** 2)
    measured = concordance_correlation_coefficient(slope * target + offset, target)
    assert measured.item() == pytest.approx(expected, abs=1e-12)


def test_leading_axes_and_mask_against_numpy() -> None:
    prediction, target, mask = random_batch(2, 3, 2, 40)
    measured = concordance_correlation_coefficient(prediction, target, mask)
    assert measured.shape == (3, 2)
    for b in range(3):
        for c in range(2):
            valid = mask[b, c].numpy()
            expected = reference_ccc(prediction[b, c].numpy()[valid], target[b, c].numpy()[valid])
            assert measured[b, c].item() == pytest.approx(expected, abs=1e-12)


def test_mask_broadcasts() -> None:
    prediction, target, mask = random_batch(3, 4, 2, 30)
    shared = mask[:, :1]
    expected = concordance_correlation_coefficient(prediction, target, shared.repeat(1, 2, 1))
    assert torch.equal(concordance_correlation_coefficient(prediction, target, shared), expected)


def test_difference_from_torchmetrics_is_the_sample_variance() -> None:
    # torchmetrics divides by n - 1, so that 1 / CCC differs by bias**2 / (2 n cov), and by nothing else.
    prediction, target, _ = random_batch(4, 60)
    theirs = concordance_corrcoef(prediction, target).item()
    covariance = ((prediction - prediction.mean()) * (target - target.mean())).mean().item()
    bias = (prediction.mean() - target.mean()).item()
    ours = concordance_correlation_coefficient(prediction, target).item()
    assert 1 / ours - 1 / theirs == pytest.approx(bias**2 / (2 * 60 * covariance), rel=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("num_frames", [2, 3, 75, 1000])
def test_perfect_prediction_scores_exactly_one(dtype: torch.dtype, num_frames: int) -> None:
    _, target, mask = random_batch(num_frames, 5, num_frames)
    target = target.to(dtype) * 0.3 + 0.1
    mask[:, 0] = True
    assert torch.equal(concordance_correlation_coefficient(target, target), torch.ones(5, dtype=dtype))
    assert torch.equal(concordance_correlation_coefficient(target, target, mask), torch.ones(5, dtype=dtype))


@pytest.mark.parametrize("constant", [0.1, -0.7, 0.3333333, 0.0])
@pytest.mark.parametrize("distance", [0.0, 1e-30, 1e-20, 1e-8, 1e-3, 0.5])
@pytest.mark.parametrize("num_frames", [1, 75, 301])
def test_constant_target_has_no_gradient(constant: float, distance: float, num_frames: int) -> None:
    target = torch.full((num_frames,), constant)
    steps = torch.linspace(1, 2, num_frames)
    prediction = (target + distance * steps).requires_grad_()
    ccc = concordance_correlation_coefficient(prediction, target)
    ccc.backward()
    assert ccc.item() == (1.0 if torch.equal(prediction, target) or distance < 1e-19 else 0.0)
    assert torch.equal(prediction.grad, torch.zeros(num_frames))


def test_constant_prediction_has_a_finite_useful_gradient() -> None:
    _, target, _ = random_batch(5, 75)
    prediction = torch.full((75,), 0.2, dtype=torch.float64, requires_grad=True)
    ccc = concordance_correlation_coefficient(prediction, target)
    ccc.backward()
    assert ccc.item() == pytest.approx(0, abs=1e-12)
    assert torch.isfinite(prediction.grad).all()
    assert (prediction.grad @ (target - target.mean())).item() > 0


def test_no_valid_frame_scores_zero_with_no_gradient() -> None:
    prediction, target, mask = random_batch(6, 2, 10)
    mask[1] = False
    target[1] = float("nan")
    prediction.requires_grad_()
    ccc = concordance_correlation_coefficient(prediction, target, mask)
    ccc.sum().backward()
    assert ccc[0] != 0
    assert ccc[1] == 0
    assert torch.equal(prediction.grad[1], torch.zeros(10, dtype=torch.float64))


def test_masked_frames_have_no_influence() -> None:
    prediction, target, mask = random_batch(7, 3, 20)
    results = []
    for filler in (0.0, -5.0, float("nan"), float("inf")):
        p = prediction.masked_fill(~mask, filler).requires_grad_()
        ccc = concordance_correlation_coefficient(p, target.masked_fill(~mask, filler), mask)
        ccc.sum().backward()
        results.append((ccc.detach(), p.grad))
    for ccc, gradient in results:
        assert torch.equal(ccc, results[0][0])
        assert torch.equal(gradient, results[0][1])
        assert (gradient[~mask] == 0).all()


def test_float32_keeps_its_digits_far_from_zero() -> None:
    # E[x**2] - E[x]**2 has no correct digit left here: mean 1000, spread 0.01.
    prediction, target, _ = random_batch(8, 400)
    prediction, target = (1000 + 0.01 * prediction).float(), (1000 + 0.01 * target).float()
    expected = reference_ccc(prediction.double().numpy(), target.double().numpy())
    assert concordance_correlation_coefficient(prediction, target).item() == pytest.approx(expected, rel=1e-4)


def test_half_precision_is_summed_in_float32() -> None:
    prediction = torch.rand(4000, generator=torch.Generator().manual_seed(0)).bfloat16()
    target = torch.rand(4000, generator=torch.Generator().manual_seed(1))
    found = concordance_correlation_coefficient(prediction, target)
    assert found.dtype is torch.float32
    exact = concordance_correlation_coefficient(prediction.double(), target.double())
    assert found.item() == pytest.approx(exact.item(), abs=1e-6)


def test_gradient_is_the_numerical_one() -> None:
    prediction, target, mask = random_batch(9, 2, 12)
    prediction.requires_grad_()
    target.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda p, t: concordance_correlation_coefficient(p, t, mask), (prediction, target)
    )


def test_loss_over_batch_and_over_window_against_numpy() -> None:
    prediction, target, mask = random_batch(10, 4, 30, 2)
    label_mask = mask[..., 0]
    label_mask[2] = False
    p, t, valid = prediction.numpy(), target.numpy(), label_mask.numpy()
    over_batch = sum(1 - reference_ccc(p[valid][:, c], t[valid][:, c]) for c in range(2))
    per_window = [
        sum(1 - reference_ccc(p[b, valid[b], c], t[b, valid[b], c]) for c in range(2)) for b in (0, 1, 3)
    ]
    assert ccc_loss(prediction, target, label_mask).item() == pytest.approx(over_batch, abs=1e-12)
    assert ccc_loss(prediction, target, label_mask, over="batch").item() == pytest.approx(
        over_batch, abs=1e-12
    )
    measured = ccc_loss(prediction, target, label_mask, over="window").item()
    assert measured == pytest.approx(np.mean(per_window), abs=1e-12)


@pytest.mark.parametrize("over", ["batch", "window"])
def test_loss_of_a_perfect_and_of_an_inverted_prediction(over: CccScope) -> None:
    _, target, mask = random_batch(11, 3, 25, 2)
    target = target - target.mean(dim=1, keepdim=True)
    everywhere = torch.ones_like(mask[..., 0])
    assert ccc_loss(target, target, everywhere, over=over).item() == 0
    assert ccc_loss(-target, target, everywhere, over=over).item() == pytest.approx(4, abs=1e-12)


@pytest.mark.parametrize("over", ["batch", "window"])
def test_loss_without_annotations_is_zero_with_no_gradient(over: CccScope) -> None:
    prediction, target, mask = random_batch(12, 3, 5, 2)
    prediction.requires_grad_()
    loss = ccc_loss(prediction, target, torch.zeros_like(mask[..., 0]), over=over)
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(prediction.grad, torch.zeros_like(prediction))


@pytest.mark.parametrize("over", ["batch", "window"])
def test_loss_gradient_and_order_of_windows(over: CccScope) -> None:
    prediction, target, mask = random_batch(13, 3, 6, 2)
    label_mask = mask[..., 0]
    label_mask[0] = False
    prediction.requires_grad_()
    assert torch.autograd.gradcheck(lambda p: ccc_loss(p, target, label_mask, over=over), prediction)
    order = torch.tensor([2, 0, 1])
    permuted = ccc_loss(prediction[order], target[order], label_mask[order], over=over)
    assert permuted.item() == pytest.approx(
        ccc_loss(prediction, target, label_mask, over=over).item(), abs=1e-12
    )


def test_mistakes_are_named() -> None:
    prediction, target, mask = random_batch(14, 2, 6, 2)
    with pytest.raises(HeadError, match=r"one shape .* got \(2, 6, 2\) and \(2, 6\)"):
        concordance_correlation_coefficient(prediction, target[..., 0])
    with pytest.raises(HeadError, match="at least one frame"):
        concordance_correlation_coefficient(prediction[..., :0], target[..., :0])
    with pytest.raises(HeadError, match=r"bool mask, got torch\.float64"):
        concordance_correlation_coefficient(prediction, target, mask.double())
    with pytest.raises(HeadError, match=r"broadcasts to \(2, 6, 2\), got \(2, 6\)"):
        concordance_correlation_coefficient(prediction, target, mask[..., 0])
    with pytest.raises(HeadError, match=r"label_mask \(B, L\), got .* and \(2, 6, 2\)"):
        ccc_loss(prediction, target, mask)
    with pytest.raises(HeadError, match="'batch' or 'window', got 'clip'"):
        ccc_loss(prediction, target, mask[..., 0], over="clip")  # type: ignore[arg-type]
