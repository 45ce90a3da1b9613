"""Early fusion: both streams side by side, and one encoder over the frames.

visual ─ Linear ─┬─ transformer, or LSTM ─ regressor ─ valence, arousal
audio ── Linear ─┘

`transformer`       HFUT-MAC (Zhang et al., CVPRW 2023), whose "affine module" brings the streams to one
                    width, with sinusoidal positions
`situ_transformer`  Situ-RUCAIM3 (Meng et al., CVPRW 2022), without positions
`situ_lstm`         their other encoder
`fuxi_transformer`  Netease Fuxi (Zhang et al., CVPRW 2023), narrower

What the publications leave open, and what is chosen here: rows are l2-normalised first, as for every head
here, so what the linear maps give is multiplied by the square root of its width, as Vaswani et al. (2017,
section 3.4) do, or else positions would drown it; each stream has one half of the width; the regressors have
one hidden layer with ReLU and the encoder's dropout; the LSTM looks both ways, has one layer, and begins anew
with each window.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from tagf_head.head_config import ResolvedHeadConfig
from tagf_head.heads.head import Head, HeadOutput
from tagf_head.layers.dropout import Dropout
from tagf_head.layers.frame_transformer import FrameTransformer
from tagf_head.layers.mlp_regressor import MlpRegressor
from tagf_head.layers.stream_input import stream_input
from tagf_head.layers.temporal_lstm import TemporalLstm


class TransformerHead(Head):
    """A linear map per stream, a transformer or an LSTM over the frames of both together, and the regressors.

    Args:
        config: The head's settings.
    """

    def __init__(self, config: ResolvedHeadConfig) -> None:
        super().__init__()
        self.num_features = config.model_features
        width = config.model_features // 2
        self.visual_affine = nn.Linear(config.visual_features, width)
        self.audio_affine = nn.Linear(config.audio_features, width)
        self.encoder = _encoder(config)
        self.regressor = MlpRegressor(
            config.model_features,
            config.regressor_features,
            config.num_outputs,
            dropout=config.regressor_dropout,
        )

    def estimate(self, visual: Tensor, audio: Tensor, frame_mask: Tensor) -> HeadOutput:
        """As `Head.estimate`."""
        streams = []
        for name, rows, affine in (
            ("visual", visual, self.visual_affine),
            ("audio", audio, self.audio_affine),
        ):
            dtype = affine.weight.dtype
            given = stream_input(rows, frame_mask, name=name, in_features=affine.in_features, dtype=dtype)
            streams.append(affine(given))
        frames = math.sqrt(self.num_features) * torch.cat(streams, dim=-1)  # (B, L, D)
        features = self.encoder(frames, frame_mask)
        return HeadOutput(prediction=self.regressor(features), features=features)


class LstmEncoder(nn.Module):
    """Dropout and a bidirectional LSTM over the frames, in place of a transformer.

    Args:
        config: The head's settings.
    """

    def __init__(self, config: ResolvedHeadConfig) -> None:
        super().__init__()
        self.dropout = Dropout(config.sequence_dropout)
        self.lstm = TemporalLstm(
            config.model_features,
            config.model_features,
            num_layers=config.num_layers,
            dropout=config.sequence_dropout,
        )

    def forward(self, frames: Tensor, frame_mask: Tensor) -> Tensor:
        """As `FrameTransformer.forward`."""
        encoded: Tensor = self.lstm(self.dropout(frames), frame_mask)
        return encoded


def _encoder(config: ResolvedHeadConfig) -> FrameTransformer | LstmEncoder:
    if config.sequence_encoder == "lstm":
        return LstmEncoder(config)
    return FrameTransformer(
        config.model_features,
        num_layers=config.num_layers,
        num_heads=config.num_attention_heads,
        feedforward_features=config.feedforward_features,
        dropout=config.sequence_dropout,
        positions=config.positions,
    )
