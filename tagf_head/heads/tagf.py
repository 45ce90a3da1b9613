"""Time-aware gated fusion (TAGF, arXiv 2507.02080): the head that this project is about.

visual ─ encoder ─┬─ joint cross- ──── M candidates ─ gate ─┬─ regressor ─ valence, arousal
audio ── encoder ─┴─ attention, T × ── M candidates ─ gate ─┘
"""

from __future__ import annotations

import torch
from torch import Tensor

from tagf_head.head_config import ResolvedHeadConfig
from tagf_head.heads.head import Head
from tagf_head.layers.joint_cross_attention import JointCrossAttention
from tagf_head.layers.regressor import Regressor
from tagf_head.layers.stream_encoder import audio_encoder, visual_encoder
from tagf_head.layers.temporal_gate import TemporalGate


class TagfHead(Head):
    """TAGF: encoders, recursive joint cross-attention, one gate per modality, regressor.

    Args:
        config: The head's settings.
    """

    gate_names = ("visual", "audio")

    def __init__(self, config: ResolvedHeadConfig) -> None:
        super().__init__()
        self.first_candidate = 0 if config.include_input else 1
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
            mix_time=config.time_mixing == "learned",
        )
        self.visual_gate = TemporalGate(visual_features, score=config.score, dropout=config.gate_dropout)
        self.audio_gate = TemporalGate(audio_features, score=config.score, dropout=config.gate_dropout)
        self.regressor = Regressor(
            visual_features + audio_features, config.regressor_features, config.num_outputs
        )

    def estimate(self, visual: Tensor, audio: Tensor, frame_mask: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """As `Head.estimate`; each gate has M = T + 1 candidates, or T where the input is not among them."""
        visual_results, audio_results = self.attention(
            self.visual_encoder(visual, frame_mask), self.audio_encoder(audio, frame_mask), frame_mask
        )  # H^(0) ... H^(T), each (B, L, D_v) and (B, L, D_a)
        visual_fused, visual_weights = self.visual_gate(visual_results[self.first_candidate :])
        audio_fused, audio_weights = self.audio_gate(audio_results[self.first_candidate :])
        fused = torch.cat([visual_fused, audio_fused], dim=-1)  # (B, L, d)
        return self.regressor(fused, frame_mask), {"visual": visual_weights, "audio": audio_weights}
