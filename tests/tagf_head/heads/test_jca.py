"""JCA as a chain of parts that are tested alone."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from tagf_head.head_config import HeadConfig
from tagf_head.heads import Head, build_head

L = 8
CONFIG = HeadConfig(
    name="jca",
    visual_features=6,
    audio_features=5,
    visual_channels=(4, 3),
    audio_channels=(4,),
    kernel_size=3,
    tcn_dropout=0.0,
    attention_dropout=0.0,
    attended_features=2,
    reference_length=L,
    regressor_features=3,
)


def make_head(config: HeadConfig = CONFIG) -> Head:
    torch.manual_seed(0)
    return build_head(config).double()


def make_inputs() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    mask = torch.arange(L) < torch.tensor([L, 5, 0])[:, None]
    visual, audio = (torch.randn(3, L, width, generator=generator, dtype=torch.float64) for width in (6, 5))
    return visual, audio, mask


@pytest.mark.parametrize("time_mixing", ["none", "learned"])
@pytest.mark.parametrize("training", [True, False])
def test_head_is_the_chain_of_its_parts(training: bool, time_mixing: str) -> None:
    head = make_head(dataclasses.replace(CONFIG, time_mixing=time_mixing)).train(training)
    visual, audio, mask = make_inputs()
    encoded = head.visual_encoder(visual, mask), head.audio_encoder(audio, mask)
    features = torch.cat(head.attention(*encoded, mask), dim=-1)
    found = head(visual, audio, mask, return_all=True)
    torch.testing.assert_close(found.features[mask], features[mask], rtol=0, atol=1e-9)
    expected = head.regressor(features, mask)
    torch.testing.assert_close(found.prediction[mask], expected[mask], rtol=0, atol=1e-9)
    assert found.gates == {}
    assert head.num_features == 3 + 4


def test_settings_reach_the_attention() -> None:
    head = make_head(dataclasses.replace(CONFIG, attended_features=7, attention_dropout=0.25))
    for modality, width in ((head.attention.visual, 3), (head.attention.audio, 4)):
        assert modality.from_correlation.weight.shape == (7, 3 + 4)
        assert modality.from_features.weight.shape == (7, width)
        assert modality.update.weight.shape == (width, 7)
        assert modality.dropout.probability == 0.25
    head = make_head(dataclasses.replace(CONFIG, time_mixing="learned"))
    assert head.attention.visual.mixing.linear.weight.shape == (L, L)
    with torch.device("meta"):
        assert build_head(HeadConfig(name="jca")).attention.visual.update.weight.shape == (256, 32)


def test_each_modality_reaches_the_other() -> None:
    head = make_head().eval()
    visual, audio, mask = make_inputs()
    given = audio.clone().requires_grad_()
    found = head(visual, given, mask, return_all=True)
    found.features[0, 0, :3].sum().backward()  # the visual half of one frame
    assert (given.grad[0].abs().sum(dim=1) > 0).all()  # hears every frame of its window
    assert (given.grad[1:] == 0).all()
