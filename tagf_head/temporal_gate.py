"""Time-aware gate over the recursion's results (arXiv 2507.02080, eqs 6-8).

"Time" is the recursion here: the gate's LSTM runs over the M candidates of one frame, never from frame to
frame.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class TemporalGate(nn.Module):
    """Weighs the candidates of each frame and fuses them.

        g_1 ... g_M = BiLSTM(H^(1) ... H^(M))          eq. 6, per frame
        alpha_t     = softmax_t(w^T g_t)               eq. 7
        F           = sum_t alpha_t H^(t)              eq. 8

    Args:
        num_features: Width D of a candidate, and of the LSTM's state per direction.
    """

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(num_features, num_features, batch_first=True, bidirectional=True)
        # No bias: the same number on every score leaves the softmax as it is.
        self.score = nn.Linear(2 * num_features, 1, bias=False)

    def forward(self, candidates: Tensor) -> tuple[Tensor, Tensor]:
        """Fuses the candidates frame by frame.

        Args:
            candidates: H^(t) in the recursion's order, `(B, L, M, D)`.

        Returns:
            F `(B, L, D)` and the weights alpha `(B, L, M)`, which sum to 1 in each frame.
        """
        states, _ = self.lstm(candidates.flatten(0, 1))  # (B * L, M, 2 * D)
        scores = self.score(states).reshape(candidates.shape[:3])  # (B, L, M)
        weights = torch.softmax(scores, dim=-1)
        fused = (weights[..., None] * candidates).sum(dim=2)  # (B, L, D)
        return fused, weights
