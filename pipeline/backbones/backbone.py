"""What all backbones have in common."""

from __future__ import annotations

from typing import Literal, TypeAlias

from torch import nn

Takes: TypeAlias = Literal["faces", "log_mel", "waveform"]


class Backbone(nn.Module):
    """A frozen network that turns a batch of normalised inputs into a batch of raw embeddings.

    A backbone of your own is a subclass that states the three attributes on the class, is built with its
    `weights` setting as the only argument, and has a `forward` from (B, *input_shape) to (B, num_features),
    both float32. See docs/backbones.md.

    Attributes:
        takes: What its inputs are: `faces`, pixels (x / 255 - 0.5) / 0.5; `log_mel`, examples of 0.96 s;
            `waveform`, windows of 16 kHz mono sound.
        num_features: Features D per embedding.
        input_shape: Shape of one input: (3, side, side) for faces, (1, 96, 64) for log-mel, (samples,) for
            waveforms.
    """

    takes: Takes
    num_features: int
    input_shape: tuple[int, ...]
