"""Time-aware gate over the recursion's results (arXiv 2507.02080, eqs 6-8).

"Time" is the recursion here: the gate's LSTM runs over the M candidates of one frame, never from frame to
frame.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tagf_head.head_config import GateScore
from tagf_head.layers.bidirectional_lstm import BidirectionalLstm
from tagf_head.layers.dropout import Dropout
from tagf_head.layers.row_normalisation import normalize_rows

#: Of the released code's score.
TEMPERATURE = 0.1


class TemporalGate(nn.Module):
    """Weighs the candidates of each frame and fuses them.

        g_1 ... g_M = BiLSTM(H_1 ... H_M)              eq. 6, per frame
        alpha_t     = softmax_t(score(H_t, g_t))       eq. 7
        F           = sum_t alpha_t H_t                eq. 8

    H_1 ... H_M are the candidates in the recursion's order, whether or not its input is among them.

    Args:
        num_features: Width D of a candidate, and of the LSTM's state per direction.
        score: Eq. 7's score, or the released code's, with which the LSTM's first states are learned.
        dropout: Probability with which the released code's score drops a value.
    """

    def __init__(self, num_features: int, *, score: GateScore, dropout: float) -> None:
        super().__init__()
        self.lstm = BidirectionalLstm(num_features, learned_start=score == "channel_mean")
        self.score = (
            LearnedScore(num_features)
            if score == "learned"
            else ChannelMeanScore(num_features, dropout=dropout)
        )

    def forward(self, candidates: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Fuses the candidates frame by frame.

        Args:
            candidates: H_1 ... H_M, each `(B, L, D)`.

        Returns:
            F `(B, L, D)` and the weights alpha `(B, L, M)`, which sum to 1 in each frame.
        """
        states = self.lstm(candidates)
        scores = [self.score(h, g) for h, g in zip(candidates, states, strict=True)]
        stacked = torch.stack(scores, dim=-1)  # (B, L, M)
        at_least_float32 = torch.promote_types(stacked.dtype, torch.float32)  # under autocast too
        weights = torch.softmax(stacked, dim=-1, dtype=at_least_float32)
        fused = weights[..., :1] * candidates[0]  # (B, L, D)
        for t in range(1, len(candidates)):
            fused = torch.addcmul(fused, weights[..., t : t + 1], candidates[t])
        return fused, weights


class LearnedScore(nn.Module):
    """Score of eq. 7: w^T g_t.

    Args:
        num_features: Width D of a candidate; g_t is 2 * D wide.
    """

    def __init__(self, num_features: int) -> None:
        super().__init__()
        # No bias: the same number on every score leaves the softmax as it is.
        self.linear = nn.Linear(2 * num_features, 1, bias=False)

    def forward(self, candidate: Tensor, state: Tensor) -> Tensor:
        """Scores one candidate of each frame.

        Args:
            candidate: H_t; only the other score looks at it.
            state: g_t, `(B, L, 2 * D)`.

        Returns:
            `(B, L)`.
        """
        score: Tensor = self.linear(state).squeeze(-1)
        return score


class ChannelMeanScore(nn.Module):
    """Score of the released code: mean over channels of a unit vector, divided by a temperature of 0.1.

        z_t   = Linear_{3D -> 2D}(dropout([H_t ; g_t]))
        score = mean(z_t / |z_t|) / 0.1

    The mean of a unit vector of 2 D channels lies within 1 / sqrt(2 D) of zero, so that the softmax stays
    near equal weights: with D = 256 and three candidates each lies within 0.17 and 0.55.

    Args:
        num_features: Width D of a candidate.
        dropout: Probability with which a value is dropped.
    """

    def __init__(self, num_features: int, *, dropout: float) -> None:
        super().__init__()
        self.dropout = Dropout(dropout)
        self.linear = nn.Linear(3 * num_features, 2 * num_features)

    def forward(self, candidate: Tensor, state: Tensor) -> Tensor:
        """Scores one candidate of each frame.

        Args:
            candidate: H_t, `(B, L, D)`.
            state: g_t, `(B, L, 2 * D)`.

        Returns:
            `(B, L)`.
        """
        joint = self.dropout(torch.cat([candidate, state], dim=-1))  # (B, L, 3 * D)
        return normalize_rows(self.linear(joint)).mean(dim=-1) / TEMPERATURE
