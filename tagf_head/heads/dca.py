"""Dynamic cross-attention (DCA; Praveen and Alam, "Cross-Attention Is Not Always Needed", ICME 2024).

RJCA (`tagf_head.heads.rjca`) whose features may go round the attention: where the modalities complement each
other weakly, a gate per modality m lets the unattended features through.

    G_m = softmax(W_m H_m^(T) / 0.1)                   two weights
    F_m = ReLU(G_m,0 H_m^(0) + G_m,1 H_m^(T))          `tagf_head.layers.attention_gate`

Published with T = 2. Left open, and chosen here: the gated features go where RJCA's attended ones go, into
the BiLSTM over both streams; what RJCA leaves open is as there.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tagf_head.head_config import ResolvedHeadConfig
from tagf_head.heads.rjca import RjcaHead
from tagf_head.layers.attention_gate import AttentionGate

#: What DCA's gate chooses among.
CANDIDATES = ("unattended", "attended")


class DcaHead(RjcaHead):
    """RJCA with a gate between unattended and attended features.

    Args:
        config: The head's settings; `include_input` and those of TAGF's gate have no influence.
    """

    def __init__(self, config: ResolvedHeadConfig) -> None:
        super().__init__(config)
        self.visual_gate = AttentionGate(self.visual_encoder.num_features, len(CANDIDATES))
        self.audio_gate = AttentionGate(self.audio_encoder.num_features, len(CANDIDATES))
        self.gate_candidates = {"visual": CANDIDATES, "audio": CANDIDATES}

    def fuse(
        self, visual_results: Sequence[Tensor], audio_results: Sequence[Tensor], frame_mask: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """As `RjcaHead.fuse`; of the results, the gates see H^(0) and H^(T)."""
        visual, visual_weights = self.visual_gate([visual_results[0], visual_results[-1]])
        audio, audio_weights = self.audio_gate([audio_results[0], audio_results[-1]])
        return torch.cat([visual, audio], dim=-1), {"visual": visual_weights, "audio": audio_weights}
