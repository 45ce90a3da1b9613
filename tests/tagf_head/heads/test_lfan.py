"""Leader-follower attentive fusion against its equations in numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tagf_head.head_config import HeadConfig
from tagf_head.heads import build_head

HEADS, WIDTH = 3, 2
CONFIG = HeadConfig(
    name="lfan",
    visual_features=7,
    audio_features=5,
    visual_channels=(6, 4),
    audio_channels=(3, 3),
    kernel_size=3,
    num_attention_heads=HEADS,
    attention_features=WIDTH,
    tcn_dropout=0.0,
    sequence_dropout=0.0,
)


@pytest.mark.parametrize("training", [True, False])
def test_against_numpy(training: bool) -> None:
    torch.manual_seed(0)
    head: Any = build_head(CONFIG).double().train(training)
    for parameter in head.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    visual, audio = (torch.randn(2, 9, n, dtype=torch.float64) for n in (7, 5))
    mask = torch.arange(9) < torch.tensor([[9], [6]])
    encoded = [head.visual_encoder(visual, mask), head.audio_encoder(audio, mask)]
    measured = head(visual, audio, mask, return_all=True)
    state = {name: value.numpy() for name, value in head.state_dict().items()}
    for b, t in mask.nonzero().tolist():
        tokens = [each[b, t].detach().numpy() for each in encoded]
        rows = [
            (state[f"attention.projections.{m}.weight"] @ x + state[f"attention.projections.{m}.bias"])
            for m, x in enumerate(tokens)
        ]
        query, key, value = np.array([row.reshape(3, HEADS, WIDTH) for row in rows]).transpose(1, 2, 0, 3)
        fused = np.zeros((2, HEADS, WIDTH))
        for h in range(HEADS):
            scores = np.exp(query[h] @ key[h].T / np.sqrt(WIDTH))
            fused[:, h] = value[h] + scores / scores.sum(axis=1, keepdims=True) @ value[h]
        z = state["attention.output.weight"] @ fused.reshape(-1) + state["attention.output.bias"]
        normalised = (z - z.mean()) / np.sqrt(z.var() + 1e-5)
        follower = normalised * state["attention.norm.weight"] + state["attention.norm.bias"]
        features = np.concatenate([tokens[0], follower])
        expected = np.tanh(state["regressor.weight"] @ features + state["regressor.bias"])
        np.testing.assert_allclose(measured.features[b, t].detach(), features, rtol=0, atol=1e-9)
        np.testing.assert_allclose(measured.prediction[b, t].detach(), expected, rtol=0, atol=1e-9)


def test_every_number_of_the_attention_counts() -> None:
    torch.manual_seed(0)
    head: Any = build_head(CONFIG).double()
    visual, audio = (torch.randn(2, 9, n, dtype=torch.float64) for n in (7, 5))
    head(visual, audio, torch.ones(2, 9, dtype=torch.bool)).sum().backward()
    for name, parameter in head.attention.named_parameters():
        assert parameter.grad.abs().min() > 1e-12, name


def test_published_sizes() -> None:
    with torch.device("meta"):
        head: Any = build_head(HeadConfig(name="lfan"))
    assert [level.second.conv.out_channels for level in head.visual_encoder.tcn.levels] == [
        256,
        256,
        128,
        128,
    ]
    assert [level.second.conv.out_channels for level in head.audio_encoder.tcn.levels] == [64, 64, 32, 32]
    assert [each.out_features for each in head.attention.projections] == [96, 96]
    assert head.attention.output.weight.shape == (64, 64)
    assert head.attention.dropout.probability == 0.1
    assert head.num_features == 128 + 64


def test_encoders_end_with_batch_normalisation() -> None:
    torch.manual_seed(0)
    head: Any = build_head(CONFIG)
    mask = torch.ones(4, 9, dtype=torch.bool)
    leader = head.visual_encoder(torch.randn(4, 9, 7), mask)
    torch.testing.assert_close(leader.mean(dim=(0, 1)), torch.zeros(4), rtol=0, atol=1e-5)
    assert (leader.norm(dim=-1) - 1).abs().max() > 0.1  # rows of TAGF's encoder have length 1
