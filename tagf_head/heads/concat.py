"""Baseline without attention: both streams' encoders, concatenated, and the regressors."""

from __future__ import annotations

import torch
from torch import Tensor

from tagf_head.head_config import ResolvedHeadConfig
from tagf_head.heads.head import Head
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
        joint_features = self.visual_encoder.num_features + self.audio_encoder.num_features
        self.regressor = Regressor(joint_features, config.regressor_features, config.num_outputs)

    def estimate(self, visual: Tensor, audio: Tensor, frame_mask: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """As `Head.estimate`, without gates."""
        streams = [self.visual_encoder(visual, frame_mask), self.audio_encoder(audio, frame_mask)]
        return self.regressor(torch.cat(streams, dim=-1), frame_mask), {}
