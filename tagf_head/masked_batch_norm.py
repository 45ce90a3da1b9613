"""Batch normalisation whose statistics leave out padding."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class MaskedBatchNorm(nn.Module):
    """Batch normalisation over channels whose statistics come from valid frames alone.

    With a mask that is true throughout it equals `torch.nn.BatchNorm1d`; otherwise it equals `BatchNorm1d` on
    the valid frames stacked. Frames are weighted, not selected: selecting them would wait for the device to
    count them.

    A batch with one valid frame, or none, tells no variance: it leaves the running statistics as they are,
    and the one frame comes out as the bias.

    Args:
        num_features: Number of channels C.
        eps: Added to the variance.
        momentum: Share of a batch's statistics in the running ones.
    """

    running_mean: Tensor
    running_variance: Tensor

    def __init__(self, num_features: int, *, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.eps = eps
        self.momentum = momentum
        self.weight = nn.Parameter(torch.ones(num_features))
        self.bias = nn.Parameter(torch.zeros(num_features))
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_variance", torch.ones(num_features))

    def forward(self, features: Tensor, frame_mask: Tensor) -> Tensor:
        """Normalises over all valid frames of the batch in training, with the running statistics otherwise.

        Args:
            features: `(B, L, C)`; padding must be finite, and has no influence on a valid frame.
            frame_mask: False in padding, bool `(B, L)`.

        Returns:
            Normalised features, `(B, L, C)`, zero in padding.
        """
        valid = frame_mask[..., None].to(features.dtype)  # (B, L, 1)
        if not self.training:
            scale = self.weight * torch.rsqrt(self.running_variance + self.eps)  # (C,)
            return torch.addcmul(self.bias - self.running_mean * scale, features, scale) * valid

        num_valid = valid.sum()  # in the features' dtype, since integers divide to float32
        num_frames = num_valid.clamp(min=1)
        mean = (features * valid).sum(dim=(0, 1)) / num_frames  # (C,)
        centred = (features - mean) * valid  # (B, L, C)
        variance = centred.square().sum(dim=(0, 1)) / num_frames  # (C,), of the population
        self._update_running_statistics(mean.detach(), variance.detach(), num_valid)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return torch.addcmul(self.bias, centred, scale) * valid

    @torch.no_grad()
    def _update_running_statistics(self, mean: Tensor, variance: Tensor, num_valid: Tensor) -> None:
        """Moves the running statistics towards a batch's, with the variance of the sample as torch does."""
        momentum = self.momentum * (num_valid > 1).to(mean.dtype)
        sample_variance = variance * (num_valid / (num_valid - 1).clamp(min=1))
        self.running_mean += momentum * (mean - self.running_mean)
        self.running_variance += momentum * (sample_variance - self.running_variance)
