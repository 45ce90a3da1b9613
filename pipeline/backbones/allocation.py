"""Backbones with memory for their tensors and nothing in it yet."""

from __future__ import annotations

import torch

from pipeline.backbones.backbone import Backbone
from pipeline.backbones.inception_resnet import InceptionResnet
from pipeline.backbones.ir50 import Ir50
from pipeline.backbones.resnet50 import ResNet50
from pipeline.backbones.vggish import Vggish

_FACE_BACKBONES = {"ir50": Ir50, "resnet50": ResNet50, "inception_resnet_v1": InceptionResnet}


def allocate(name: str, input_size_px: int | None = None, *, final_relu: bool = False) -> Backbone:
    """The backbone of that name on the CPU, its tensors not set.

    PyTorch's own initialisation takes longer than reading a checkpoint and draws from the global generator;
    both are avoided.

    Args:
        name: One of `BACKBONES`.
        input_size_px: Side of the faces; None for the usual one.
        final_relu: Whether `vggish` ends in a ReLU.

    Raises:
        ValueError: An input size that the backbone cannot take, or a ReLU that it cannot have.
    """
    if final_relu and name != "vggish":
        raise ValueError(f"final_relu is for vggish, {name} has no such variant")
    with torch.device("meta"):
        if name == "vggish":
            if input_size_px is not None:
                raise ValueError(
                    f"input_size_px is for faces; vggish takes 96x64 log-mel, got {input_size_px}"
                )
            backbone: Backbone = Vggish(final_relu=final_relu)
        elif input_size_px is None:
            backbone = _FACE_BACKBONES[name]()
        else:
            backbone = _FACE_BACKBONES[name](input_size_px)
    return backbone.to_empty(device="cpu")
