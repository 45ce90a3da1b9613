"""Encoders of one stream of embeddings: what a head runs over face and voice before it fuses them.

`tcn`   l2 normalisation (arXiv 2507.02080, eq. 2), TCN, batch normalisation over channels, l2 normalisation:
        TAGF, and every head that is compared with it on equal terms; LFAN and CtyunAI do without the last
`lstm`  l2 normalisation and a bidirectional LSTM over time: RJCA and its successors
"""

from __future__ import annotations

from torch import Tensor, nn

from tagf_head.head_config import ResolvedHeadConfig
from tagf_head.layers.masked_batch_norm import MaskedBatchNorm
from tagf_head.layers.row_normalisation import normalize_rows
from tagf_head.layers.stream_input import stream_input
from tagf_head.layers.tcn import TemporalConvNet
from tagf_head.layers.temporal_lstm import TemporalLstm


class StreamEncoder(nn.Module):
    """l2 normalisation, TCN, batch normalisation and l2 normalisation.

    Args:
        name: The stream's name, `visual` or `audio`, for messages.
        in_features: Width of an embedding.
        channels: Channels of the TCN's levels; the last is the width D of the result.
        config: The head's settings, for those that the streams share.
        unit_length: Whether the last l2 normalisation is done.
    """

    def __init__(
        self,
        name: str,
        in_features: int,
        channels: tuple[int, ...],
        config: ResolvedHeadConfig,
        *,
        unit_length: bool = True,
    ) -> None:
        super().__init__()
        self.name = name
        self.unit_length = unit_length
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
            `(B, L, D)` in the parameters' dtype, zero in padding; with `unit_length` each valid row is of
            length 1.

        Raises:
            HeadError: Rows or mask have another shape, or the mask is not of dtype bool.
        """
        dtype = self.batch_norm.weight.dtype
        given = stream_input(rows, frame_mask, name=self.name, in_features=self.in_features, dtype=dtype)
        encoded: Tensor = self.batch_norm(self.tcn(given, frame_mask), frame_mask)
        return normalize_rows(encoded) if self.unit_length else encoded


class RecurrentStreamEncoder(nn.Module):
    """l2 normalisation and one layer of a bidirectional LSTM over time.

    Args:
        name: The stream's name, `visual` or `audio`, for messages.
        in_features: Width of an embedding.
        out_features: Width D of the result.
    """

    def __init__(self, name: str, in_features: int, out_features: int) -> None:
        super().__init__()
        self.name = name
        self.in_features = in_features
        self.num_features = out_features
        self.lstm = TemporalLstm(in_features, out_features)

    def forward(self, rows: Tensor, frame_mask: Tensor) -> Tensor:
        """As `StreamEncoder.forward`, but that valid rows are of any length."""
        dtype = next(self.lstm.parameters()).dtype
        given = stream_input(rows, frame_mask, name=self.name, in_features=self.in_features, dtype=dtype)
        encoded: Tensor = self.lstm(given, frame_mask)
        return encoded


def visual_encoder(
    config: ResolvedHeadConfig, *, unit_length: bool = True
) -> StreamEncoder | RecurrentStreamEncoder:
    """Encoder of the visual stream; its result is `visual_channels[-1]` or `recurrent_features` wide.

    Args:
        config: The head's settings.
        unit_length: Whether a TCN's rows are l2-normalised at the end.
    """
    return _encoder("visual", config.visual_features, config.visual_channels, config, unit_length)


def audio_encoder(
    config: ResolvedHeadConfig, *, unit_length: bool = True
) -> StreamEncoder | RecurrentStreamEncoder:
    """Encoder of the audio stream; its result is `audio_channels[-1]` or `recurrent_features` wide.

    Args:
        config: The head's settings.
        unit_length: Whether a TCN's rows are l2-normalised at the end.
    """
    return _encoder("audio", config.audio_features, config.audio_channels, config, unit_length)


def _encoder(
    name: str, in_features: int, channels: tuple[int, ...], config: ResolvedHeadConfig, unit_length: bool
) -> StreamEncoder | RecurrentStreamEncoder:
    if config.stream_encoder == "lstm":
        return RecurrentStreamEncoder(name, in_features, config.recurrent_features)
    return StreamEncoder(name, in_features, channels, config, unit_length=unit_length)
