"""Leader-follower attentive fusion (LFAN; Zhang et al., ICCVW 2021, and their ABAW3 report).

visual ─ encoder ─┬────────── leader ─────────────┬─ Linear, tanh ─ valence, arousal
audio ── encoder ─┴─ attention across ─ follower ─┘
                     the modalities

The face leads. What the publication leaves open, and what is chosen here: it has more streams, of which the
two of the store are taken; rows are l2-normalised before the TCNs, as for every head here, and
batch-normalised after them, as there; the linear map at the end estimates both targets at once.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tagf_head.head_config import ResolvedHeadConfig
from tagf_head.heads.head import Head, HeadOutput
from tagf_head.layers.modality_attention import ModalityAttention
from tagf_head.layers.stream_encoder import audio_encoder, visual_encoder


class LfanHead(Head):
    """Encoders, attention across the two modalities of each frame, and a linear map.

    Args:
        config: The head's settings.
    """

    def __init__(self, config: ResolvedHeadConfig) -> None:
        super().__init__()
        self.visual_encoder = visual_encoder(config, unit_length=False)
        self.audio_encoder = audio_encoder(config, unit_length=False)
        self.attention = ModalityAttention(
            [self.visual_encoder.num_features, self.audio_encoder.num_features],
            num_heads=config.num_attention_heads,
            head_features=config.attention_features,
            dropout=config.sequence_dropout,
        )
        self.num_features = self.visual_encoder.num_features + self.attention.num_features
        self.regressor = nn.Linear(self.num_features, config.num_outputs)

    def estimate(self, visual: Tensor, audio: Tensor, frame_mask: Tensor) -> HeadOutput:
        """As `Head.estimate`."""
        leader = self.visual_encoder(visual, frame_mask)  # (B, L, D_v)
        follower = self.attention([leader, self.audio_encoder(audio, frame_mask)])
        features = torch.cat([leader, follower], dim=-1)
        # Under autocast the linear map's result is less precise than the weights are.
        prediction = torch.tanh(self.regressor(features).to(self.regressor.weight.dtype))
        return HeadOutput(prediction=prediction, features=features)
