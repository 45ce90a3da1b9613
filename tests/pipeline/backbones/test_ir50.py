"""IR-50 against a forward pass written out from a dict of tensors in the public layout."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.backbones import load_backbone
from pipeline.errors import WeightsError

# Input channels, output channels and stride of the 24 blocks, for 40 x 40 faces.
BLOCKS = [
    *[(64, 64, 1)] * 3,
    *[(64, 128, 2)] + [(128, 128, 1)] * 3,
    *[(128, 256, 2)] + [(256, 256, 1)] * 13,
    *[(256, 512, 2)] + [(512, 512, 1)] * 2,
]


def batch_norm_tensors(name: str, channels: int, generator: torch.Generator) -> dict[str, Tensor]:
    return {
        f"{name}.weight": 1 + 0.1 * torch.randn(channels, generator=generator),
        f"{name}.bias": 0.1 * torch.randn(channels, generator=generator),
        f"{name}.running_mean": 0.1 * torch.randn(channels, generator=generator),
        f"{name}.running_var": 0.5 + torch.rand(channels, generator=generator),
        f"{name}.num_batches_tracked": torch.tensor(7),
    }


def public_tensors(last_side: int = 5) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(3)

    def normal(*shape: int) -> Tensor:
        fan_in = shape[1] * (shape[2] * shape[3] if len(shape) == 4 else 1)
        return torch.randn(shape, generator=generator) / fan_in**0.5

    tensors = {"input_layer.0.weight": normal(64, 3, 3, 3), "input_layer.2.weight": torch.full((64,), 0.3)}
    tensors |= batch_norm_tensors("input_layer.1", 64, generator)
    for block, (num_in, num_out, _) in enumerate(BLOCKS):
        name = f"body.{block}"
        if num_in != num_out:
            tensors[f"{name}.shortcut_layer.0.weight"] = normal(num_out, num_in, 1, 1)
            tensors |= batch_norm_tensors(f"{name}.shortcut_layer.1", num_out, generator)
        tensors |= batch_norm_tensors(f"{name}.res_layer.0", num_in, generator)
        tensors[f"{name}.res_layer.1.weight"] = normal(num_out, num_in, 3, 3)
        tensors[f"{name}.res_layer.2.weight"] = torch.linspace(-0.1, 0.5, num_out)
        tensors[f"{name}.res_layer.3.weight"] = normal(num_out, num_out, 3, 3)
        tensors |= batch_norm_tensors(f"{name}.res_layer.4", num_out, generator)
    tensors |= batch_norm_tensors("output_layer.0", 512, generator)
    tensors["output_layer.3.weight"] = normal(512, 512 * last_side**2)
    tensors["output_layer.3.bias"] = normal(1, 512)[0]
    return tensors | batch_norm_tensors("output_layer.4", 512, generator)


def forward(tensors: dict[str, Tensor], faces: Tensor, first_stride: int = 1) -> Tensor:
    def norm(x: Tensor, name: str) -> Tensor:
        shape = (1, -1) + (1,) * (x.ndim - 2)
        mean, variance, weight, bias = (
            tensors[f"{name}.{part}"].view(shape)
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (variance + 1e-5).sqrt() * weight + bias

    def prelu(x: Tensor, name: str) -> Tensor:
        return torch.where(x > 0, x, x * tensors[f"{name}.weight"].view(1, -1, 1, 1))

    # In double precision: 50 layers of float32 differ by 1e-4 of the embeddings' scale.
    tensors = {name: tensor.double() for name, tensor in tensors.items()}
    x = F.conv2d(faces.double(), tensors["input_layer.0.weight"], padding=1)
    x = prelu(norm(x, "input_layer.1"), "input_layer.2")
    for block, (num_in, num_out, stride) in enumerate(BLOCKS):
        name = f"body.{block}"
        stride = first_stride if block == 0 else stride
        if num_in == num_out:
            shortcut = x[:, :, ::stride, ::stride]
        else:
            shortcut = F.conv2d(x, tensors[f"{name}.shortcut_layer.0.weight"], stride=stride)
            shortcut = norm(shortcut, f"{name}.shortcut_layer.1")
        y = F.conv2d(norm(x, f"{name}.res_layer.0"), tensors[f"{name}.res_layer.1.weight"], padding=1)
        y = prelu(y, f"{name}.res_layer.2")
        y = F.conv2d(y, tensors[f"{name}.res_layer.3.weight"], stride=stride, padding=1)
        x = norm(y, f"{name}.res_layer.4") + shortcut
    x = norm(x, "output_layer.0").flatten(1)
    x = x @ tensors["output_layer.3.weight"].T + tensors["output_layer.3.bias"]
    return norm(x, "output_layer.4")


def assert_equal_within_rounding(rows: Tensor, expected: Tensor) -> None:
    assert (rows - expected).abs().max() < 1e-4 * expected.abs().max()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The layout of the lineage's file: a prefix, and a classifier of 8 classes on top."""
    path = tmp_path_factory.mktemp("ir50") / "res50_ir.pth"
    tensors = {f"backbone.{name}": tensor for name, tensor in public_tensors().items()}
    torch.save(tensors | {"logits.weight": torch.zeros(8, 512), "logits.bias": torch.zeros(8)}, path)
    return path


def test_public_checkpoint_gives_what_the_formulas_give(checkpoint: Path) -> None:
    faces = torch.rand(2, 3, 40, 40, generator=torch.Generator().manual_seed(1)) * 2 - 1
    backbone = load_backbone("ir50", str(checkpoint))
    with torch.no_grad():
        rows = backbone(faces)
    assert_equal_within_rounding(rows, forward(public_tensors(), faces))


def test_backbone_is_frozen_and_tells_its_shapes(checkpoint: Path) -> None:
    backbone = load_backbone("ir50", str(checkpoint))
    assert (backbone.num_features, backbone.input_shape) == (512, (3, 40, 40))
    assert not backbone.training
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    # 37.3 M, as published for this variant
    assert round(sum(parameter.numel() for parameter in backbone.parameters()) / 1e6, 1) == 37.3


def test_112_px_variant_halves_the_map_in_every_stage(tmp_path: Path) -> None:
    tensors = public_tensors(last_side=7)
    torch.save(
        {"state_dict": {f"module.{name}": tensor for name, tensor in tensors.items()}}, tmp_path / "ir.pt"
    )
    face = torch.rand(1, 3, 112, 112, generator=torch.Generator().manual_seed(1)) * 2 - 1
    backbone = load_backbone("ir50", str(tmp_path / "ir.pt"), input_size_px=112)
    with torch.no_grad():
        rows = backbone(face)
    assert_equal_within_rounding(rows, forward(tensors, face, first_stride=2))


def test_checkpoint_of_the_other_variant_is_refused_with_both_shapes(checkpoint: Path) -> None:
    message = r"1 of another shape: output_layer.3.weight \(expected \(512, 25088\), got \(512, 12800\)\)"
    with pytest.raises(WeightsError, match=message):
        load_backbone("ir50", str(checkpoint), input_size_px=112)


def test_other_input_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"input_size_px of ir50 must be one of \[40, 112\], got 48"):
        load_backbone("ir50", "random:0", input_size_px=48)
