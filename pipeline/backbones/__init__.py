"""The frozen backbones by name.

The table imports no torch: what a backbone gives is known without building it.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from pipeline.errors import WeightsError
from pipeline.weights import parse_weights

if TYPE_CHECKING:
    from pipeline.backbones.backbone import Backbone

__all__ = ["BACKBONES", "BackboneFacts", "load_backbone"]


@dataclass(frozen=True, kw_only=True)
class BackboneFacts:
    """What a backbone takes and gives.

    Attributes:
        stream: Stream that its embeddings make.
        num_features: Features per embedding.
        input_shape: Shape of one input, (channels, height, width), at the usual input size.
        extra_heads: Prefixes of the tensors that public checkpoints carry on top of the backbone.
    """

    stream: Literal["visual", "audio"]
    num_features: int
    input_shape: tuple[int, int, int]
    extra_heads: tuple[str, ...] = ()


BACKBONES: Mapping[str, BackboneFacts] = MappingProxyType(
    {
        "ir50": BackboneFacts(
            stream="visual", num_features=512, input_shape=(3, 40, 40), extra_heads=("logits.",)
        ),
        "resnet50": BackboneFacts(
            stream="visual", num_features=2048, input_shape=(3, 40, 40), extra_heads=("fc.",)
        ),
        "inception_resnet_v1": BackboneFacts(
            stream="visual", num_features=512, input_shape=(3, 160, 160), extra_heads=("logits.",)
        ),
        "vggish": BackboneFacts(stream="audio", num_features=128, input_shape=(1, 96, 64)),
    }
)


def load_backbone(name: str, weights: str, *, input_size_px: int | None = None) -> Backbone:
    """A frozen backbone in eval mode, on the CPU.

    It takes the normalised input, faces (B, 3, S, S) of pixels (x / 255 - 0.5) / 0.5 or plain log-mel
    examples (B, 1, 96, 64), and gives raw embeddings (B, features), not l2-normalised.

    Args:
        name: `ir50`, `resnet50`, `inception_resnet_v1` or `vggish`.
        weights: Path of a checkpoint in the public layout (`.pth` and `.pt` are loaded with
            `weights_only=True`), or `random:SEED`.
        input_size_px: Side S of the faces where it is not the usual one; `ir50` also takes 112.

    Returns:
        A module with `num_features` and `input_shape`, none of whose parameters requires a gradient.

    Raises:
        WeightsError: Unknown backbone, or weights that are missing, damaged or of another architecture.
        ValueError: An input size that the backbone cannot take.
    """
    if name not in BACKBONES:
        close = difflib.get_close_matches(name, BACKBONES, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise WeightsError(f"backbone {name!r} is not known{hint} (backbones: {', '.join(BACKBONES)})")
    source = parse_weights(weights)
    # Late, because torch takes seconds to import.
    from pipeline.backbones.allocation import allocate
    from pipeline.backbones.checkpoint_tensors import load_tensors, read_checkpoint
    from pipeline.backbones.random_weights import draw_weights

    backbone = allocate(name, input_size_px)
    if source.path is not None:
        tensors = read_checkpoint(source.path)
        load_tensors(backbone, tensors, where=str(source.path), extra_heads=BACKBONES[name].extra_heads)
    elif source.seed is not None:
        draw_weights(backbone, source.seed)
    return backbone.eval().requires_grad_(False)
