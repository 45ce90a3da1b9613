"""The frozen backbones by name.

The table imports no torch: what a backbone gives is known without building it.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from pipeline.backbones.backbone_facts import BackboneFacts
from pipeline.backbones.user_backbone import is_own, own_backbone, own_facts
from pipeline.errors import WeightsError
from pipeline.weights.source import parse_weights

if TYPE_CHECKING:
    from pipeline.backbones.backbone import Backbone

__all__ = ["BACKBONES", "BackboneFacts", "backbone_facts", "load_backbone"]


BACKBONES: Mapping[str, BackboneFacts] = MappingProxyType(
    {
        "ir50": BackboneFacts(
            takes="faces", num_features=512, input_shape=(3, 40, 40), extra_heads=("logits.",)
        ),
        "resnet50": BackboneFacts(
            takes="faces", num_features=2048, input_shape=(3, 40, 40), extra_heads=("fc.",)
        ),
        "inception_resnet_v1": BackboneFacts(
            takes="faces", num_features=512, input_shape=(3, 160, 160), extra_heads=("logits.",)
        ),
        # The common port saves AudioSet's PCA beside the network; the embeddings here are before it.
        "vggish": BackboneFacts(
            takes="log_mel", num_features=128, input_shape=(1, 96, 64), extra_heads=("pproc.",)
        ),
    }
)


def backbone_facts(name: str) -> BackboneFacts:
    """What a backbone takes and gives.

    Args:
        name: One of `BACKBONES`, or `package.module:Class` of the user's own, which is imported.

    Raises:
        WeightsError: There is no such backbone.
    """
    if is_own(name):
        return own_facts(name)
    if name not in BACKBONES:
        close = difflib.get_close_matches(name, BACKBONES, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise WeightsError(
            f"backbone {name!r} is not known{hint} (backbones: {', '.join(BACKBONES)}; your own: "
            "package.module:Class)"
        )
    return BACKBONES[name]


def load_backbone(
    name: str, weights: str, *, input_size_px: int | None = None, final_relu: bool = False
) -> Backbone:
    """A frozen backbone in eval mode, on the CPU.

    It takes the normalised input, faces (B, 3, S, S) of pixels (x / 255 - 0.5) / 0.5 or plain log-mel
    examples (B, 1, 96, 64), and gives raw embeddings (B, features), not l2-normalised.

    Args:
        name: `ir50`, `resnet50`, `inception_resnet_v1`, `vggish`, or `package.module:Class` of your own.
        weights: A registered name (`tagf weights list`), the path of a checkpoint in the public layout
            (`.pth` and `.pt` are loaded with `weights_only=True`), or `random:SEED`. A backbone of your
            own is given it as it is.
        input_size_px: Side S of the faces where it is not the usual one; `ir50` also takes 112.
        final_relu: Whether `vggish` ends in a ReLU, as the common PyTorch port does.

    Returns:
        A module with `num_features` and `input_shape`, none of whose parameters requires a gradient.

    Raises:
        WeightsError: Unknown backbone, or weights that are missing, damaged or of another architecture.
        ValueError: An input size that the backbone cannot take.
    """
    facts = backbone_facts(name)
    if is_own(name):
        return own_backbone(name, weights).eval().requires_grad_(False)
    source = parse_weights(weights)
    if source.registered is not None and source.registered.backbone != name:
        raise WeightsError(
            f"weights {weights!r}: expected weights of {name}, got those of {source.registered.backbone}; "
            "'tagf weights list' shows which there are"
        )
    # Late, because torch takes seconds to import.
    from pipeline.backbones.allocation import allocate
    from pipeline.backbones.checkpoint_tensors import load_tensors, read_checkpoint
    from pipeline.backbones.random_weights import draw_weights

    backbone = allocate(name, input_size_px, final_relu=final_relu)
    if source.path is not None:
        source.verify()
        tensors = read_checkpoint(source.path)
        load_tensors(backbone, tensors, where=str(source.path), extra_heads=facts.extra_heads)
    elif source.seed is not None:
        draw_weights(backbone, source.seed)
    return backbone.eval().requires_grad_(False)
