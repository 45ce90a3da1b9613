"""Baseline without attention: both streams' encoders, concatenated, and the regressors."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tagf_head.config import HeadConfig
from tagf_head.regressor import Regressor
from tagf_head.stream_encoder import audio_encoder, visual_encoder


class ConcatHead(nn.Module):
    """TAGF less cross-attention and gates.

    Args:
        config: The head's settings; those of attention have no influence.
    """

    def __init__(self, config: HeadConfig) -> None:
        super().__init__()
        self.visual_encoder = visual_encoder(config)
        self.audio_encoder = audio_encoder(config)
        joint_features = self.visual_encoder.num_features + self.audio_encoder.num_features
        self.regressor = Regressor(joint_features, config.regressor_features)

    def forward(self, visual: Tensor, audio: Tensor, frame_mask: Tensor) -> Tensor:
        """Estimates valence and arousal of each frame.

        Args:
            visual: Visual embeddings, `(B, L, visual_features)`.
            audio: Audio embeddings, `(B, L, audio_features)`.
            frame_mask: False in padding, bool `(B, L)`.

        Returns:
            Valence and arousal, `(B, L, 2)` in [-1, 1], zero in padding.
        """
        streams = [self.visual_encoder(visual, frame_mask), self.audio_encoder(audio, frame_mask)]
        prediction: Tensor = self.regressor(torch.cat(streams, dim=-1), frame_mask)
        return prediction
