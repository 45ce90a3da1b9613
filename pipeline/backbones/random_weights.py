"""Weights from a seed, for running everything without downloading anything.

Random convolutions are usable features only when the signal varies: with PyTorch's own initialisation
VGGish's output varies by 1.5-4 % of its mean. So weights are drawn He-normal and then *calibrated* on a
fixed batch of drawn pictures or made-up sounds, layer by layer, so that the signal neither explodes nor dies
and embeddings are spread about zero:

- `ir50`, `inception_resnet_v1`: running statistics of every BatchNorm are those of the batch, the last one
  included, so each feature has mean 0 and variance 1 over the batch.
- `resnet50`: the same, but its features follow a ReLU and an average, so they cannot be centred. The bias of
  the last BatchNorm is set so that the sum before that ReLU has mean 0 in each channel, which leaves half of
  it standing.
- `vggish`, which has no BatchNorm: weights and biases of every layer are rescaled so that each channel has
  mean 0 and variance 1 over the batch before its ReLU, and each feature after the last layer.

`SCHEME` is part of the weights' digest: raise it with every change here that changes a weight.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from pipeline.backbones.backbone import Backbone
from pipeline.backbones.calibration_inputs import drawn_pictures, made_up_sounds
from pipeline.backbones.resnet50 import ResNet50
from pipeline.backbones.vggish import Vggish
from pipeline.threads import one_thread

NUM_CALIBRATION_INPUTS = 32
# The batch is the same for every seed of weights, so that two seeds differ in their weights alone.
_CALIBRATION_SEED = 20_200_409
_PRELU_SLOPE = 0.25
# A channel that hardly varies over the batch is not blown up to variance 1.
_SMALLEST_DEVIATION = 1e-3


@torch.no_grad()
def draw_weights(backbone: Backbone, seed: int) -> None:
    """Fill a backbone with weights that depend on the seed alone.

    Neither reads nor changes the state of torch's global generator. Runs on one thread, so that the sums of
    the calibration do not depend on how many threads the process has.

    Args:
        backbone: Allocated on the CPU, its content of no matter. Left in eval mode.
        seed: Of a generator of its own.
    """
    generator = torch.Generator().manual_seed(seed)
    backbone.eval()
    for module in backbone.modules():
        _draw(module, generator)
    with one_thread():
        if isinstance(backbone, Vggish):
            _calibrate_layers(backbone)
        else:
            _calibrate_batch_norms(backbone)


def _draw(module: nn.Module, generator: torch.Generator) -> None:
    """He-normal weights, biases of zero, BatchNorms that change nothing."""
    if isinstance(module, (nn.Conv2d, nn.Linear)):
        fan_in = math.prod(module.weight.shape[1:])
        module.weight.normal_(0, math.sqrt(2 / fan_in), generator=generator)
        if module.bias is not None:
            module.bias.zero_()
    elif isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
        module.reset_parameters()
    elif isinstance(module, nn.PReLU):
        module.weight.fill_(_PRELU_SLOPE)


def _calibrate_batch_norms(backbone: Backbone) -> None:
    """One pass in which every BatchNorm normalises by the batch and keeps its statistics."""
    norms = [module for module in backbone.modules() if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d))]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
        norm.train()
    faces = torch.from_numpy(
        drawn_pictures(NUM_CALIBRATION_INPUTS, backbone.input_shape[1], _CALIBRATION_SEED)
    )
    faces = faces.contiguous(memory_format=torch.channels_last)
    if isinstance(backbone, ResNet50):
        _centre_last_sum(backbone, faces)
    else:
        backbone(faces)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.num_batches_tracked = torch.tensor(0)
        norm.eval()


def _centre_last_sum(backbone: ResNet50, faces: torch.Tensor) -> None:
    """The pass over the batch, after which the last block's sum has mean 0 before its ReLU."""
    shortcuts: list[torch.Tensor] = []
    last_block: Any = backbone.layer4[-1]  # type: ignore[index]  # torchvision is untyped
    hook = last_block.register_forward_pre_hook(lambda _, inputs: shortcuts.append(inputs[0]))
    backbone(faces)
    hook.remove()
    # The residual has mean 0 after its BatchNorm; what is left is the mean of the shortcut.
    last_block.bn3.bias.copy_(-shortcuts[0].mean((0, 2, 3)))


def _calibrate_layers(vggish: Vggish) -> None:
    """Rescale one layer after the other, each on what the calibrated layers below it give."""
    maps = torch.from_numpy(made_up_sounds(NUM_CALIBRATION_INPUTS, _CALIBRATION_SEED))
    for layer in vggish.features:
        maps = _standardised(layer, maps, (0, 2, 3)) if isinstance(layer, nn.Conv2d) else layer(maps)
    flat = maps.permute(0, 2, 3, 1).flatten(1)
    for layer in vggish.embeddings:
        flat = _standardised(layer, flat, (0,)) if isinstance(layer, nn.Linear) else layer(flat)


def _standardised(layer: nn.Conv2d | nn.Linear, inputs: torch.Tensor, axes: tuple[int, ...]) -> torch.Tensor:
    """Rescale a layer so that its outputs have mean 0 and variance 1 over `axes`; return those outputs."""
    outputs: torch.Tensor = layer(inputs)
    # Channels lie on axis 1, of maps and of flat rows alike.
    shape = [1, -1] + [1] * (outputs.ndim - 2)
    mean = outputs.mean(axes)
    deviation = outputs.std(axes, correction=0).clamp_min(_SMALLEST_DEVIATION)
    assert layer.bias is not None  # VGGish has one in every layer
    layer.weight.div_(deviation.view(-1, *[1] * (layer.weight.ndim - 1)))
    layer.bias.copy_(-mean / deviation)
    return (outputs - mean.view(shape)) / deviation.view(shape)
