"""Heads with a transformer, or an LSTM, over the frames: against one computation in numpy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from tagf_head.head_config import HeadConfig
from tagf_head.heads import Head, build_head

Array = NDArray[np.float64]
L = 14
SIZES: dict[str, Any] = {
    "visual_features": 7,
    "audio_features": 5,
    "visual_channels": (6, 4),
    "audio_channels": (3, 3),
    "kernel_size": 3,
    "num_layers": 2,
    "num_attention_heads": 2,
    "model_features": 8,
    "feedforward_features": 9,
    "regressor_features": 5,
    "tcn_dropout": 0.0,
    "sequence_dropout": 0.0,
    "regressor_dropout": 0.0,
}


def make_head(name: str, **changes: Any) -> Head:
    """A head in float64 with random parameters and without dropout."""
    torch.manual_seed(0)
    head = build_head(HeadConfig(name=name, **SIZES | changes)).double()
    for parameter in head.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return head


def make_inputs() -> tuple[Tensor, Tensor, Tensor]:
    """Windows with padding at the end, in front and between."""
    generator = torch.Generator().manual_seed(1)
    visual, audio = (10 * torch.randn(3, L, n, generator=generator, dtype=torch.float64) for n in (7, 5))
    visual[0, 3] = 0  # a frame without a face
    mask = torch.rand(3, L, generator=generator) < 0.7
    mask[0], mask[1] = torch.arange(L) < 9, torch.arange(L) >= 4
    return visual, audio, mask


class NumpyHead:
    """From the publications' equations, on a list of windows without padding."""

    def __init__(self, head: Head, config: HeadConfig) -> None:
        self.state = {name: value.numpy().copy() for name, value in head.state_dict().items()}
        self.config = config.resolved()
        self.training = head.training

    def linear(self, name: str, x: Array) -> Array:
        return x @ self.state[f"{name}.weight"].T + self.state.get(f"{name}.bias", 0.0)

    def layer_norm(self, name: str, x: Array) -> Array:
        centred = x - x.mean(axis=1, keepdims=True)
        unit = centred / np.sqrt(x.var(axis=1, keepdims=True) + 1e-5)
        return unit * self.state[f"{name}.weight"] + self.state.get(f"{name}.bias", 0.0)

    def attend(self, name: str, x: Array) -> Array:
        width = x.shape[1] // self.config.num_attention_heads
        query, key, value = (self.linear(f"{name}.{of}", x) for of in ("query", "key", "value"))
        heads = []
        for start in range(0, x.shape[1], width):
            part = slice(start, start + width)
            scores = np.exp(query[:, part] @ key[:, part].T / math.sqrt(width))
            heads.append(scores / scores.sum(axis=1, keepdims=True) @ value[:, part])
        return self.linear(f"{name}.attended", np.hstack(heads))

    def transformer(self, name: str, x: Array) -> Array:
        if self.config.positions:
            x = x + np.array(
                [[code(place, k, x.shape[1]) for k in range(x.shape[1])] for place in range(len(x))]
            )
        for layer in range(self.config.num_layers):
            prefix = f"{name}.layers.{layer}"
            x = self.layer_norm(f"{prefix}.attended_norm", x + self.attend(prefix, x))
            hidden = np.maximum(self.linear(f"{prefix}.hidden", x), 0)
            x = self.layer_norm(f"{prefix}.output_norm", x + self.linear(f"{prefix}.output", hidden))
        return x

    def lstm(self, name: str, x: Array) -> Array:
        for layer in range(self.config.num_layers):
            ahead = self.directed_lstm(f"{name}.forwards.{layer}", x)
            back = self.directed_lstm(f"{name}.backwards.{layer}", x[::-1])[::-1]
            x = np.hstack([ahead, back])
        return x

    def directed_lstm(self, name: str, x: Array) -> Array:
        inputs, recurrent = self.state[f"{name}.weight_ih_l0"], self.state[f"{name}.weight_hh_l0"]
        bias = self.state[f"{name}.bias_ih_l0"] + self.state[f"{name}.bias_hh_l0"]
        hidden = cell = np.zeros(recurrent.shape[1])
        states = []
        for row in x:
            inward, forget, new, outward = np.split(inputs @ row + recurrent @ hidden + bias, 4)
            cell = sigmoid(forget) * cell + sigmoid(inward) * np.tanh(new)
            hidden = sigmoid(outward) * np.tanh(cell)
            states.append(hidden)
        return np.array(states)

    def fused(self, visual: Array, audio: Array) -> Array:
        streams = [self.linear("visual_affine", unit(visual)), self.linear("audio_affine", unit(audio))]
        return np.hstack(streams) * math.sqrt(self.config.model_features)

    def regress(self, x: Array) -> Array:
        hidden = np.maximum(self.linear("regressor.hidden", x), 0)
        return np.tanh(
            by_target(hidden, self.state["regressor.output.weight"]) + self.state["regressor.output.bias"]
        )


def by_target(hidden: Array, weight: Array) -> Array:
    return np.einsum("nth,th->nt", hidden.reshape(len(hidden), *weight.shape), weight)


