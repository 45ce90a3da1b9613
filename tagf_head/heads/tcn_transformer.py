"""TCNs and a transformer encoder (CtyunAI; Zhou et al., CVPRW 2023).

visual ─ encoder ─┬─ Linear ─ transformer ─ regressor ─ valence, arousal
audio ── encoder ─┘

What the publication leaves open, and what is chosen here: a linear map takes the TCNs' results, whatever
their widths are, to the transformer's width; a batch normalisation follows the TCNs, as in the other heads;
there are no positions, since the TCNs tell frames' places apart (`positions` adds them); feed-forward layers
are as wide as torch makes them, 2048.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tagf_head.head_config import ResolvedHeadConfig
from tagf_head.heads.head import Head, HeadOutput
from tagf_head.layers.frame_transformer import FrameTransformer
from tagf_head.layers.regressor import Regressor
from tagf_head.layers.stream_encoder import audio_encoder, visual_encoder


class TcnTransformerHead(Head):
    """Encoders, a transformer over the frames of both together, and the regressors.

    Args:
        config: The head's settings.
    """

    def __init__(self, config: ResolvedHeadConfig) -> None:
        super().__init__()
        self.num_features = config.model_features
        self.visual_encoder = visual_encoder(config, unit_length=False)
        self.audio_encoder = audio_encoder(config, unit_length=False)
        self.fusion = nn.Linear(
            self.visual_encoder.num_features + self.audio_encoder.num_features, config.model_features
        )
        self.transformer = FrameTransformer(
            config.model_features,
            num_layers=config.num_layers,
            num_heads=config.num_attention_heads,
            feedforward_features=config.feedforward_features,
            dropout=config.sequence_dropout,
            positions=config.positions,
            shifted=False,
        )
        self.regressor = Regressor(config.model_features, config.regressor_features, config.num_outputs)

    def estimate(self, visual: Tensor, audio: Tensor, frame_mask: Tensor) -> HeadOutput:
        """As `Head.estimate`."""
        streams = [self.visual_encoder(visual, frame_mask), self.audio_encoder(audio, frame_mask)]
        features = self.transformer(self.fusion(torch.cat(streams, dim=-1)), frame_mask)  # (B, L, D)
        return HeadOutput(prediction=self.regressor(features, frame_mask), features=features)
