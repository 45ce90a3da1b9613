"""Regressor from fused features to valence and arousal, of the same form in every head."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tagf_head.layers.masked_batch_norm import MaskedBatchNorm
from tagf_head.layers.tcn import NEGATIVE_SLOPE


class Regressor(nn.Module):
    """Linear, BatchNorm, LeakyReLU, Linear and tanh for each target, which share nothing.

    The paper models valence and arousal "as a separate regression target". Their hidden layers lie side by
    side in one linear map and one BatchNorm, which treats each channel alone.

    Args:
        in_features: Width D of the fused features.
        hidden_features: Hidden width H of each target.
        num_outputs: Number of targets.
    """

    def __init__(self, in_features: int, hidden_features: int, num_outputs: int) -> None:
        super().__init__()
        # No bias: the BatchNorm would subtract it again.
        self.hidden = nn.Linear(in_features, num_outputs * hidden_features, bias=False)
        self.batch_norm = MaskedBatchNorm(num_outputs * hidden_features)
        self.output = nn.Linear(hidden_features, num_outputs)  # row k sees the hidden units of target k alone

    def forward(self, features: Tensor, frame_mask: Tensor) -> Tensor:
        """Estimates the targets of each frame.

        Args:
            features: `(B, L, D)`; padding must be finite, and has no influence on a valid frame.
            frame_mask: False in padding, bool `(B, L)`.

        Returns:
            `(B, L, num_outputs)` in [-1, 1]; the values in padding mean nothing.
        """
        hidden = F.leaky_relu(self.batch_norm(self.hidden(features), frame_mask), NEGATIVE_SLOPE)
        weight = self.output.weight
        by_target = hidden.reshape(*hidden.shape[:2], *weight.shape)  # (B, L, num_outputs, H)
        return torch.tanh((by_target * weight).sum(dim=-1) + self.output.bias)
