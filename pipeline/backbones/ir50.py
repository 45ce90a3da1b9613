"""IR-50: the improved-residual ResNet-50 of the face-recognition literature.

Tensor names are those of the public checkpoints: `input_layer.*`, `body.N.{shortcut_layer,res_layer}.*`,
`output_layer.*`. Dropout and flattening carry no tensors, yet keep their places in `output_layer`, which
numbers the others.

Shapes: B faces in a batch, C channels, S side of a map in pixels.
"""

from __future__ import annotations

import torch
from torch import nn

from pipeline.backbones.backbone import Backbone

# (channels, blocks) of each stage.
STAGES = ((64, 3), (128, 4), (256, 14), (512, 3))
# Side of the input in pixels -> stride of the first stage; the other stages halve the map.
# 40 -> 40 -> 20 -> 10 -> 5 is for small aligned faces, 112 -> 56 -> 28 -> 14 -> 7 for face recognition.
FIRST_STRIDES = {40: 1, 112: 2}


class ImprovedResidualBlock(nn.Module):
    """BN - conv3 - PReLU - conv3 - BN beside a shortcut; no activation follows the sum.

    (B, C_in, S, S) -> (B, C_out, S / stride, S / stride)
    """

    def __init__(self, num_in: int, num_out: int, stride: int) -> None:
        super().__init__()
        self.shortcut_layer: nn.Module
        if num_in == num_out:
            # Kernel 1: takes every stride-th pixel, and nothing is pooled.
            self.shortcut_layer = nn.MaxPool2d(1, stride)
        else:
            self.shortcut_layer = nn.Sequential(
                nn.Conv2d(num_in, num_out, 1, stride, bias=False), nn.BatchNorm2d(num_out)
            )
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(num_in),
            nn.Conv2d(num_in, num_out, 3, 1, 1, bias=False),
            nn.PReLU(num_out),
            nn.Conv2d(num_out, num_out, 3, stride, 1, bias=False),
            nn.BatchNorm2d(num_out),
        )

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """(B, C_in, S, S) -> (B, C_out, S / stride, S / stride)."""
        total: torch.Tensor = self.res_layer(maps) + self.shortcut_layer(maps)
        return total


class Ir50(Backbone):
    """Aligned faces (B, 3, S, S), pixels (x / 255 - 0.5) / 0.5, to raw embeddings (B, 512).

    Args:
        input_size_px: Side S of the faces, 40 or 112.
    """

    takes = "faces"
    num_features = 512

    def __init__(self, input_size_px: int = 40) -> None:
        super().__init__()
        if input_size_px not in FIRST_STRIDES:
            raise ValueError(
                f"input_size_px of ir50 must be one of {sorted(FIRST_STRIDES)}, got {input_size_px}"
            )
        self.input_shape = (3, input_size_px, input_size_px)
        num_in, side = STAGES[0][0], input_size_px
        self.input_layer = nn.Sequential(
            nn.Conv2d(3, num_in, 3, 1, 1, bias=False), nn.BatchNorm2d(num_in), nn.PReLU(num_in)
        )
        blocks = []
        for stage, (num_out, num_blocks) in enumerate(STAGES):
            first_stride = FIRST_STRIDES[input_size_px] if stage == 0 else 2
            for block in range(num_blocks):
                blocks.append(ImprovedResidualBlock(num_in, num_out, first_stride if block == 0 else 1))
                num_in = num_out
            side //= first_stride
        self.body = nn.Sequential(*blocks)
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(num_in),
            nn.Dropout(),
            nn.Flatten(),
            nn.Linear(num_in * side * side, self.num_features),
            nn.BatchNorm1d(self.num_features),
        )

    def forward(self, faces: torch.Tensor) -> torch.Tensor:
        """(B, 3, S, S) -> (B, 512), not l2-normalised."""
        embeddings: torch.Tensor = self.output_layer(self.body(self.input_layer(faces)))
        return embeddings
