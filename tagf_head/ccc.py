"""Concordance correlation coefficient (CCC) and the loss made of it, for torch tensors.

    CCC = 2 cov(p, t) / (var(p) + var(t) + (mean(p) - mean(t))**2)

All moments are those of the population (divided by n), so that a perfect prediction scores exactly 1. Mixing
them with the sample's (n - 1) would cap it at (n - 1) / n.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tagf_head.config import CccScope
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
        CCC, `(...)`, in [-1, 1] but for rounding.

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
    mask = _broadcast_mask(mask, prediction)

    # Moments are taken about one annotation of each row instead of about 0. A constant target then becomes
    # exactly zero. Otherwise its mean would be rounded, and that rounding, divided by a variance as small,
    # would be a gradient of up to 1e8.
    target = target.masked_fill(~mask, 0)
    first_valid = mask.to(torch.uint8).argmax(dim=-1, keepdim=True)
    origin = target.detach().gather(-1, first_valid)
    prediction = (prediction - origin).masked_fill(~mask, 0)
    target = (target - origin).masked_fill(~mask, 0)

    num_valid = mask.sum(dim=-1, keepdim=True)
    num_frames = num_valid.clamp(min=1)
    prediction_mean = prediction.sum(dim=-1, keepdim=True) / num_frames
    target_mean = target.sum(dim=-1, keepdim=True) / num_frames
    prediction_centred = (prediction - prediction_mean).masked_fill(~mask, 0)
    target_centred = (target - target_mean).masked_fill(~mask, 0)

    num_frames = num_frames.squeeze(-1)
    covariance = (prediction_centred * target_centred).sum(dim=-1) / num_frames
    prediction_variance = prediction_centred.square().sum(dim=-1) / num_frames
    target_variance = target_centred.square().sum(dim=-1) / num_frames
    bias = (prediction_mean - target_mean).squeeze(-1)
    denominator = prediction_variance + target_variance + bias.square()

    # Below the smallest normal number the reciprocal may overflow; the two agree there as far as the dtype
    # can tell.
    vanishes = denominator < torch.finfo(denominator.dtype).tiny
    perfect = (num_valid.squeeze(-1) > 0).to(denominator.dtype)
    return torch.where(vanishes, perfect, 2 * covariance / denominator.masked_fill(vanishes, 1))


def ccc_loss(prediction: Tensor, target: Tensor, label_mask: Tensor, over: CccScope = "batch") -> Tensor:
    """Loss of the paper (arXiv 2507.02080, eq. 5): 1 - CCC, summed over valence and arousal.

    Args:
        prediction: Valence and arousal, `(B, L, 2)`.
        target: Annotations, `(B, L, 2)`.
        label_mask: True where a frame is annotated, bool `(B, L)`.
        over: `batch` takes the moments over all annotated frames of the batch; `window` takes them per window
            and averages the loss over the windows that have an annotated frame.

    Returns:
        The loss, in [0, 4]; 0 with a gradient of 0 where no frame at all is annotated.

    Raises:
        HeadError: The shapes do not fit one another, or `over` is neither `batch` nor `window`.
    """
    if prediction.dim() != 3 or label_mask.shape != prediction.shape[:2]:
        raise HeadError(
            "ccc_loss: expected prediction (B, L, 2) and label_mask (B, L), "
            f"got {tuple(prediction.shape)} and {tuple(label_mask.shape)}"
        )
    if over == "batch":  # all windows become one row of B * L frames
        prediction, target, label_mask = (x.flatten(0, 1)[None] for x in (prediction, target, label_mask))
    elif over != "window":
        raise HeadError(f"ccc_loss: over must be 'batch' or 'window', got {over!r}")
    ccc = concordance_correlation_coefficient(
        prediction.transpose(1, 2), target.transpose(1, 2), label_mask[:, None]
    )  # (B, 2)
    annotated = label_mask.any(dim=1)  # (B,)
    loss = (1 - ccc).sum(dim=1).masked_fill(~annotated, 0)
    return loss.sum() / annotated.sum().clamp(min=1)


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
