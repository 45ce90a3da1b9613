"""What heads cost: counted against formulas."""

from __future__ import annotations

import math

import pytest
import torch

from tagf_head.head_config import HeadConfig
from tagf_head.head_cost import head_cost, multiply_adds_per_frame, num_parameters
from tagf_head.heads import build_head

V, A, D, H = 7, 5, 6, 4  # widths: visual, audio, of frames, hidden per target
L = 9


def test_of_convolutions_and_regressor() -> None:
    config = HeadConfig(
        name="visual_only",
        visual_features=V,
        visual_channels=(D,),
        kernel_size=3,
        regressor_features=H,
    )
    convolutions = 3 * (V * D + D * D) + V * D  # two of one level, and the residual's linear map
    assert multiply_adds_per_frame(config, window=L) == convolutions + D * 2 * H
    weights = convolutions + 2 * D + 3 * D  # the norms of weight normalisation, and the biases
    assert num_parameters(build_head(config)) == weights + 2 * D + D * 2 * H + 2 * 2 * H + 2 * H + 2


@pytest.mark.parametrize("num_layers", [1, 2])
def test_of_lstms(num_layers: int) -> None:
    config = HeadConfig(
        name="situ_lstm",
        visual_features=V,
        audio_features=A,
        model_features=D,
        num_layers=num_layers,
        regressor_features=H,
    )
    direction = 4 * (D // 2) * (D + D // 2)
    expected = (V + A) * D // 2 + num_layers * 2 * direction + D * 2 * H
    assert multiply_adds_per_frame(config, window=L) == expected


@pytest.mark.parametrize("window", [L, 3 * L])
def test_of_attention_grows_with_the_window(window: int) -> None:
    config = HeadConfig(
        name="transformer",
        visual_features=V,
        audio_features=A,
        model_features=D,
        num_layers=2,
        num_attention_heads=3,
        feedforward_features=10,
        regressor_features=H,
    )
    layer = 4 * D * D + 2 * window * D + 2 * D * 10
    assert multiply_adds_per_frame(config, window=window) == (V + A) * D // 2 + 2 * layer + D * 2 * H


def test_two_heads_cost_twice_as_much() -> None:
    together = HeadConfig(visual_channels=(D,), audio_channels=(D,), regressor_features=H, reference_length=L)
    counts = [
        multiply_adds_per_frame(HeadConfig(**vars(together) | {"targets": targets}), window=L)
        for targets in ("valence", "separate")
    ]
    assert counts[1] == 2 * counts[0]


def test_speeds_are_measured() -> None:
    config = HeadConfig(name="concat", visual_channels=(D,), audio_channels=(D,), uncertainty=True)
    state = torch.get_rng_state()
    cost = head_cost(config, window=L, batch_size=2, device="cpu", num_rounds=2)
    assert torch.equal(torch.get_rng_state(), state)
    assert cost.name == "concat"
    assert cost.num_parameters == num_parameters(build_head(config))
    assert cost.multiply_adds_per_frame > 0
    assert 0 < cost.train_windows_per_s < math.inf
    assert 0 < cost.predict_windows_per_s < math.inf
