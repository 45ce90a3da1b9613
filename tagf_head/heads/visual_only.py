"""Baseline that sees the face alone."""

from __future__ import annotations

from torch import Tensor, nn

from tagf_head.config import HeadConfig
from tagf_head.regressor import Regressor
from tagf_head.stream_encoder import visual_encoder


class VisualOnlyHead(nn.Module):
    """The visual encoder and the regressors.

    Args:
        config: The head's settings; those of audio and of attention have no influence.
    """

    def __init__(self, config: HeadConfig) -> None:
        super().__init__()
        self.encoder = visual_encoder(config)
        self.regressor = Regressor(self.encoder.num_features, config.regressor_features)

    def forward(self, visual: Tensor, audio: Tensor, frame_mask: Tensor) -> Tensor:
        """Estimates valence and arousal of each frame.

        Args:
            visual: Visual embeddings, `(B, L, visual_features)`.
            audio: Not looked at; an argument because all heads are called alike.
            frame_mask: False in padding, bool `(B, L)`.

        Returns:
            Valence and arousal, `(B, L, 2)` in [-1, 1], zero in padding.
        """
        prediction: Tensor = self.regressor(self.encoder(visual, frame_mask), frame_mask)
        return prediction
