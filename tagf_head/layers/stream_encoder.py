"""Encoder of one stream of embeddings: the part that all heads have in common.

Rows are l2-normalised (arXiv 2507.02080, eq. 2), run through a TCN, batch-normalised over channels and
l2-normalised again.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tagf_head.errors import HeadError
from tagf_head.head_config import ResolvedHeadConfig
from tagf_head.layers.masked_batch_norm import MaskedBatchNorm
from tagf_head.layers.row_normalisation import normalize_rows
from tagf_head.layers.tcn import TemporalConvNet


class StreamEncoder(nn.Module):
    """l2 normalisation, TCN, batch normalisation and l2 normalisation.

    Args:
        name: The stream's name, `visual` or `audio`, for messages.
        in_features: Width of an embedding.
        channels: Channels of the TCN's levels; the last is the width D of the result.
        config: The head's settings, for those that the streams share.
    """

    def __init__(
        self, name: str, in_features: int, channels: tuple[int, ...], config: ResolvedHeadConfig
    ) -> None:
        super().__init__()
        self.name = name
        self.in_features = in_features
        self.num_features = channels[-1]
        self.tcn = TemporalConvNet(
            in_features,
            channels,
            kernel_size=config.kernel_size,
            causal=config.causal,
            dropout=config.tcn_dropout,
        )
        self.batch_norm = MaskedBatchNorm(self.num_features)

    def forward(self, rows: Tensor, frame_mask: Tensor) -> Tensor:
        """Encodes the rows of a batch of windows.

        Args:
            rows: Embeddings of any floating dtype, `(B, L, in_features)`; what stands in padding has no
                influence, even NaN.
            frame_mask: False in padding, bool `(B, L)`.

        Returns:
            `(B, L, D)` in the parameters' dtype, each valid row of length 1, zero in padding.

        Raises:
            HeadError: Rows or mask have another shape, or the mask is not of dtype bool.
        """
        if rows.dim() != 3 or rows.shape[2] != self.in_features:
            raise HeadError(
                f"{self.name} rows: expected (windows, frames, {self.in_features}), got {tuple(rows.shape)}; "
                f"set the head's {self.name}_features to the store's width"
            )
        if frame_mask.shape != rows.shape[:2] or frame_mask.dtype is not torch.bool:
            raise HeadError(
                f"frame_mask: expected torch.bool {tuple(rows.shape[:2])}, as the {self.name} rows have, "
                f"got {frame_mask.dtype} {tuple(frame_mask.shape)}"
            )
        rows = rows.to(self.batch_norm.weight.dtype)  # the store's are float16
        rows = rows.masked_fill(~frame_mask[..., None], 0)
        features = self.tcn(normalize_rows(rows), frame_mask)
        return normalize_rows(self.batch_norm(features, frame_mask))


def visual_encoder(config: ResolvedHeadConfig) -> StreamEncoder:
    """Encoder of the visual stream; its result is `visual_channels[-1]` wide."""
    return StreamEncoder("visual", config.visual_features, config.visual_channels, config)


def audio_encoder(config: ResolvedHeadConfig) -> StreamEncoder:
    """Encoder of the audio stream; its result is `audio_channels[-1]` wide."""
    return StreamEncoder("audio", config.audio_features, config.audio_channels, config)
