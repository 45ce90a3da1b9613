"""Joint cross-attention with nothing to join: what one modality's own correlation brings out.

Beside `tagf_head.layers.joint_cross_attention`, from which it differs in J alone, it shows what the other
modality adds.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from tagf_head.layers.dropout import Dropout
from tagf_head.layers.time_mixing import TimeMixing


class SelfAttentionStep(nn.Module):
    """One recursion step of one modality, which sees nothing of the other.

        J = Linear(X)                                              L x D
        K = X, or a linear map of X over time                      L x D
        C = dropout(tanh(K^T J / sqrt(D)))                         D x D
        U = ReLU(tanh(Linear(X) C))                                L x D
        X <- X + dropout(ReLU(Linear(U)))                          L x D

    The sum over time in K^T J is taken and scaled as in `JointCrossAttentionStep`.

    Args:
        num_features: D.
        dropout: Probability with which a value of C and of the update is dropped.
        reference_length: Number of frames to which the sum over time is scaled; with `mix_time`, of every
            window.
        mix_time: Whether K is a learned map of X over time.
    """

    def __init__(self, num_features: int, *, dropout: float, reference_length: int, mix_time: bool) -> None:
        super().__init__()
        self.scale = reference_length / math.sqrt(num_features)
        self.joint = nn.Linear(num_features, num_features)
        self.mixing = TimeMixing(reference_length) if mix_time else None
        self.query = nn.Linear(num_features, num_features)
        self.update = nn.Linear(num_features, num_features)
        self.dropout = Dropout(dropout)

    def forward(self, features: Tensor, frame_mask: Tensor) -> Tensor:
        """Applies the step.

        Args:
            features: X, `(B, L, D)`; padding must be finite, and has no influence on a valid frame.
            frame_mask: False in padding, bool `(B, L)`.

        Returns:
            The updated X; the values in padding mean nothing.

        Raises:
            HeadError: With `mix_time`, the windows have another length.
        """
        valid = frame_mask[..., None].to(features.dtype)  # (B, L, 1)
        num_valid = valid.sum(dim=1, keepdim=True).clamp(min=1)  # (B, 1, 1)
        joint = self.joint(features) * (valid * (self.scale / num_valid))  # (B, L, D)
        keys = features if self.mixing is None else self.mixing(features * valid)
        correlation = self.dropout(torch.tanh(keys.transpose(1, 2) @ joint))  # (B, D, D)
        attended = torch.relu(torch.tanh(self.query(features) @ correlation))  # (B, L, D)
        updated: Tensor = features + self.dropout(torch.relu(self.update(attended)))
        return updated


class SelfAttention(nn.Module):
    """T recursion steps.

    Args:
        num_features: D.
        num_steps: T.
        share_steps: Whether all steps have the same weights.
        dropout: As for `SelfAttentionStep`.
        reference_length: As for `SelfAttentionStep`.
        mix_time: As for `SelfAttentionStep`.
    """

    def __init__(
        self,
        num_features: int,
        *,
        num_steps: int,
        share_steps: bool,
        dropout: float,
        reference_length: int,
        mix_time: bool,
    ) -> None:
        super().__init__()
        self.num_steps = num_steps
        self.steps = nn.ModuleList(
            SelfAttentionStep(
                num_features, dropout=dropout, reference_length=reference_length, mix_time=mix_time
            )
            for _ in range(1 if share_steps else num_steps)
        )

    def forward(self, features: Tensor, frame_mask: Tensor) -> Tensor:
        """Applies all steps to X `(B, L, D)`, as `SelfAttentionStep.forward` does one."""
        for t in range(self.num_steps):
            features = self.steps[t % len(self.steps)](features, frame_mask)
        return features
