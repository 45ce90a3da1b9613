"""Bidirectional LSTM over the frames of a window, for any mask.

The valid frames of a window are moved to its front, and, for the way back, turned round. Then `torch.nn.LSTM`
meets padding only behind the frames that count, so that padding has no influence, wherever it lies, and
nothing has to be copied from an accelerator to count frames (as packing sequences needs).

    frames          a  b  -  c  -          - is padding
    forwards        a  b  c  -  -
    backwards       c  b  a  -  -
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tagf_head.layers.dropout import Dropout


class TemporalLstm(nn.Module):
    """Layers of a bidirectional LSTM over time.

    Args:
        in_features: Width D of a row.
        out_features: Width of the result, one half of it from each direction; even.
        num_layers: Number of layers; each reads both directions of the one before.
        dropout: Probability with which a value between two layers is dropped.
    """

    def __init__(
        self, in_features: int, out_features: int, *, num_layers: int = 1, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.num_features = out_features
        widths = [in_features, *[out_features] * (num_layers - 1)]
        self.forwards = nn.ModuleList(nn.LSTM(width, out_features // 2, batch_first=True) for width in widths)
        self.backwards = nn.ModuleList(
            nn.LSTM(width, out_features // 2, batch_first=True) for width in widths
        )
        self.dropout = Dropout(dropout)

    def forward(self, rows: Tensor, frame_mask: Tensor) -> Tensor:
        """Runs over the valid frames of each window in both directions.

        Args:
            rows: `(B, L, D)`; padding must be finite, and has no influence on a valid frame.
            frame_mask: False in padding, bool `(B, L)`.

        Returns:
            `(B, L, out_features)`, zero in padding.
        """
        order = torch.argsort((~frame_mask).to(torch.uint8), dim=1, stable=True)  # (B, L), valid frames first
        place = torch.arange(frame_mask.shape[1], device=rows.device)  # (L,)
        num_valid = frame_mask.sum(dim=1, keepdim=True)  # (B, 1)
        turned = torch.where(place < num_valid, num_valid - 1 - place, place)  # (B, L), its own inverse
        features = _take(rows, order)
        for index, (forwards, backwards) in enumerate(zip(self.forwards, self.backwards, strict=True)):
            if index:
                features = self.dropout(features)
            ahead, _ = forwards(features)
            back, _ = backwards(_take(features, turned))
            features = torch.cat([ahead, _take(back, turned)], dim=-1)
        restored = _take(features, torch.argsort(order, dim=1))
        return restored.masked_fill(~frame_mask[..., None], 0)


def _take(rows: Tensor, index: Tensor) -> Tensor:
    """`(B, L, D)` rows of each window at `(B, L)` places."""
    return rows.gather(1, index[..., None].expand(-1, -1, rows.shape[2]))
