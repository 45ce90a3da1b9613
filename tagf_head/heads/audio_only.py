"""Baseline that hears the voice alone."""

from __future__ import annotations

from torch import Tensor

from tagf_head.head_config import ResolvedHeadConfig
from tagf_head.heads.head import Head, HeadOutput
from tagf_head.layers.regressor import Regressor
from tagf_head.layers.stream_encoder import audio_encoder


class AudioOnlyHead(Head):
    """The audio encoder and the regressors.

    Args:
        config: The head's settings; those of vision, attention and gates have no influence.
    """

    def __init__(self, config: ResolvedHeadConfig) -> None:
        super().__init__()
        self.encoder = audio_encoder(config)
        self.num_features = self.encoder.num_features
        self.regressor = Regressor(self.num_features, config.regressor_features, config.num_outputs)

    def estimate(self, visual: Tensor, audio: Tensor, frame_mask: Tensor) -> HeadOutput:
        """As `Head.estimate`; `visual` is not looked at."""
        features = self.encoder(audio, frame_mask)
        return HeadOutput(prediction=self.regressor(features, frame_mask), features=features)
