"""VGGish against a forward pass written out with torch.nn.functional from tensors in the public layout."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from pipeline.backbones import load_backbone

CONVOLUTIONS = {0: (1, 64), 3: (64, 128), 6: (128, 256), 8: (256, 256), 11: (256, 512), 13: (512, 512)}
POOLED = (0, 3, 8, 13)
LINEAR = {0: (12288, 4096), 2: (4096, 4096), 4: (4096, 128)}


def public_tensors() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(5)
    tensors = {}
    for layer, (num_in, num_out) in CONVOLUTIONS.items():
        weight = torch.randn(num_out, num_in, 3, 3, generator=generator)
        tensors[f"features.{layer}.weight"] = weight * (2 / (9 * num_in)) ** 0.5
        tensors[f"features.{layer}.bias"] = 0.1 * torch.randn(num_out, generator=generator)
    for layer, (num_in, num_out) in LINEAR.items():
        tensors[f"embeddings.{layer}.weight"] = (
            torch.randn(num_out, num_in, generator=generator) * (2 / num_in) ** 0.5
        )
        tensors[f"embeddings.{layer}.bias"] = 0.1 * torch.randn(num_out, generator=generator)
    return tensors


def forward(tensors: dict[str, Tensor], examples: Tensor) -> Tensor:
    x = examples
    for layer in CONVOLUTIONS:
        x = F.conv2d(
            x, tensors[f"features.{layer}.weight"], tensors[f"features.{layer}.bias"], padding=1
        ).relu()
        if layer in POOLED:
            batch, channels, rows, bands = x.shape
            x = x.reshape(batch, channels, rows // 2, 2, bands // 2, 2).amax((3, 5))
    assert x.shape[1:] == (512, 6, 4)
    # Feature (time, mel, channel) lies at (time * 4 + mel) * 512 + channel.
    flat = torch.stack([x[:, :, time, mel] for time in range(6) for mel in range(4)], 1).reshape(len(x), -1)
    for layer in LINEAR:
        flat = flat @ tensors[f"embeddings.{layer}.weight"].T + tensors[f"embeddings.{layer}.bias"]
        flat = flat if layer == 4 else flat.relu()
    return flat


@pytest.fixture(scope="module")
def tensors() -> dict[str, Tensor]:
    return public_tensors()


def test_public_layout_gives_what_the_formulas_give(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    save_file(tensors, tmp_path / "vggish.safetensors")
    examples = torch.randn(2, 1, 96, 64, generator=torch.Generator().manual_seed(1)) - 2
    backbone = load_backbone("vggish", str(tmp_path / "vggish.safetensors"))
    with torch.no_grad():
        rows = backbone(examples)
    expected = forward(tensors, examples)
    torch.testing.assert_close(rows, expected, rtol=1e-4, atol=1e-4)
    assert (expected < 0).any(), "a ReLU at the end would go unseen"
    assert (backbone.num_features, backbone.input_shape) == (128, (1, 96, 64))


def test_common_port_with_its_relu_and_its_pca(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    """torchvggish saves the PCA of AudioSet's post-processing beside the network."""
    pca = {"pproc.pca_matrix": torch.ones(128, 128), "pproc.pca_means": torch.ones(128, 1)}
    torch.save(tensors | pca, tmp_path / "vggish.pth")
    examples = torch.randn(2, 1, 96, 64, generator=torch.Generator().manual_seed(1)) - 2
    backbone = load_backbone("vggish", str(tmp_path / "vggish.pth"), final_relu=True)
    with torch.no_grad():
        rows = backbone(examples)
    torch.testing.assert_close(rows, forward(tensors, examples).relu(), rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="final_relu is for vggish, resnet50 has no such variant"):
        load_backbone("resnet50", "random:0", final_relu=True)


def test_faces_size_is_refused() -> None:
    with pytest.raises(ValueError, match="input_size_px is for faces"):
        load_backbone("vggish", "random:0", input_size_px=96)
