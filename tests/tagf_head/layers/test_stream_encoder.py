"""The encoder that all heads share."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tagf_head.errors import HeadError
from tagf_head.head_config import HeadConfig
from tagf_head.layers.stream_encoder import audio_encoder, visual_encoder

CONFIG = HeadConfig(
    visual_features=6,
    audio_features=5,
    visual_channels=(8, 4),
    audio_channels=(3, 3),
    kernel_size=3,
    tcn_dropout=0.0,
).resolved()


@pytest.mark.parametrize("training", [True, False])
def test_encoder_is_the_chain_of_its_parts(training: bool) -> None:
    torch.manual_seed(0)
    encoder = visual_encoder(CONFIG).double().train(training)
    encoder.batch_norm.running_mean += 0.1
    mask = torch.arange(7) < torch.tensor([7, 4])[:, None]
    rows = 20 * torch.randn(2, 7, 6, dtype=torch.float64)
    unit = rows / rows.norm(dim=-1, keepdim=True)
    convolved = encoder.tcn(unit, mask)[mask].detach().numpy()
    mean, variance = convolved.mean(axis=0), convolved.var(axis=0)
    if not training:
        mean, variance = encoder.batch_norm.running_mean.numpy().copy(), np.ones(4)
    expected = (convolved - mean) / np.sqrt(variance + 1e-5)
    expected /= np.linalg.norm(expected, axis=-1, keepdims=True)
    measured = encoder(rows, mask)
    np.testing.assert_allclose(measured[mask].detach().numpy(), expected, rtol=0, atol=1e-9)
    assert (measured[~mask] == 0).all()


def test_scale_of_an_embedding_has_no_influence() -> None:
    encoder = audio_encoder(CONFIG).double()
    rows, mask = torch.randn(2, 7, 5, dtype=torch.float64), torch.ones(2, 7, dtype=torch.bool)
    scale = torch.rand(2, 7, 1, dtype=torch.float64) + 0.5
    torch.testing.assert_close(encoder(scale * rows, mask), encoder(rows, mask), rtol=0, atol=1e-12)


def test_nan_in_padding_has_no_influence() -> None:
    encoder = audio_encoder(CONFIG)
    mask = torch.arange(7) < torch.tensor([7, 4])[:, None]
    rows = torch.randn(2, 7, 5)
    expected = encoder(rows, mask)
    measured = encoder(rows.masked_fill(~mask[..., None], float("nan")), mask)
    assert torch.equal(measured, expected)
    measured.square().sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in encoder.parameters())


def test_float16_rows_are_computed_in_the_parameters_dtype() -> None:
    encoder = audio_encoder(CONFIG)
    rows, mask = (100 * torch.randn(2, 7, 5)).half(), torch.ones(2, 7, dtype=torch.bool)
    measured = encoder(rows, mask)
    assert measured.dtype is torch.float32
    assert torch.equal(measured, encoder(rows.float(), mask))


def test_mistakes_are_named() -> None:
    encoder = visual_encoder(CONFIG)
    rows, mask = torch.randn(2, 7, 6), torch.ones(2, 7, dtype=torch.bool)
    with pytest.raises(HeadError, match=r"visual rows: expected \(windows, frames, 6\), got \(2, 7, 5\)"):
        encoder(rows[..., :5], mask)
    with pytest.raises(HeadError, match=r"visual rows: .* got \(7, 6\)"):
        encoder(rows[0], mask)
    with pytest.raises(
        HeadError, match=r"frame_mask: expected torch.bool \(2, 7\).* got torch.bool \(2, 6\)"
    ):
        encoder(rows, mask[:, :6])
    with pytest.raises(HeadError, match=r"got torch\.float32"):
        encoder(rows, mask.float())


def test_gradient_is_the_numerical_one() -> None:
    torch.manual_seed(0)
    encoder = audio_encoder(CONFIG).double()
    rows = torch.randn(2, 4, 5, dtype=torch.float64, requires_grad=True)
    mask = torch.arange(4) < torch.tensor([4, 2])[:, None]
    assert torch.autograd.gradcheck(lambda x: encoder(x, mask), rows)
