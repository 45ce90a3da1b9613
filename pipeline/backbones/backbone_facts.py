"""What is known of a backbone without building it. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class BackboneFacts:
    """What a backbone takes and gives.

    Attributes:
        takes: What its inputs are; `clip` for a stream that is made from whole clips.
        num_features: Features per embedding.
        input_shape: Shape of one input, at the usual input size: (channels, height, width), or (samples,);
            empty for whole clips.
        extra_heads: Prefixes of the tensors that public checkpoints carry on top of the backbone.
    """

    takes: Literal["faces", "log_mel", "waveform", "clip"]
    num_features: int
    input_shape: tuple[int, ...]
    extra_heads: tuple[str, ...] = ()
