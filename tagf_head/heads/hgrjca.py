"""Hierarchical gated recursive joint cross-attention (HGRJCA; arXiv 2503.12261, as GRJCA).

RJCA (`tagf_head.heads.rjca`) with gates on two levels for each modality m: one at every iteration t, and one
across what those let through.

    G_m^(t) = softmax(W_m^(t) H_m^(t) / 0.1)                           two weights, t = 1 ... T
    F_m^(t) = ReLU(G_m,0^(t) H_m^(0) + G_m,1^(t) H_m^(t))              as in DCA
    G_m     = softmax(W_m F_m^(T) / 0.1)                               T weights
    F_m     = ReLU(sum_t G_m,t F_m^(t))                                `tagf_head.layers.attention_gate`

No code is public, and this is a reading of the abstract: "a gating mechanism at every iteration, followed by
high-level gating across the gated outputs of each iteration". Left open there, and chosen here:

- What an iteration's gate weighs against its result is the recursion's input, the only features that are not
  attended, rather than the iteration's own input.
- The recursion itself goes on with what is not gated, as in GRJCA.
- The form of both levels is that of DCA's gate; what RJCA leaves open is as there.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tagf_head.errors import HeadError
from tagf_head.head_config import ResolvedHeadConfig
from tagf_head.heads.dca import CANDIDATES
from tagf_head.heads.rjca import RjcaHead
from tagf_head.layers.attention_gate import AttentionGate
from tagf_head.layers.step_names import step_names


class HgrjcaHead(RjcaHead):
    """RJCA with a gate at every iteration, and a gate across their results.

    Args:
        config: The head's settings; `include_input` and those of TAGF's gate have no influence.

    Raises:
        HeadError: There is one iteration only, and nothing to gate across.
    """

    def __init__(self, config: ResolvedHeadConfig) -> None:
        super().__init__(config)
        if config.num_steps < 2:
            raise HeadError(
                f"head 'hgrjca': expected num_steps of at least 2, whose gated results it weighs, got "
                f"{config.num_steps}; set num_steps to 2, or take head 'dca', which has one gate"
            )
        self.visual_gates = HierarchicalGate(self.visual_encoder.num_features, config.num_steps)
        self.audio_gates = HierarchicalGate(self.audio_encoder.num_features, config.num_steps)
        steps = step_names(config.num_steps, include_input=False)
        self.gate_candidates = {
            name: candidates
            for modality in ("visual", "audio")
            for name, candidates in {
                **{f"{modality}_{step}": CANDIDATES for step in steps},
                modality: steps,
            }.items()
        }

    def fuse(
        self, visual_results: Sequence[Tensor], audio_results: Sequence[Tensor], frame_mask: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """As `RjcaHead.fuse`; gates `visual_H1` ... at the iterations, `visual` across them."""
        visual, visual_weights = self.visual_gates(visual_results)
        audio, audio_weights = self.audio_gates(audio_results)
        weights = [*visual_weights, *audio_weights]
        return torch.cat([visual, audio], dim=-1), dict(zip(self.gate_candidates, weights, strict=True))


class HierarchicalGate(nn.Module):
    """The gates of one modality.

    Args:
        num_features: Width D of a candidate.
        num_steps: T.
    """

    def __init__(self, num_features: int, num_steps: int) -> None:
        super().__init__()
        self.steps = nn.ModuleList(AttentionGate(num_features, len(CANDIDATES)) for _ in range(num_steps))
        self.across = AttentionGate(num_features, num_steps)

    def forward(self, results: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Fuses the recursion's results frame by frame.

        Args:
            results: H^(0) ... H^(T), each `(B, L, D)`.

        Returns:
            F `(B, L, D)`, and the weights of the gates at the iterations, `(B, L, 2)`, and across them,
            `(B, L, T)`.
        """
        gated = [gate([results[0], result]) for gate, result in zip(self.steps, results[1:], strict=True)]
        fused, weights = self.across([features for features, _ in gated])
        return fused, [*(each for _, each in gated), weights]
