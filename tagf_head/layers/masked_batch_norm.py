"""Batch normalisation whose statistics leave out padding."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tagf_head.distributed import stack_over_processes


class MaskedBatchNorm(nn.Module):
    """Batch normalisation over channels whose statistics come from valid frames alone.

    With a mask that is true throughout it equals `torch.nn.BatchNorm1d`; otherwise it equals `BatchNorm1d` on
    the valid frames stacked. Frames are weighted, not selected: selecting them would wait for the device to
    count them.

    Statistics are taken and applied in the parameters' dtype, or the features' where that is wider: under
    autocast to bfloat16 the sums over thousands of frames stay in float32.

    Where `over_processes` is true, they are those of the valid frames of all processes, which then all have
    to come here together.

    A batch with one valid frame, or none, tells no variance: it leaves the running statistics as they are,
    and the one frame comes out as the bias.

    Args:
        num_features: Number of channels C.
        eps: Added to the variance.
        momentum: Share of a batch's statistics in the running ones.
    """

    running_mean: Tensor
    running_variance: Tensor
    over_processes: bool = False

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
            Normalised features, `(B, L, C)` in the parameters' dtype or a wider one, zero in padding.
        """
        features = features.to(torch.promote_types(features.dtype, self.weight.dtype))
        valid = frame_mask[..., None].to(features.dtype)  # (B, L, 1)
        if not self.training:
            scale = self.weight * torch.rsqrt(self.running_variance + self.eps)  # (C,)
            return torch.addcmul(self.bias - self.running_mean * scale, features, scale) * valid

        num_valid = valid.sum()  # in the features' dtype, since integers divide to float32
        mean = (features * valid).sum(dim=(0, 1)) / num_valid.clamp(min=1)  # (C,)
        centred = (features - mean) * valid  # (B, L, C)
        square = centred.square().sum(dim=(0, 1))  # (C,)
        if self.over_processes:
            num_valid, mean, square = _over_processes(num_valid, mean, square)
            centred = (features - mean) * valid
        variance = square / num_valid.clamp(min=1)  # (C,), of the population
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


def _over_processes(num_valid: Tensor, mean: Tensor, square: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Statistics over all processes from those of each (Chan, Golub and LeVeque, 1979).

    Args:
        num_valid: Number of valid frames, `()`.
        mean: `(C,)`.
        square: Sum of squared deviations from `mean`, `(C,)`.
    """
    channels = mean.shape[0]
    stacked = stack_over_processes(torch.cat([num_valid[None], mean, square]))  # (P, 1 + 2 * C)
    nums, means, squares = torch.split(stacked, [1, channels, channels], dim=1)
    num_valid = nums.sum()
    mean = (nums * means).sum(dim=0) / num_valid.clamp(min=1)
    square = (squares + nums * (means - mean).square()).sum(dim=0)
    return num_valid, mean, square
