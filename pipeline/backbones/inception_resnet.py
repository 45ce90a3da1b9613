"""facenet-pytorch's Inception-ResNet-v1, up to its embedding."""

from __future__ import annotations

from facenet_pytorch import InceptionResnetV1
from torch import nn

from pipeline.backbones.backbone import Backbone

# Unpadded convolutions of the stem and three halvings after it leave nothing of a smaller picture.
SMALLEST_INPUT_PX = 75


class InceptionResnet(InceptionResnetV1, Backbone):  # type: ignore[misc]  # facenet-pytorch is untyped
    """Faces (B, 3, S, S), pixels (x / 255 - 0.5) / 0.5, to raw embeddings (B, 512).

    The names of the tensors are facenet-pytorch's own. Nothing is downloaded.

    Args:
        input_size_px: Side S of the faces, at least 75; the public weights were trained on 160.
    """

    takes = "faces"
    num_features = 512

    def __init__(self, input_size_px: int = 160) -> None:
        if input_size_px < SMALLEST_INPUT_PX:
            raise ValueError(
                f"input_size_px of inception_resnet_v1 must be at least {SMALLEST_INPUT_PX}, "
                f"got {input_size_px}"
            )
        super().__init__(pretrained=None)
        # The parent's forward pass ends in an l2-normalisation, unless it is asked for class scores: a
        # classifier that does nothing gives the raw embedding.
        self.classify = True
        self.logits = nn.Identity()
        self.input_shape = (3, input_size_px, input_size_px)
