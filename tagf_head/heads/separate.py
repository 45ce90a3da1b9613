"""Two whole heads, one for valence and one for arousal, as the released code of TAGF trains them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from tagf_head.head_config import HALVES, ResolvedHeadConfig
from tagf_head.heads.head import Head


class SeparateHeads(Head):
    """A head of its own for each target; they share nothing but their input.

    Args:
        build: Makes a head from its settings.
        config: Settings of both, with `targets: separate`.
    """

    def __init__(self, build: Callable[[ResolvedHeadConfig], Head], config: ResolvedHeadConfig) -> None:
        super().__init__()
        self.valence, self.arousal = (build(replace(config, targets=target)) for target in HALVES)
        self.gate_names = tuple(f"{target}_{gate}" for target in HALVES for gate in self.valence.gate_names)

    def estimate(self, visual: Tensor, audio: Tensor, frame_mask: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Both heads' estimates side by side; their gates' names begin with the target."""
        valence, valence_gates = self.valence.estimate(visual, audio, frame_mask)
        arousal, arousal_gates = self.arousal.estimate(visual, audio, frame_mask)
        weights = (*valence_gates.values(), *arousal_gates.values())
        return torch.cat([valence, arousal], dim=-1), dict(zip(self.gate_names, weights, strict=True))
