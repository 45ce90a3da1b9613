"""Inconsistency-aware cross-attention (IACA; arXiv 2405.12853), with gates in two stages.

The first stage chooses, for each modality m, between what attention across the modalities and what attention
within the modality alone makes of its features. The second weighs the two modalities, so that one that
is corrupted counts for less.

    H_m^(T), S_m^(T) = T steps of joint cross-attention and of self-attention from H_m^(0)
    G_m              = softmax(W_m H_m^(T) / 0.1)                      two weights
    F_m              = ReLU(G_m,0 S_m^(T) + G_m,1 H_m^(T))             `tagf_head.layers.attention_gate`
    g                = softmax(W [F_v ; F_a] / 0.1)                    two weights
    F                = [g_v F_v ; g_a F_a]

No code is public, and this is a reading of the abstract, which says no more than that there are two stages
and that they choose. Chosen here:

- Recursion, BiLSTMs over time and regressor are RJCA's (`tagf_head.heads.rjca`), so that the gates alone
  differ from the heads beside it.
- Self-attention is the same attention without the other modality (`tagf_head.layers.self_attention`), so that
  the first gate's candidates differ in that alone.
- Both gates have the form and the temperature of DCA's.
- Weighted modalities are concatenated, not added up: they may differ in width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tagf_head.head_config import ResolvedHeadConfig
from tagf_head.heads.rjca import RjcaHead
from tagf_head.layers.attention_gate import AttentionGate, CandidateWeights
from tagf_head.layers.self_attention import SelfAttention

_ATTENTIONS = ("self", "cross")
_MODALITIES = ("visual", "audio")


class IacaHead(RjcaHead):
    """RJCA beside self-attention, a gate per modality between the two, and a gate between the modalities.

    Args:
        config: The head's settings; `include_input` and those of TAGF's gate have no influence.
    """

    def __init__(self, config: ResolvedHeadConfig) -> None:
        super().__init__(config)
        visual_features, audio_features = self.visual_encoder.num_features, self.audio_encoder.num_features
        self.visual_self_attention, self.audio_self_attention = (
            SelfAttention(
                num_features,
                num_steps=config.num_steps,
                share_steps=config.share_steps,
                dropout=config.attention_dropout,
                reference_length=config.reference_length,
                mix_time=config.time_mixing == "learned",
            )
            for num_features in (visual_features, audio_features)
        )
        self.visual_gate = AttentionGate(visual_features, len(_ATTENTIONS))
        self.audio_gate = AttentionGate(audio_features, len(_ATTENTIONS))
        self.modality_weights = CandidateWeights(visual_features + audio_features, len(_MODALITIES))
        self.gate_candidates = {"visual": _ATTENTIONS, "audio": _ATTENTIONS, "modality": _MODALITIES}

    def fuse(
        self, visual_results: Sequence[Tensor], audio_results: Sequence[Tensor], frame_mask: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """As `RjcaHead.fuse`; of the recursion's results, H^(0) and H^(T) are used."""
        visual_self = self.visual_self_attention(visual_results[0], frame_mask)  # (B, L, D_v)
        audio_self = self.audio_self_attention(audio_results[0], frame_mask)  # (B, L, D_a)
        visual, visual_weights = self.visual_gate([visual_self, visual_results[-1]])
        audio, audio_weights = self.audio_gate([audio_self, audio_results[-1]])
        modality = self.modality_weights(torch.cat([visual, audio], dim=-1))  # (B, L, 2)
        fused = torch.cat([modality[..., :1] * visual, modality[..., 1:] * audio], dim=-1)  # (B, L, d)
        return fused, {"visual": visual_weights, "audio": audio_weights, "modality": modality}
