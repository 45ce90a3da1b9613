"""Joint cross-attention (JCA; Praveen et al., CVPRW 2022, arXiv 2203.14779).

visual ─ encoder ─┬─ joint cross- ─┬─ regressor ─ valence, arousal
audio ── encoder ─┴─ attention ────┘

Equations: `tagf_head.layers.jca_attention`. Published are the attention, once and not recursive, and k = 32.
Left open, and chosen here:

- Encoders and regressor, which come with the authors' backbones: those of TAGF, so that a comparison with it
  and with `concat` shows what this attention does.
- Three of the maps run over time and fix the number of frames. By default one is left out and two run over
  features instead; `time_mixing: learned` has all as published, for windows of `reference_length` frames.
- Dropout (`attention_dropout`) lies on correlations and on what is added, as in TAGF.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tagf_head.head_config import ResolvedHeadConfig
from tagf_head.heads.head import Head, HeadOutput
from tagf_head.layers.jca_attention import JcaAttention
from tagf_head.layers.regressor import Regressor
from tagf_head.layers.stream_encoder import audio_encoder, visual_encoder


class JcaHead(Head):
    """Encoders, joint cross-attention once, regressor.

    Args:
        config: The head's settings; those of recursion and gates have no influence.
    """

    def __init__(self, config: ResolvedHeadConfig) -> None:
        super().__init__()
        self.visual_encoder = visual_encoder(config)
        self.audio_encoder = audio_encoder(config)
        visual_features, audio_features = self.visual_encoder.num_features, self.audio_encoder.num_features
        self.attention = JcaAttention(
            visual_features,
            audio_features,
            attended_features=config.attended_features,
            dropout=config.attention_dropout,
            reference_length=config.reference_length,
            mix_time=config.time_mixing == "learned",
        )
        self.num_features = visual_features + audio_features
        self.regressor = Regressor(self.num_features, config.regressor_features, config.num_outputs)

    def estimate(self, visual: Tensor, audio: Tensor, frame_mask: Tensor) -> HeadOutput:
        """As `Head.estimate`."""
        attended = self.attention(
            self.visual_encoder(visual, frame_mask), self.audio_encoder(audio, frame_mask), frame_mask
        )
        features = torch.cat(attended, dim=-1)  # (B, L, d)
        return HeadOutput(prediction=self.regressor(features, frame_mask), features=features)
