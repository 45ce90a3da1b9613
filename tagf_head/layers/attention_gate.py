"""Gate over features with and without attention, as in dynamic cross-attention (DCA) and its successors.

Unlike TAGF's gate (`tagf_head.layers.temporal_gate`) it scores all candidates by one linear map of the last,
the attended one; what the others hold has no say in their weights.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

#: Of the published gates: close to a choice of one candidate.
TEMPERATURE = 0.1


class CandidateWeights(nn.Module):
    """Weights of M candidates from features: softmax(W x / 0.1).

    Args:
        in_features: Width D of x.
        num_candidates: M.
    """

    def __init__(self, in_features: int, num_candidates: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, num_candidates, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Weights `(B, L, M)`, at least float32, which sum to 1 in each frame, of features `(B, L, D)`."""
        scores = self.linear(features) / TEMPERATURE
        return torch.softmax(scores, dim=-1, dtype=torch.promote_types(scores.dtype, torch.float32))


class AttentionGate(nn.Module):
    """Weighs the candidates of each frame by what attention made of it.

        G = softmax(W X_M / 0.1)                  X_M, the last candidate, is attended
        X = ReLU(sum_t G_t X_t)

    DCA (Praveen and Alam, ICME 2024) has it for two candidates, without a bias.

    Args:
        num_features: Width D of a candidate.
        num_candidates: M.
    """

    def __init__(self, num_features: int, num_candidates: int) -> None:
        super().__init__()
        self.weights = CandidateWeights(num_features, num_candidates)

    def forward(self, candidates: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Fuses the candidates frame by frame.

        Args:
            candidates: X_1 ... X_M, each `(B, L, D)`.

        Returns:
            X `(B, L, D)` and the weights G `(B, L, M)`, which sum to 1 in each frame.
        """
        weights = self.weights(candidates[-1])
        fused = weights[..., :1] * candidates[0]  # (B, L, D)
        for t in range(1, len(candidates)):
            fused = fused + weights[..., t : t + 1] * candidates[t]
        return torch.relu(fused), weights
