"""torchvision's ResNet-50 without its classifier."""

from __future__ import annotations

from torch import nn
from torchvision.models.resnet import Bottleneck, ResNet

from pipeline.backbones.backbone import Backbone

# Five halvings: below 32 px the last map would be a part of a pixel.
SMALLEST_INPUT_PX = 32


class ResNet50(ResNet, Backbone):  # type: ignore[misc]  # torchvision is untyped
    """Faces (B, 3, S, S), pixels (x / 255 - 0.5) / 0.5, to the 2048 averages of the last maps, (B, 2048).

    The forward pass and the names of the tensors are torchvision's own. The features follow a ReLU, so none
    is negative.

    Args:
        input_size_px: Side S of the faces, at least 32.
    """

    takes = "faces"
    num_features = 2048

    def __init__(self, input_size_px: int = 40) -> None:
        if input_size_px < SMALLEST_INPUT_PX:
            raise ValueError(
                f"input_size_px of resnet50 must be at least {SMALLEST_INPUT_PX}, got {input_size_px}"
            )
        super().__init__(Bottleneck, [3, 4, 6, 3])
        self.fc = nn.Identity()
        self.input_shape = (3, input_size_px, input_size_px)
