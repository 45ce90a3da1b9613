"""Concordance correlation coefficient (CCC) and the loss made of it, for torch tensors.

    CCC = 2 cov(p, t) / (var(p) + var(t) + (mean(p) - mean(t))**2)

All moments are those of the population (divided by n), so that a perfect prediction scores exactly 1. Mixing
them with the sample's (n - 1) would cap it at (n - 1) / n.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from tagf_head.config import CccScope
from tagf_head.distributed import stack_over_processes, sum_over_processes
from tagf_head.errors import HeadError


def concordance_correlation_coefficient(
    prediction: Tensor, target: Tensor, mask: Tensor | None = None
) -> Tensor:
    """CCC of Lin (1989) over the last axis.

    Where the denominator vanishes, prediction and target are one and the same constant: the value is then 1,
    since the prediction is perfect. It is 0 where no frame counts, and where a target is constant (a single
    frame is) that the prediction does not equal. The gradient is always finite, and 0 where the target is
    constant.

    Args:
        prediction: Estimates, `(..., frames)`.
        target: Annotations, of the prediction's shape.
        mask: True where a frame counts, bool, broadcast to the prediction's shape; every frame counts by
            default. What stands in the other frames has no influence, even NaN.

    Returns:
        CCC, `(...)`, in [-1, 1] but for rounding; float32 at least, whatever the prediction's dtype.

    Raises:
        HeadError: Prediction and target differ in shape or have no frame, or the mask does not fit them.

    Example:
        >>> target = torch.tensor([0.0, 0.5, 1.0])
        >>> concordance_correlation_coefficient(target, target)
        tensor(1.)
    """
    if prediction.shape != target.shape or prediction.dim() == 0 or prediction.shape[-1] == 0:
        raise HeadError(
            "CCC: expected prediction and target of one shape (..., frames) with at least one frame, "
            f"got {tuple(prediction.shape)} and {tuple(target.shape)}"
        )
    return _concordance(_moments(prediction, target, _broadcast_mask(mask, prediction)))


def ccc_loss(
    prediction: Tensor,
    target: Tensor,
    label_mask: Tensor,
    over: CccScope = "batch",
    *,
    over_processes: bool = False,
) -> Tensor:
    """Loss of the paper (arXiv 2507.02080, eq. 5): 1 - CCC, summed over valence and arousal.

    Args:
        prediction: Valence and arousal, `(B, L, 2)`.
        target: Annotations, `(B, L, 2)`.
        label_mask: True where a frame is annotated, bool `(B, L)`.
        over: `batch` takes the moments over all annotated frames of the batch; `window` takes them per window
            and averages the loss over the windows that have an annotated frame.
        over_processes: The batch is made of those of all processes, which have to come here together. Each
            gets the loss of the whole batch; `tagf_head.distributed` says what becomes of the gradient.

    Returns:
        The loss, in [0, 4]; 0 with a gradient of 0 where no frame at all is annotated.

    Raises:
        HeadError: The shapes do not fit one another, or `over` is neither `batch` nor `window`.
    """
    if prediction.dim() != 3 or prediction.shape != target.shape or label_mask.shape != prediction.shape[:2]:
        raise HeadError(
            "ccc_loss: expected prediction and target (B, L, 2) and label_mask (B, L), "
            f"got {tuple(prediction.shape)}, {tuple(target.shape)} and {tuple(label_mask.shape)}"
        )
    if over == "batch":  # all windows become one row of B * L frames
        prediction, target, label_mask = (x.flatten(0, 1)[None] for x in (prediction, target, label_mask))
    elif over != "window":
        raise HeadError(f"ccc_loss: over must be 'batch' or 'window', got {over!r}")
    prediction, target = prediction.transpose(1, 2), target.transpose(1, 2)  # (B, 2, L)
    moments = _moments(prediction, target, _broadcast_mask(label_mask[:, None], prediction))  # (B, 2)
    if over_processes and over == "batch":
        moments = _moments_over_processes(moments)
    annotated = moments.num_frames[:, 0] > 0  # (B,)
    loss = (1 - _concordance(moments)).sum(dim=1).masked_fill(~annotated, 0)
    total = torch.stack([loss.sum(), annotated.sum().to(loss.dtype)])
    if over_processes and over == "window":
        total = sum_over_processes(total)
    return total[0] / total[1].clamp(min=1)


class _Moments(NamedTuple):
    """Moments of rows of frames, each `(...)`.

    Attributes:
        num_frames: Number of frames that count, in the moments' dtype.
        origin: An annotation of the row; means are taken about it, and 0 where no frame counts.
        prediction_mean: Mean of the predictions less the origin.
        target_mean: Mean of the annotations less the origin.
        prediction_square: Sum of the predictions' squared deviations from their mean.
        target_square: Sum of the annotations' squared deviations from their mean.
        product: Sum of the products of both deviations.
    """

    num_frames: Tensor
    origin: Tensor
    prediction_mean: Tensor
    target_mean: Tensor
    prediction_square: Tensor
    target_square: Tensor
    product: Tensor


def _moments(prediction: Tensor, target: Tensor, mask: Tensor) -> _Moments:
    """Moments over the last axis, in float32 at least."""
    dtype = torch.promote_types(torch.promote_types(prediction.dtype, target.dtype), torch.float32)
    prediction, target = prediction.to(dtype), target.to(dtype)
    # Moments are taken about one annotation of each row instead of about 0. A constant target then becomes
    # exactly zero. Otherwise its mean would be rounded, and that rounding, divided by a variance as small,
    # would be a gradient of up to 1e8.
    target = target.masked_fill(~mask, 0)
    first_valid = mask.to(torch.uint8).argmax(dim=-1, keepdim=True)
    origin = target.detach().gather(-1, first_valid)
    prediction = (prediction - origin).masked_fill(~mask, 0)
    target = (target - origin).masked_fill(~mask, 0)

    num_frames = mask.sum(dim=-1, keepdim=True).to(dtype)
    prediction_mean = prediction.sum(dim=-1, keepdim=True) / num_frames.clamp(min=1)
    target_mean = target.sum(dim=-1, keepdim=True) / num_frames.clamp(min=1)
    prediction_centred = (prediction - prediction_mean).masked_fill(~mask, 0)
    target_centred = (target - target_mean).masked_fill(~mask, 0)
    return _Moments(
        num_frames=num_frames.squeeze(-1),
        origin=origin.squeeze(-1),
        prediction_mean=prediction_mean.squeeze(-1),
        target_mean=target_mean.squeeze(-1),
        prediction_square=prediction_centred.square().sum(dim=-1),
        target_square=target_centred.square().sum(dim=-1),
        product=(prediction_centred * target_centred).sum(dim=-1),
    )


def _moments_over_processes(moments: _Moments) -> _Moments:
    """Moments of the frames of all processes from those of each (Chan, Golub and LeVeque, 1979)."""
    each = _Moments(*stack_over_processes(torch.stack(moments)).unbind(dim=1))  # (P, ...)
    # One origin for all, so that annotations that are constant over all processes are still exactly zero.
    first = (each.num_frames > 0).to(torch.uint8).argmax(dim=0, keepdim=True)
    origin = each.origin.gather(0, first)
    num_frames = each.num_frames.sum(dim=0)
    share = each.num_frames / num_frames.clamp(min=1)
    prediction_means = each.prediction_mean + (each.origin - origin)
    target_means = each.target_mean + (each.origin - origin)
    prediction_mean = (share * prediction_means).sum(dim=0)
    target_mean = (share * target_means).sum(dim=0)
    prediction_shift, target_shift = prediction_means - prediction_mean, target_means - target_mean
    return _Moments(
        num_frames=num_frames,
        origin=origin.squeeze(0),
        prediction_mean=prediction_mean,
        target_mean=target_mean,
        prediction_square=(each.prediction_square + each.num_frames * prediction_shift.square()).sum(dim=0),
        target_square=(each.target_square + each.num_frames * target_shift.square()).sum(dim=0),
        product=(each.product + each.num_frames * prediction_shift * target_shift).sum(dim=0),
    )


def _concordance(moments: _Moments) -> Tensor:
    """CCC `(...)` of rows of which these are the moments."""
    num_frames = moments.num_frames.clamp(min=1)
    covariance = moments.product / num_frames
    bias = moments.prediction_mean - moments.target_mean
    denominator = (moments.prediction_square + moments.target_square) / num_frames + bias.square()
    # Below the smallest normal number the reciprocal may overflow; the two agree there as far as the dtype
    # can tell.
    vanishes = denominator < torch.finfo(denominator.dtype).tiny
    perfect = (moments.num_frames > 0).to(denominator.dtype)
    return torch.where(vanishes, perfect, 2 * covariance / denominator.masked_fill(vanishes, 1))


def _broadcast_mask(mask: Tensor | None, like: Tensor) -> Tensor:
    """The mask in the shape of `like`."""
    if mask is None:
        return torch.ones_like(like, dtype=torch.bool)
    if mask.dtype is not torch.bool:
        raise HeadError(f"CCC: expected a bool mask, got {mask.dtype}; compare it first, e.g. mask > 0")
    try:
        return mask.expand(like.shape)
    except RuntimeError:
        raise HeadError(
            f"CCC: expected a mask that broadcasts to {tuple(like.shape)}, got {tuple(mask.shape)}"
        ) from None
