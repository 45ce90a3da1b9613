"""Time-aware gated fusion (TAGF, arXiv 2507.02080): the head that this project is about.

visual ─ encoder ─┬─ joint cross- ──── M candidates ─ gate ─┬─ regressors ─ valence, arousal
audio ── encoder ─┴─ attention, T × ── M candidates ─ gate ─┘
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tagf_head.config import HeadConfig
from tagf_head.errors import HeadError
from tagf_head.joint_cross_attention import JointCrossAttention
from tagf_head.regressor import Regressor
from tagf_head.stream_encoder import audio_encoder, visual_encoder
from tagf_head.temporal_gate import TemporalGate


@dataclass(frozen=True, kw_only=True)
class GatedPrediction:
    """A prediction together with what the gates chose; everything is zero in padding.

    Attributes:
        prediction: Valence and arousal, `(B, L, 2)`.
        visual_weights: Weight of each candidate in the visual gate, `(B, L, M)`, in the recursion's order.
        audio_weights: Likewise in the audio gate, `(B, L, M)`.
    """

    prediction: Tensor
    visual_weights: Tensor
    audio_weights: Tensor


class TagfHead(nn.Module):
    """TAGF: encoders, recursive joint cross-attention, one gate per modality, regressors.

    Args:
        config: The head's settings.

    Raises:
        HeadError: The settings leave the gates a single candidate.
    """

    def __init__(self, config: HeadConfig) -> None:
        super().__init__()
        if config.num_steps == 1 and not config.include_input:
            raise HeadError(
                "tagf: expected at least 2 candidates for the gates, got 1 (num_steps 1 without the input); "
                "set include_input to true or num_steps to 2"
            )
        self.include_input = config.include_input
        self.visual_encoder = visual_encoder(config)
        self.audio_encoder = audio_encoder(config)
        visual_features, audio_features = self.visual_encoder.num_features, self.audio_encoder.num_features
        self.attention = JointCrossAttention(
            visual_features,
            audio_features,
            num_steps=config.num_steps,
            share_steps=config.share_steps,
            dropout=config.attention_dropout,
            reference_length=config.reference_length,
        )
        self.visual_gate = TemporalGate(visual_features)
        self.audio_gate = TemporalGate(audio_features)
        self.regressor = Regressor(visual_features + audio_features, config.regressor_features)

    def forward(self, visual: Tensor, audio: Tensor, frame_mask: Tensor) -> Tensor:
        """Estimates valence and arousal of each frame.

        Args:
            visual: Visual embeddings, `(B, L, visual_features)`; a row of zeros where no face was found.
            audio: Audio embeddings, `(B, L, audio_features)`.
            frame_mask: False in padding, bool `(B, L)`.

        Returns:
            Valence and arousal, `(B, L, 2)` in [-1, 1], zero in padding.

        Raises:
            HeadError: Rows or mask have another shape.
        """
        return self.gated(visual, audio, frame_mask).prediction

    def gated(self, visual: Tensor, audio: Tensor, frame_mask: Tensor) -> GatedPrediction:
        """As `forward`, with the gates' weights."""
        visual_results, audio_results = self.attention(
            self.visual_encoder(visual, frame_mask), self.audio_encoder(audio, frame_mask), frame_mask
        )
        first = 0 if self.include_input else 1
        visual_candidates = torch.stack(visual_results[first:], dim=2)  # (B, L, M, D_v)
        audio_candidates = torch.stack(audio_results[first:], dim=2)  # (B, L, M, D_a)
        visual_fused, visual_weights = self.visual_gate(visual_candidates)
        audio_fused, audio_weights = self.audio_gate(audio_candidates)
        fused = torch.cat([visual_fused, audio_fused], dim=-1)  # (B, L, d)
        padding = ~frame_mask[..., None]
        return GatedPrediction(
            prediction=self.regressor(fused, frame_mask),
            visual_weights=visual_weights.masked_fill(padding, 0),
            audio_weights=audio_weights.masked_fill(padding, 0),
        )
