"""Regressors from fused features to valence and arousal, of the same form in every head."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tagf_head.masked_batch_norm import MaskedBatchNorm
from tagf_head.tcn import NEGATIVE_SLOPE


class TargetRegressor(nn.Module):
    """Linear, BatchNorm, LeakyReLU, Linear and tanh for one target.

    Args:
        in_features: Width D of the fused features.
        hidden_features: Width between the two linear maps.
    """

    def __init__(self, in_features: int, hidden_features: int) -> None:
        super().__init__()
        # No bias: the BatchNorm would subtract it again.
        self.hidden = nn.Linear(in_features, hidden_features, bias=False)
        self.batch_norm = MaskedBatchNorm(hidden_features)
        self.activation = nn.LeakyReLU(NEGATIVE_SLOPE)
        self.output = nn.Linear(hidden_features, 1)

    def forward(self, features: Tensor, frame_mask: Tensor) -> Tensor:
        """Estimates the target of each frame.

        Args:
            features: `(B, L, D)`.
            frame_mask: False in padding, bool `(B, L)`.

        Returns:
            `(B, L, 1)` in [-1, 1]; the values in padding mean nothing.
        """
        hidden = self.activation(self.batch_norm(self.hidden(features), frame_mask))
        return torch.tanh(self.output(hidden))


class Regressor(nn.Module):
    """Two regressors, since the paper models valence and arousal "as a separate regression target".

    Args:
        in_features: Width D of the fused features.
        hidden_features: Hidden width of each.
    """

    def __init__(self, in_features: int, hidden_features: int) -> None:
        super().__init__()
        self.valence = TargetRegressor(in_features, hidden_features)
        self.arousal = TargetRegressor(in_features, hidden_features)

    def forward(self, features: Tensor, frame_mask: Tensor) -> Tensor:
        """Estimates valence and arousal of each frame.

        Args:
            features: `(B, L, D)`; padding must be finite, and has no influence on a valid frame.
            frame_mask: False in padding, bool `(B, L)`.

        Returns:
            Valence and arousal, `(B, L, 2)` in [-1, 1], zero in padding.
        """
        targets = [self.valence(features, frame_mask), self.arousal(features, frame_mask)]
        return torch.cat(targets, dim=-1).masked_fill(~frame_mask[..., None], 0)
