"""Gated recursive joint cross-attention (GRJCA; arXiv 2503.12261, "United we stand, Divided we fall").

RJCA (`tagf_head.heads.rjca`) with a gate per modality m over its input and the result of every iteration.

    G_m = softmax(W_m H_m^(T) / 0.1)                   T + 1 weights
    F_m = ReLU(sum_t G_m,t H_m^(t)), t = 0 ... T       `tagf_head.layers.attention_gate`

No code is public, and this is a reading of the abstract, by which the gate controls "the flow of information
between the input features and the attended features of multiple iterations". The gate's form, what it is
scored by, the temperature and the ReLU are those of DCA by the same authors; what RJCA leaves open is as
there.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tagf_head.head_config import ResolvedHeadConfig
from tagf_head.heads.rjca import RjcaHead
from tagf_head.layers.attention_gate import AttentionGate
from tagf_head.layers.step_names import step_names


class GrjcaHead(RjcaHead):
    """RJCA with a gate over the recursion's input and all of its results.

    Args:
        config: The head's settings; `include_input` and those of TAGF's gate have no influence.
    """

    def __init__(self, config: ResolvedHeadConfig) -> None:
        super().__init__(config)
        steps = step_names(config.num_steps, include_input=True)
        self.visual_gate = AttentionGate(self.visual_encoder.num_features, len(steps))
        self.audio_gate = AttentionGate(self.audio_encoder.num_features, len(steps))
        self.gate_candidates = {"visual": steps, "audio": steps}

    def fuse(
        self, visual_results: Sequence[Tensor], audio_results: Sequence[Tensor], frame_mask: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """As `RjcaHead.fuse`; the gates see all results."""
        visual, visual_weights = self.visual_gate(visual_results)
        audio, audio_weights = self.audio_gate(audio_results)
        return torch.cat([visual, audio], dim=-1), {"visual": visual_weights, "audio": audio_weights}
