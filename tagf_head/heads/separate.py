"""Two whole heads, one for valence and one for arousal, as the released code of TAGF trains them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from tagf_head.head_config import HALVES, ResolvedHeadConfig
from tagf_head.heads.head import Head, HeadOutput


class SeparateHeads(Head):
    """A head of its own for each target; they share nothing but their input.

    Args:
        build: Makes a head from its settings.
        config: Settings of both, with `targets: separate`.
    """

    def __init__(self, build: Callable[[ResolvedHeadConfig], Head], config: ResolvedHeadConfig) -> None:
        super().__init__()
        self.valence, self.arousal = (build(replace(config, targets=target)) for target in HALVES)
        self.num_features = self.valence.num_features + self.arousal.num_features
        self.gate_candidates = {
            f"{target}_{gate}": candidates
            for target, half in zip(HALVES, (self.valence, self.arousal), strict=True)
            for gate, candidates in half.gate_candidates.items()
        }

    def estimate(self, visual: Tensor, audio: Tensor, frame_mask: Tensor) -> HeadOutput:
        """Both heads' estimates side by side; their gates' names begin with the target."""
        halves = [half.estimate(visual, audio, frame_mask) for half in (self.valence, self.arousal)]
        return HeadOutput(
            prediction=torch.cat([half.prediction for half in halves], dim=-1),
            features=torch.cat([half.features for half in halves], dim=-1),
            gates={
                f"{target}_{gate}": weights
                for target, half in zip(HALVES, halves, strict=True)
                for gate, weights in half.gates.items()
            },
        )
