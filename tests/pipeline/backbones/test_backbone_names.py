"""The table of backbones against the backbones, and what `load_backbone` refuses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import facenet_pytorch
import pytest
import torch
import torch.nn.functional as F
import torchvision

from pipeline.backbones import BACKBONES, load_backbone
from pipeline.backbones.allocation import allocate
from pipeline.errors import WeightsError

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def pictures() -> torch.Tensor:
    return torch.rand(2, 3, 80, 80, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_resnet50_is_torchvisions_up_to_the_classifier(tmp_path: Path, pictures: torch.Tensor) -> None:
    torch.manual_seed(0)
    theirs = torchvision.models.resnet50(weights=None).eval()
    torch.save(theirs.state_dict(), tmp_path / "resnet50.pth")  # with fc.*, as published
    ours = load_backbone("resnet50", str(tmp_path / "resnet50.pth"))
    with torch.no_grad():
        rows = ours(pictures)
        torch.testing.assert_close(F.linear(rows, theirs.fc.weight, theirs.fc.bias), theirs(pictures))
    assert rows.shape == (2, ours.num_features) == (2, 2048)


def test_inception_is_facenets_before_its_normalisation(tmp_path: Path, pictures: torch.Tensor) -> None:
    torch.manual_seed(0)
    theirs = facenet_pytorch.InceptionResnetV1(classify=True, num_classes=10).eval()
    torch.save(theirs.state_dict(), tmp_path / "vggface2.pt")  # with logits.*, as published
    theirs.classify = False
    ours = load_backbone("inception_resnet_v1", str(tmp_path / "vggface2.pt"), input_size_px=80)
    with torch.no_grad():
        rows = ours(pictures)
        torch.testing.assert_close(F.normalize(rows), theirs(pictures))
    assert rows.shape == (2, ours.num_features) == (2, 512)
    assert not torch.allclose(rows.norm(dim=1), torch.ones(2))


@pytest.mark.parametrize(("name", "smallest"), [("resnet50", 32), ("inception_resnet_v1", 75)])
def test_smallest_inputs(name: str, smallest: int) -> None:
    backbone = load_backbone(name, "random:0", input_size_px=smallest)
    with torch.no_grad():
        assert backbone(torch.zeros(1, *backbone.input_shape)).isfinite().all()
    with pytest.raises(
        ValueError, match=f"input_size_px of {name} must be at least {smallest}, got {smallest - 1}"
    ):
        load_backbone(name, "random:0", input_size_px=smallest - 1)


@pytest.mark.parametrize("name", BACKBONES)
def test_table_tells_what_the_backbone_gives(name: str) -> None:
    backbone, facts = allocate(name, None), BACKBONES[name]
    assert (backbone.num_features, backbone.input_shape) == (facts.num_features, facts.input_shape)


def test_unknown_backbone_is_refused_with_a_suggestion() -> None:
    with pytest.raises(WeightsError, match=r"backbone 'resnet-50' is not known; did you mean 'resnet50'\?"):
        load_backbone("resnet-50", "random:0")


def test_table_is_read_without_torch() -> None:
    code = "import sys, pipeline.backbones; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
