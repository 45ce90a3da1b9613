"""The backbones that come with tagf, rewritten for inference: the same function in fewer operations.

- BatchNorm after a convolution or a linear layer becomes part of its weights.
- BatchNorm before flattening and a linear layer, the end of `ir50`, becomes part of the linear layer; with
  the BatchNorm after it, BN2d-dropout-flatten-Linear-BN1d is one Linear.
- Dropout does nothing in eval mode and goes; so does max-pooling over one pixel, which is what `ir50` calls
  the shortcut where nothing changes: 5 % of its time. With a stride it becomes a slice.

What stays: the BatchNorm before a padded convolution, of which each block of `ir50` has one. Its shift would
have to reach the padding, which is zero *after* the BatchNorm, and the 24 of them take 0.6 % of the time.

Weights and maps are channels-last, which the CPU's convolutions need no conversion for.
"""

from __future__ import annotations

import copy
import operator
from typing import Any

import torch
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from pipeline.backbones.backbone import Backbone


class FoldedBackbone(Backbone):
    """A backbone with everything folded that can be.

    Its rows differ from the plain backbone's by rounding alone, about 1e-6 of their scale.

    Args:
        backbone: In eval mode; stays as it is. Its forward pass must not depend on values of tensors.
    """

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        if backbone.training:
            raise ValueError(
                "expected a backbone in eval mode: BatchNorm has no fixed statistics in training"
            )
        self.takes = backbone.takes
        self.num_features, self.input_shape = backbone.num_features, backbone.input_shape
        traced = fx.symbolic_trace(copy.deepcopy(backbone))
        _remove_identities(traced)
        _fold_batch_norms(traced)
        traced.delete_all_unused_submodules()
        traced.recompile()
        self.network = traced.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.requires_grad_(False)
        self.eval()

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """(B, *input_shape) -> (B, D)."""
        rows: torch.Tensor = self.network(inputs.contiguous(memory_format=torch.channels_last))
        return rows


def _remove_identities(traced: fx.GraphModule) -> None:
    for node in list(traced.graph.nodes):
        module = _module(traced, node)
        if isinstance(module, (nn.Dropout, nn.Identity)):
            node.replace_all_uses_with(node.args[0])
            traced.graph.erase_node(node)
        elif isinstance(module, nn.MaxPool2d) and module.kernel_size == 1 and module.padding == 0:
            with traced.graph.inserting_before(node):
                replacement = node.args[0]
                if module.stride != 1:
                    every, each = slice(None, None, module.stride), slice(None)
                    replacement = traced.graph.call_function(
                        operator.getitem, (node.args[0], (each, each, every, every))
                    )
            node.replace_all_uses_with(replacement)
            traced.graph.erase_node(node)


def _fold_batch_norms(traced: fx.GraphModule) -> None:
    for node in list(traced.graph.nodes):
        norm = _module(traced, node)
        if not isinstance(norm, (nn.BatchNorm1d, nn.BatchNorm2d)):
            continue
        before = node.args[0]
        layer = _module(traced, before)
        if len(before.users) == 1 and isinstance(norm, nn.BatchNorm2d) and isinstance(layer, nn.Conv2d):
            traced.set_submodule(before.target, fuse_conv_bn_eval(layer, norm))
        elif len(before.users) == 1 and isinstance(norm, nn.BatchNorm1d) and isinstance(layer, nn.Linear):
            traced.set_submodule(before.target, fuse_linear_bn_eval(layer, norm))
        elif not _fold_into_linear(traced, node, norm):
            continue
        node.replace_all_uses_with(before)
        traced.graph.erase_node(node)


def _fold_into_linear(traced: fx.GraphModule, node: fx.Node, norm: nn.Module) -> bool:
    """Fold BatchNorm (B, C, S, S) - flatten - linear into the linear layer; False where that is not there."""
    (flatten,) = node.users if len(node.users) == 1 else (None,)
    (after,) = flatten.users if flatten is not None and len(flatten.users) == 1 else (None,)
    linear = _module(traced, after)
    if not isinstance(norm, nn.BatchNorm2d) or not isinstance(linear, nn.Linear):
        return False
    if not isinstance(_module(traced, flatten), nn.Flatten):
        return False
    assert norm.running_var is not None
    assert norm.running_mean is not None
    # In float64: each bias is a sum over all inputs.
    scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    shift = norm.bias.double() - norm.running_mean.double() * scale
    # A map's pixels lie side by side after flattening.
    num_pixels = linear.in_features // norm.num_features
    scale, shift = scale.repeat_interleave(num_pixels), shift.repeat_interleave(num_pixels)
    weight = linear.weight.double()
    linear.bias.copy_(linear.bias.double() + weight @ shift)
    linear.weight.copy_(weight * scale)
    return True


def _module(traced: fx.GraphModule, node: Any) -> nn.Module | None:
    """The module that a node calls, if it calls one."""
    if isinstance(node, fx.Node) and node.op == "call_module":
        return traced.get_submodule(str(node.target))
    return None
