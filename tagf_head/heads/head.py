"""What all heads have in common: how they are called, and that padding stays zero."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, overload

from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class HeadOutput:
    """What a head says of some windows.

    Attributes:
        prediction: Valence and arousal, `(B, L, 2)` in [-1, 1]; `(B, L, 1)` of a head for one target.
        features: What the head's regressor reads, `(B, L, D)`.
        deviation: Predicted standard deviation of the error of each target, of the prediction's shape; None
            for a head that was not made with `uncertainty`.
        gates: Gate's name -> weight of each of its candidates in the order of `Head.gate_candidates`, alpha
            `(B, L, M)`, which sums to 1 in each valid frame; empty for a head without gates.
    """

    prediction: Tensor
    features: Tensor
    deviation: Tensor | None = None
    gates: Mapping[str, Tensor] = field(default_factory=dict)


class Head(nn.Module, ABC):
    """Estimates valence and arousal of each frame from the embeddings of face and voice.

    A head implements `estimate`, and says in `num_features` how wide its `HeadOutput.features` are.

    Attributes:
        num_features: Width D of what its regressor reads.
        gate_candidates: Gate's name -> names of what it chooses among, in the order of their weights; empty
            for a head without gates.
    """

    num_features: int
    gate_candidates: Mapping[str, tuple[str, ...]]

    def __init__(self) -> None:
        super().__init__()
        self.gate_candidates = {}

    @overload
    def forward(
        self, visual: Tensor, audio: Tensor, frame_mask: Tensor, *, return_all: Literal[False] = False
    ) -> Tensor: ...

    @overload
    def forward(
        self, visual: Tensor, audio: Tensor, frame_mask: Tensor, *, return_all: Literal[True]
    ) -> HeadOutput: ...

    def forward(
        self, visual: Tensor, audio: Tensor, frame_mask: Tensor, *, return_all: bool = False
    ) -> Tensor | HeadOutput:
        """Estimates valence and arousal of each frame.

        Args:
            visual: Visual embeddings of any floating dtype, `(B, L, visual_features)`; a row of zeros where
                no face was found. What stands in padding has no influence, even NaN.
            audio: Audio embeddings, `(B, L, audio_features)`, likewise.
            frame_mask: False in padding, bool `(B, L)`. A window may be padding altogether.
            return_all: Whether everything else that the head knows is wanted too.

        Returns:
            Valence and arousal, `(B, L, 2)` in [-1, 1], or all of `HeadOutput`; zero in padding.

        Raises:
            HeadError: Rows or mask have another shape than the head was made for.
        """
        found = self.estimate(visual, audio, frame_mask)
        padding = ~frame_mask[..., None]
        prediction = found.prediction.masked_fill(padding, 0)
        if not return_all:
            return prediction
        return replace(
            found,
            prediction=prediction,
            features=found.features.masked_fill(padding, 0),
            deviation=None if found.deviation is None else found.deviation.masked_fill(padding, 0),
            gates={name: weights.masked_fill(padding, 0) for name, weights in found.gates.items()},
        )

    @abstractmethod
    def estimate(self, visual: Tensor, audio: Tensor, frame_mask: Tensor) -> HeadOutput:
        """Estimates the head's targets.

        Args:
            visual: As for `forward`.
            audio: As for `forward`.
            frame_mask: As for `forward`.

        Returns:
            What the head says; the values in padding mean nothing.
        """
