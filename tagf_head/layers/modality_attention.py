"""Attention across the modalities of a frame (leader-follower attentive fusion, Zhang et al., ICCVW 2021)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tagf_head.layers.dropout import Dropout


class ModalityAttention(nn.Module):
    """Each modality of a frame is a token that attends to all of them, itself included.

        [q_m ; k_m ; v_m] = Linear_m(X_m)                               per head, A wide each
        O_m               = v_m + sum_n softmax_n(q_m . k_n / sqrt(A)) v_n
        follower          = LayerNorm(dropout(Linear([O_1 ; ... ; O_M])))   heads x A x M wide

    Nothing passes from frame to frame.

    Args:
        widths: Width D_m of each modality.
        num_heads: Attention heads.
        head_features: Width A of queries, keys and values of a head.
        dropout: Probability with which a value of the follower is dropped.
    """

    def __init__(self, widths: Sequence[int], *, num_heads: int, head_features: int, dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.head_features = head_features
        self.num_features = len(widths) * num_heads * head_features
        self.projections = nn.ModuleList(nn.Linear(width, 3 * num_heads * head_features) for width in widths)
        self.output = nn.Linear(self.num_features, self.num_features)
        self.dropout = Dropout(dropout)
        self.norm = nn.LayerNorm(self.num_features)

    def forward(self, modalities: Sequence[Tensor]) -> Tensor:
        """Fuses the modalities frame by frame.

        Args:
            modalities: X_1 ... X_M, each `(B, L, D_m)`.

        Returns:
            The follower, `(B, L, num_features)`.
        """
        tokens = torch.stack(
            [
                projection(x).unflatten(-1, (3, self.num_heads, self.head_features))
                for projection, x in zip(self.projections, modalities, strict=True)
            ],
            dim=-2,
        )  # (B, L, 3, heads, M, A)
        query, key, value = tokens.unbind(dim=2)  # (B, L, heads, M, A)
        scores = query @ key.transpose(-1, -2) / math.sqrt(self.head_features)  # (B, L, heads, M, M)
        attended = value + torch.softmax(scores, dim=-1) @ value
        by_modality = attended.transpose(2, 3).flatten(start_dim=2)  # (B, L, M x heads x A)
        follower: Tensor = self.norm(self.dropout(self.output(by_modality)))
        return follower
