"""Bidirectional LSTM over the few candidates of a gate (arXiv 2507.02080, eq. 6).

`torch.nn.LSTM` computes the same. It also multiplies the first state, which is zero, by its weights, and lets
a first cell of zeros be forgotten: with three candidates that is a fifth of the work, which is left out here.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class BidirectionalLstm(nn.Module):
    """One LSTM from the first candidate to the last, and one from the last to the first.

    Args:
        num_features: Width D of a candidate, and of the state of each direction.
        learned_start: Whether hidden state and cell start from learned values instead of zeros.
    """

    def __init__(self, num_features: int, *, learned_start: bool) -> None:
        super().__init__()
        self.forwards = DirectedLstm(num_features, learned_start=learned_start)
        self.backwards = DirectedLstm(num_features, learned_start=learned_start)

    def forward(self, candidates: Sequence[Tensor]) -> list[Tensor]:
        """Runs over the candidates in both directions.

        Args:
            candidates: H_1 ... H_M, each `(B, L, D)`; every frame is a sequence of its own.

        Returns:
            g_1 ... g_M, each `(B, L, 2 * D)`: the state on the way forwards, then that on the way back.
        """
        forwards = self.forwards(candidates)
        backwards = self.backwards(candidates[::-1])[::-1]
        return [torch.cat(pair, dim=-1) for pair in zip(forwards, backwards, strict=True)]


class DirectedLstm(nn.Module):
    """LSTM over a sequence of candidates in the order given.

        (i, f, c', o) = input(x_t) + recurrent(h_(t-1))
        c_t = sigmoid(f) c_(t-1) + sigmoid(i) tanh(c')
        h_t = sigmoid(o) tanh(c_t)

    Args:
        num_features: Width D of x_t, h_t and c_t.
        learned_start: Whether h_0 and c_0 are learned, starting from zero, instead of zero.
    """

    def __init__(self, num_features: int, *, learned_start: bool) -> None:
        super().__init__()
        # Rows in the order i, f, c', o, as in torch.nn.LSTM, and drawn from the same distribution.
        self.input = nn.Linear(num_features, 4 * num_features)
        self.recurrent = nn.Linear(num_features, 4 * num_features, bias=False)
        self.learned_start = learned_start
        if learned_start:
            self.first_hidden = nn.Parameter(torch.zeros(num_features))
            self.first_cell = nn.Parameter(torch.zeros(num_features))

    def forward(self, sequence: Sequence[Tensor]) -> list[Tensor]:
        """h_1 ... h_M, each `(B, L, D)`, of x_1 ... x_M, each `(B, L, D)`."""
        hidden, cell = self._first(sequence[0])
        states = [hidden]
        for features in sequence[1:]:
            gates = self.input(features) + self.recurrent(hidden)  # (B, L, 4 * D)
            hidden, cell = _next_state(gates, cell)
            states.append(hidden)
        return states

    def _first(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """h_1 and c_1."""
        if self.learned_start:
            return _next_state(self.input(features) + self.recurrent(self.first_hidden), self.first_cell)
        inward, new, outward = F.linear(
            features, _without_forget(self.input.weight), _without_forget(self.input.bias)
        ).chunk(3, dim=-1)
        cell = torch.sigmoid(inward) * torch.tanh(new)
        return torch.sigmoid(outward) * torch.tanh(cell), cell


def _next_state(gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """h_t `(..., D)` and c_t `(..., D)` from the gates `(..., 4 * D)` and c_(t-1)."""
    inward, forget, new, outward = gates.chunk(4, dim=-1)
    cell = torch.addcmul(torch.sigmoid(inward) * torch.tanh(new), torch.sigmoid(forget), cell)
    return torch.sigmoid(outward) * torch.tanh(cell), cell


def _without_forget(rows: Tensor) -> Tensor:
    """The rows of i, c' and o."""
    inward, _, new, outward = rows.chunk(4)
    return torch.cat([inward, new, outward])
