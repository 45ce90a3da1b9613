"""Folded backbones against the plain ones: the same function, fewer operations, rows that stay put."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pipeline.backbones import BACKBONES, load_backbone
from pipeline.backbones.backbone import Backbone
from pipeline.backbones.folding import FoldedBackbone

# BatchNorms that precede a padded convolution: one per block of ir50.
LEFT = {"ir50": 24, "resnet50": 0, "inception_resnet_v1": 0, "vggish": 0}


def inputs_of(backbone: Backbone, count: int, seed: int = 1) -> torch.Tensor:
    return torch.rand(count, *backbone.input_shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def unsettled(backbone: Backbone) -> Backbone:
    """Statistics and slopes as after training: none is 0 or 1, so that a forgotten one shows."""
    generator = torch.Generator().manual_seed(5)
    for module in backbone.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                tensor.data += 0.1 * torch.rand(tensor.shape, generator=generator)
    return backbone


@pytest.fixture(scope="module", params=LEFT)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def plain(name: str) -> Backbone:
    return unsettled(load_backbone(name, "random:0"))


@pytest.fixture(scope="module")
def folded(plain: Backbone) -> FoldedBackbone:
    return FoldedBackbone(plain)


@torch.inference_mode()
def test_rows_are_those_of_the_plain_backbone(plain: Backbone, folded: FoldedBackbone) -> None:
    inputs = inputs_of(plain, 3)
    expected, rows = plain(inputs), folded(inputs)
    assert ((rows - expected).norm(dim=1) / expected.norm(dim=1)).max() < 1e-4
    assert expected.std(dim=0).max() > 1e-3, "rows that are all alike prove nothing"


def test_nothing_is_left_that_can_be_folded(name: str, folded: FoldedBackbone) -> None:
    kinds = [type(module).__name__ for module in folded.modules()]
    assert sum("BatchNorm" in kind for kind in kinds) == LEFT[name]
    assert "Dropout" not in kinds
    if name == "ir50":
        assert "MaxPool2d" not in kinds
        assert [type(module) for module in folded.network.modules() if hasattr(module, "in_features")] == [
            nn.Linear
        ]
    assert (folded.takes, folded.num_features, folded.input_shape) == (
        BACKBONES[name].takes,
        BACKBONES[name].num_features,
        BACKBONES[name].input_shape,
    )


def test_the_plain_backbone_stays_as_it_is(plain: Backbone) -> None:
    before = {key: tensor.clone() for key, tensor in plain.state_dict().items()}
    FoldedBackbone(plain)
    after = plain.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(before[key], tensor) for key, tensor in after.items())


@torch.inference_mode()
def test_strided_pooling_over_one_pixel_becomes_a_slice() -> None:
    backbone = unsettled(load_backbone("ir50", "random:0", input_size_px=112))
    assert any(isinstance(module, nn.MaxPool2d) and module.stride == 2 for module in backbone.modules())
    folded = FoldedBackbone(backbone)
    assert not any(isinstance(module, nn.MaxPool2d) for module in folded.modules())
    inputs = inputs_of(backbone, 1)
    torch.testing.assert_close(folded(inputs), backbone(inputs), rtol=1e-4, atol=1e-4)


def test_training_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a backbone in eval mode"):
        FoldedBackbone(load_backbone("resnet50", "random:0").train())


@torch.inference_mode()
def test_rows_are_bitwise_equal_whatever_the_batch_and_the_threads() -> None:
    """One CPU type, batches of 16, 32 and 64, 1, 2 and 4 threads, any place in the batch, any neighbours."""
    threads = torch.get_num_threads()
    folded = FoldedBackbone(load_backbone("ir50", "random:0"))
    inputs = inputs_of(folded, 64)
    try:
        torch.set_num_threads(1)
        expected = folded(inputs)
        for num_threads in (2, 4):
            torch.set_num_threads(num_threads)
            assert torch.equal(folded(inputs[:16]), expected[:16])
        torch.set_num_threads(1)
        assert torch.equal(folded(inputs[16:32]), expected[16:32])
        assert torch.equal(folded(inputs[32:]), expected[32:])
        order = torch.randperm(16, generator=torch.Generator().manual_seed(0))
        assert torch.equal(folded(inputs[order]), expected[order])
        strangers = inputs_of(folded, 16, seed=2)
        strangers[9] = inputs[0]
        assert torch.equal(folded(strangers)[9], expected[0])
    finally:
        torch.set_num_threads(threads)
