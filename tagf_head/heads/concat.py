"""Baseline without attention: both streams' encoders, concatenated, and the regressors."""

from __future__ import annotations

import torch
from torch import Tensor

from tagf_head.head_config import ResolvedHeadConfig
from tagf_head.heads.head import Head, HeadOutput
from tagf_head.layers.regressor import Regressor
from tagf_head.layers.stream_encoder import audio_encoder, visual_encoder


class ConcatHead(Head):
    """TAGF less cross-attention and gates.

    Args:
        config: The head's settings; those of attention and gates have no influence.
    """

    def __init__(self, config: ResolvedHeadConfig) -> None:
        super().__init__()
        self.visual_encoder = visual_encoder(config)
        self.audio_encoder = audio_encoder(config)
        self.num_features = self.visual_encoder.num_features + self.audio_encoder.num_features
        self.regressor = Regressor(self.num_features, config.regressor_features, config.num_outputs)

    def estimate(self, visual: Tensor, audio: Tensor, frame_mask: Tensor) -> HeadOutput:
        """As `Head.estimate`."""
        streams = [self.visual_encoder(visual, frame_mask), self.audio_encoder(audio, frame_mask)]
        features = torch.cat(streams, dim=-1)  # (B, L, d)
        return HeadOutput(prediction=self.regressor(features, frame_mask), features=features)
