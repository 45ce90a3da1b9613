"""What all heads have in common: how they are called, and that padding stays zero."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, overload

from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class GatedPrediction:
    """A prediction together with what the gates chose; everything is zero in padding.

    Attributes:
        prediction: Valence and arousal, `(B, L, 2)`.
        gates: Gate's name -> weight of each of its candidates in the recursion's order, alpha `(B, L, M)`,
            which sums to 1 in each valid frame; empty for a head without gates.
    """

    prediction: Tensor
    gates: Mapping[str, Tensor]


class Head(nn.Module, ABC):
    """Estimates valence and arousal of each frame from the embeddings of face and voice.

    A head implements `estimate`.

    Attributes:
        gate_names: Names of its gates, in the order of `GatedPrediction.gates`.
    """

    gate_names: tuple[str, ...] = ()

    @overload
    def forward(
        self, visual: Tensor, audio: Tensor, frame_mask: Tensor, *, return_gates: Literal[False] = False
    ) -> Tensor: ...

    @overload
    def forward(
        self, visual: Tensor, audio: Tensor, frame_mask: Tensor, *, return_gates: Literal[True]
    ) -> GatedPrediction: ...

    def forward(
        self, visual: Tensor, audio: Tensor, frame_mask: Tensor, *, return_gates: bool = False
    ) -> Tensor | GatedPrediction:
        """Estimates valence and arousal of each frame.

        Args:
            visual: Visual embeddings of any floating dtype, `(B, L, visual_features)`; a row of zeros where
                no face was found. What stands in padding has no influence, even NaN.
            audio: Audio embeddings, `(B, L, audio_features)`, likewise.
            frame_mask: False in padding, bool `(B, L)`. A window may be padding altogether.
            return_gates: Whether the gates' weights are wanted too.

        Returns:
            Valence and arousal, `(B, L, 2)` in [-1, 1], zero in padding; with the gates' weights on request.

        Raises:
            HeadError: Rows or mask have another shape than the head was made for.
        """
        prediction, gates = self.estimate(visual, audio, frame_mask)
        padding = ~frame_mask[..., None]
        prediction = prediction.masked_fill(padding, 0)
        if not return_gates:
            return prediction
        return GatedPrediction(
            prediction=prediction,
            gates={name: weights.masked_fill(padding, 0) for name, weights in gates.items()},
        )

    @abstractmethod
    def estimate(self, visual: Tensor, audio: Tensor, frame_mask: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Estimates the head's targets.

        Args:
            visual: As for `forward`.
            audio: As for `forward`.
            frame_mask: As for `forward`.

        Returns:
            The targets, `(B, L, 2)`, or `(B, L, 1)` of a head for one target, and the weights of each gate
            in `gate_names`, `(B, L, M)`; the values in padding mean nothing.
        """