def code(place: int, feature: int, width: int) -> float:
    angle = place / 10_000 ** ((feature - feature % 2) / width)
    return math.cos(angle) if feature % 2 else math.sin(angle)


def unit(x: Array) -> Array:
    norm = np.sqrt((x**2).sum(axis=1, keepdims=True))
    return x / np.where(norm == 0, 1, norm)


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("transformer", {}),
        ("transformer", {"num_layers": 1, "num_attention_heads": 4, "targets": "valence"}),
        ("situ_transformer", {}),
        ("fuxi_transformer", {}),
        ("situ_lstm", {}),
        ("situ_lstm", {"num_layers": 1}),
    ],
    ids=str,
)
def test_early_fusion_against_numpy(name: str, changes: dict[str, Any], training: bool) -> None:
    head = make_head(name, **changes).train(training)
    reference = NumpyHead(head, HeadConfig(name=name, **SIZES | changes))
    visual, audio, mask = make_inputs()
    measured = head(visual, audio, mask, return_all=True)
    for window, valid in enumerate(mask):
        frames = reference.fused(visual[window, valid].numpy(), audio[window, valid].numpy())
        encode = reference.lstm if name == "situ_lstm" else reference.transformer
        features = encode("encoder.lstm" if name == "situ_lstm" else "encoder", frames)
        for tensor, expected in (
            (measured.features, features),
            (measured.prediction, reference.regress(features)),
        ):
            np.testing.assert_allclose(tensor[window, valid].detach(), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("positions", [False, True])
@pytest.mark.parametrize("training", [True, False])
def test_tcn_transformer_against_numpy(training: bool, positions: bool) -> None:
    changes = {"positions": positions}
    head: Any = make_head("tcn_transformer", **changes).train(training)
    reference = NumpyHead(head, HeadConfig(name="tcn_transformer", **SIZES | changes))
    visual, audio, mask = make_inputs()
    # The encoders have tests of their own.
    streams = [
        encoder(rows, mask).detach().numpy()
        for encoder, rows in ((head.visual_encoder, visual), (head.audio_encoder, audio))
    ]
    measured = head.train(training)(visual, audio, mask, return_all=True)
    windows = [
        reference.transformer(
            "transformer", reference.linear("fusion", np.hstack([stream[b, valid] for stream in streams]))
        )
        for b, valid in enumerate(mask.numpy())
    ]
    hidden = reference.linear("regressor.hidden", np.concatenate(windows))
    mean, variance = hidden.mean(axis=0), hidden.var(axis=0)
    if not training:
        mean, variance = (
            reference.state[f"regressor.batch_norm.running_{of}"] for of in ("mean", "variance")
        )
    scale = reference.state["regressor.batch_norm.weight"] / np.sqrt(variance + 1e-5)
    hidden = (hidden - mean) * scale + reference.state["regressor.batch_norm.bias"]
    summed = by_target(np.maximum(hidden, 0.01 * hidden), reference.state["regressor.output.weight"])
    expected = np.tanh(summed + reference.state["regressor.output.bias"])
    np.testing.assert_allclose(measured.features[mask].detach(), np.concatenate(windows), rtol=0, atol=1e-9)
    np.testing.assert_allclose(measured.prediction[mask].detach(), expected, rtol=0, atol=1e-9)


def test_published_sizes() -> None:
    with torch.device("meta"):
        heads = {
            name: build_head(HeadConfig(name=name))
            for name in (
                "transformer",
                "situ_transformer",
                "situ_lstm",
                "fuxi_transformer",
                "tcn_transformer",
            )
        }
    found: Any = heads
    for name, num_layers, width in (
        ("transformer", 4, 512),
        ("situ_transformer", 4, 512),
        ("fuxi_transformer", 4, 256),
    ):
        assert len(found[name].encoder.layers) == num_layers
        assert found[name].num_features == width
        assert found[name].encoder.layers[0].num_heads == 4
        assert found[name].encoder.layers[0].dropout.probability == 0.3
        assert found[name].encoder.positions is (name != "situ_transformer")
    assert found["situ_lstm"].num_features == 512
    both = found["tcn_transformer"]
    assert [both.visual_encoder.num_features, both.audio_encoder.num_features] == [128, 128]
    assert len(both.transformer.layers) == 8
    assert both.num_features == 512
    assert not both.transformer.positions
    assert both.regressor.hidden.weight.shape == (2 * 256, 512)


def test_one_graph_for_any_mask() -> None:
    head, (visual, audio, mask) = make_head("transformer"), make_inputs()
    mask[2] = False
    compiled = torch.compile(head, backend="eager", fullgraph=True)
    for each in (mask, mask.roll(1, dims=0)):
        assert torch.equal(compiled(visual, audio, each), head(visual, audio, each))


def test_streams_do_not_drown_in_positions() -> None:
    torch.manual_seed(0)
    head: Any = build_head(HeadConfig(name="transformer", num_layers=1))
    seen = []
    head.encoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    head(torch.randn(1, 20, 512), torch.randn(1, 20, 128), torch.ones(1, 20, dtype=torch.bool))
    assert 0.3 < seen[0].square().mean().sqrt() < 3  # positions have 0.7
