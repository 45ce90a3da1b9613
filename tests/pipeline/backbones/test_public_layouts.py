"""resnet50 and inception_resnet_v1 against forward passes written out here, public tensor names included.

The forward passes make the tensors that they ask for, so the checkpoints are made of their names and shapes
alone; nothing of torchvision or facenet-pytorch is used on that side. (ir50 and vggish: `test_ir50`,
`test_vggish`.)
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from pipeline.backbones import load_backbone
from pipeline.errors import WeightsError


class Layers:
    """Layers by name, in double precision; their tensors are made when they are first asked for."""

    def __init__(self, epsilon: float) -> None:
        self.tensors: dict[str, Tensor] = {}
        self._epsilon = epsilon
        self._generator = torch.Generator().manual_seed(4)

    def tensor(self, name: str, *shape: int, mean: float = 0.0, spread: float = 0.1) -> Tensor:
        if name not in self.tensors:
            self.tensors[name] = mean + spread * torch.randn(shape, generator=self._generator)
        return self.tensors[name].double()

    def conv(
        self, x: Tensor, name: str, num_out: int, kernel: int | tuple[int, int], **where: object
    ) -> Tensor:
        height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
        fan_in = x.shape[1] * height * width
        weight = self.tensor(f"{name}.weight", num_out, x.shape[1], height, width, spread=fan_in**-0.5)
        return F.conv2d(x, weight, **where)  # type: ignore[arg-type]

    def norm(self, x: Tensor, name: str) -> Tensor:
        num, shape = x.shape[1], (1, -1) + (1,) * (x.ndim - 2)
        weight = self.tensor(f"{name}.weight", num, mean=1).view(shape)
        bias = self.tensor(f"{name}.bias", num).view(shape)
        mean = self.tensor(f"{name}.running_mean", num).view(shape)
        variance = self.tensor(f"{name}.running_var", num, mean=1).view(shape)
        return (x - mean) / (variance + self._epsilon).sqrt() * weight + bias


def resnet50(layers: Layers, x: Tensor) -> Tensor:
    x = layers.norm(layers.conv(x, "conv1", 64, 7, stride=2, padding=3), "bn1").relu()
    x = F.max_pool2d(x, 3, 2, 1)
    for stage, (width, blocks) in enumerate([(64, 3), (128, 4), (256, 6), (512, 3)], start=1):
        for block in range(blocks):
            name, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            y = layers.norm(layers.conv(x, f"{name}.conv1", width, 1), f"{name}.bn1").relu()
            y = layers.conv(y, f"{name}.conv2", width, 3, stride=stride, padding=1)
            y = layers.norm(y, f"{name}.bn2").relu()
            y = layers.norm(layers.conv(y, f"{name}.conv3", 4 * width, 1), f"{name}.bn3")
            if block == 0:
                x = layers.conv(x, f"{name}.downsample.0", 4 * width, 1, stride=stride)
                x = layers.norm(x, f"{name}.downsample.1")
            x = (x + y).relu()
    return x.mean((2, 3))


def inception_resnet_v1(layers: Layers, x: Tensor) -> Tensor:
    def basic(x: Tensor, name: str, num_out: int, kernel: int | tuple[int, int], **where: object) -> Tensor:
        return layers.norm(layers.conv(x, f"{name}.conv", num_out, kernel, **where), f"{name}.bn").relu()

    def residual(x: Tensor, name: str, branches: list[Tensor], scale: float) -> Tensor:
        joined = torch.cat(branches, 1)
        y = layers.conv(joined, f"{name}.conv2d", x.shape[1], 1)
        return x + scale * (y + layers.tensor(f"{name}.conv2d.bias", x.shape[1]).view(1, -1, 1, 1))

    def block8(x: Tensor, name: str, scale: float) -> Tensor:
        long = basic(basic(x, f"{name}.branch1.0", 192, 1), f"{name}.branch1.1", 192, (1, 3), padding=(0, 1))
        long = basic(long, f"{name}.branch1.2", 192, (3, 1), padding=(1, 0))
        return residual(x, name, [basic(x, f"{name}.branch0", 192, 1), long], scale)

    x = basic(x, "conv2d_1a", 32, 3, stride=2)
    x = basic(basic(x, "conv2d_2a", 32, 3), "conv2d_2b", 64, 3, padding=1)
    x = basic(F.max_pool2d(x, 3, 2), "conv2d_3b", 80, 1)
    x = basic(basic(x, "conv2d_4a", 192, 3), "conv2d_4b", 256, 3, stride=2)
    for block in range(5):
        name = f"repeat_1.{block}"
        short = basic(basic(x, f"{name}.branch1.0", 32, 1), f"{name}.branch1.1", 32, 3, padding=1)
        long = basic(basic(x, f"{name}.branch2.0", 32, 1), f"{name}.branch2.1", 32, 3, padding=1)
        long = basic(long, f"{name}.branch2.2", 32, 3, padding=1)
        x = residual(x, name, [basic(x, f"{name}.branch0", 32, 1), short, long], 0.17).relu()
    long = basic(basic(x, "mixed_6a.branch1.0", 192, 1), "mixed_6a.branch1.1", 192, 3, padding=1)
    long = basic(long, "mixed_6a.branch1.2", 256, 3, stride=2)
    x = torch.cat([basic(x, "mixed_6a.branch0", 384, 3, stride=2), long, F.max_pool2d(x, 3, 2)], 1)
    for block in range(10):
        name = f"repeat_2.{block}"
        long = basic(basic(x, f"{name}.branch1.0", 128, 1), f"{name}.branch1.1", 128, (1, 7), padding=(0, 3))
        long = basic(long, f"{name}.branch1.2", 128, (7, 1), padding=(3, 0))
        x = residual(x, name, [basic(x, f"{name}.branch0", 128, 1), long], 0.1).relu()
    branches = [
        basic(basic(x, "mixed_7a.branch0.0", 256, 1), "mixed_7a.branch0.1", 384, 3, stride=2),
        basic(basic(x, "mixed_7a.branch1.0", 256, 1), "mixed_7a.branch1.1", 256, 3, stride=2),
    ]
    long = basic(basic(x, "mixed_7a.branch2.0", 256, 1), "mixed_7a.branch2.1", 256, 3, padding=1)
    branches.append(basic(long, "mixed_7a.branch2.2", 256, 3, stride=2))
    x = torch.cat([*branches, F.max_pool2d(x, 3, 2)], 1)
    for block in range(5):
        x = block8(x, f"repeat_3.{block}", 0.2).relu()
    x = block8(x, "block8", 1.0).mean((2, 3))
    weight = layers.tensor("last_linear.weight", 512, x.shape[1], spread=x.shape[1] ** -0.5)
    return layers.norm(x @ weight.T, "last_bn")


CASES = {
    # Heads as published: torchvision's 1000 classes, the 8631 people of VGGFace2.
    "resnet50": (resnet50, 1e-5, 40, {"fc.weight": (1000, 2048), "fc.bias": (1000,)}),
    "inception_resnet_v1": (
        inception_resnet_v1,
        1e-3,
        80,
        {"logits.weight": (8631, 512), "logits.bias": (8631,)},
    ),
}


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[str, Tensor, Tensor, dict[str, Tensor]]:
    """Name of the backbone, faces, their rows, and a public checkpoint."""
    forward: Callable[[Layers, Tensor], Tensor]
    forward, epsilon, side, heads = CASES[request.param]
    faces = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(1)) * 2 - 1
    layers = Layers(epsilon)
    rows = forward(layers, faces.double())
    extra = {name: torch.zeros(shape) for name, shape in heads.items()}
    return request.param, faces, rows, layers.tensors | extra


@pytest.mark.parametrize("kind", ["pth", "wrapped", "safetensors"])
def test_public_checkpoint_gives_what_the_formulas_give(
    tmp_path: Path, case: tuple[str, Tensor, Tensor, dict[str, Tensor]], kind: str
) -> None:
    name, faces, expected, tensors = case
    path = tmp_path / ("x.safetensors" if kind == "safetensors" else "x.pth")
    if kind == "safetensors":
        save_file(tensors, path)
    elif kind == "wrapped":
        torch.save(
            {"state_dict": {f"module.{key}": value for key, value in tensors.items()}, "epoch": 9}, path
        )
    else:
        torch.save(tensors, path)
    with torch.no_grad():
        rows = load_backbone(name, str(path), input_size_px=faces.shape[-1])(faces)
    assert (rows - expected).abs().max() < 1e-4 * expected.abs().max()
    assert expected.std(0).max() > 1e-2 * expected.abs().max(), "rows that are all alike prove nothing"


def test_exactly_what_is_missing_is_named(
    tmp_path: Path, case: tuple[str, Tensor, Tensor, dict[str, Tensor]]
) -> None:
    name, faces, _, tensors = case
    key = next(key for key in tensors if key.endswith("running_mean"))
    torch.save({other: value for other, value in tensors.items() if other != key}, tmp_path / "x.pth")
    with pytest.raises(WeightsError, match=f"with 1 missing: {key}; give the checkpoint"):
        load_backbone(name, str(tmp_path / "x.pth"), input_size_px=faces.shape[-1])
