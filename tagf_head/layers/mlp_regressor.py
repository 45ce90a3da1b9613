"""Regressor of RJCA and its successors: narrow, without batch normalisation, with much dropout."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tagf_head.layers.dropout import Dropout


class MlpRegressor(nn.Module):
    """Linear, ReLU, dropout, Linear and tanh for each target, which share nothing.

    RJCA (Praveen et al., ICASSP 2023) has 512 -> 128 -> 1. Tanh is added here: labels lie in [-1, 1], and the
    estimates of every head are to.

    Args:
        in_features: Width D of the features.
        hidden_features: Hidden width H of each target.
        num_outputs: Number of targets.
        dropout: Probability with which a hidden value is dropped.
    """

    def __init__(self, in_features: int, hidden_features: int, num_outputs: int, *, dropout: float) -> None:
        super().__init__()
        self.hidden = nn.Linear(in_features, num_outputs * hidden_features)
        self.dropout = Dropout(dropout)
        self.output = nn.Linear(hidden_features, num_outputs)  # row k sees the hidden units of target k alone

    def forward(self, features: Tensor) -> Tensor:
        """Estimates the targets of each frame, `(B, L, num_outputs)` in [-1, 1], of features `(B, L, D)`."""
        hidden = self.dropout(torch.relu(self.hidden(features)))
        weight = self.output.weight
        by_target = hidden.reshape(*hidden.shape[:2], *weight.shape)  # (B, L, num_outputs, H)
        return torch.tanh((by_target * weight).sum(dim=-1) + self.output.bias)
