"""Time-aware gated fusion (TAGF, arXiv 2507.02080): the head that this project is about.

visual ─ encoder ─┬─ joint cross- ──── M candidates ─ gate ─┬─ regressor ─ valence, arousal
audio ── encoder ─┴─ attention, T × ── M candidates ─ gate ─┘
"""

from __future__ import annotations

import torch
from torch import Tensor

from tagf_head.head_config import ResolvedHeadConfig
from tagf_head.heads.head import Head, HeadOutput
from tagf_head.layers.joint_cross_attention import joint_cross_attention
from tagf_head.layers.regressor import Regressor
from tagf_head.layers.step_names import step_names
from tagf_head.layers.stream_encoder import audio_encoder, visual_encoder
from tagf_head.layers.temporal_gate import TemporalGate


class TagfHead(Head):
    """TAGF: encoders, recursive joint cross-attention, one gate per modality, regressor.

    With `fusion` `mean` the candidates' mean stands in place of what a gate fuses, with `last` the last
    recursion step's result H^(T): the comparison with these shows what the gate is worth.

    Args:
        config: The head's settings.
    """

    def __init__(self, config: ResolvedHeadConfig) -> None:
        super().__init__()
        self.first_candidate = 0 if config.include_input else 1
        self.visual_encoder = visual_encoder(config)
        self.audio_encoder = audio_encoder(config)
        visual_features, audio_features = self.visual_encoder.num_features, self.audio_encoder.num_features
        self.attention = joint_cross_attention(visual_features, audio_features, config)
        self.fusion = config.fusion
        if config.fusion == "gate":
            self.visual_gate = TemporalGate(visual_features, score=config.score, dropout=config.gate_dropout)
            self.audio_gate = TemporalGate(audio_features, score=config.score, dropout=config.gate_dropout)
            steps = step_names(config.num_steps, include_input=config.include_input)
            self.gate_candidates = {"visual": steps, "audio": steps}
        self.num_features = visual_features + audio_features
        self.regressor = Regressor(self.num_features, config.regressor_features, config.num_outputs)

    def estimate(self, visual: Tensor, audio: Tensor, frame_mask: Tensor) -> HeadOutput:
        """As `Head.estimate`; each gate has M = T + 1 candidates, or T where the input is not among them."""
        visual_results, audio_results = self.attention(
            self.visual_encoder(visual, frame_mask), self.audio_encoder(audio, frame_mask), frame_mask
        )  # H^(0) ... H^(T), each (B, L, D_v) and (B, L, D_a)
        visual_results = visual_results[self.first_candidate :]
        audio_results = audio_results[self.first_candidate :]
        gates: dict[str, Tensor] = {}
        if self.fusion == "gate":
            visual_fused, gates["visual"] = self.visual_gate(visual_results)
            audio_fused, gates["audio"] = self.audio_gate(audio_results)
        elif self.fusion == "mean":
            visual_fused, audio_fused = (
                torch.stack(each).mean(dim=0) for each in (visual_results, audio_results)
            )
        else:
            visual_fused, audio_fused = visual_results[-1], audio_results[-1]
        fused = torch.cat([visual_fused, audio_fused], dim=-1)  # (B, L, d)
        return HeadOutput(prediction=self.regressor(fused, frame_mask), features=fused, gates=gates)
