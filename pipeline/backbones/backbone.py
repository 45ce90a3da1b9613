"""What all backbones have in common."""

from __future__ import annotations

from torch import nn


class Backbone(nn.Module):
    """A frozen network that turns a batch of normalised inputs into a batch of raw embeddings.

    Attributes:
        num_features: Features per embedding.
        input_shape: Shape of one input, (channels, height, width); for sounds (1, log-mel rows, mel bands).
    """

    num_features: int
    input_shape: tuple[int, int, int]
