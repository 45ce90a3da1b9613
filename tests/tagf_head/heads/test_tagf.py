"""The whole TAGF head against one computation in numpy, and what is particular to it."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.func import functional_call

from tagf_head.head_config import HeadConfig
from tagf_head.heads.tagf import TagfHead

Array = NDArray[np.float64]
CONFIG = HeadConfig(
    visual_features=7,
    audio_features=5,
    visual_channels=(6, 6, 4),
    audio_channels=(3, 3, 3),
    kernel_size=3,
    tcn_dropout=0.0,
    attention_dropout=0.0,
    gate_dropout=0.0,
    reference_length=30,
    regressor_features=5,
)
LENGTHS = (12, 7, 9)
L = 12


def make_head(config: HeadConfig = CONFIG) -> TagfHead:
    """A head in float64 with random parameters and running statistics, and without dropout."""
    torch.manual_seed(0)
    head = TagfHead(config.resolved()).double()
    for parameter in head.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    for name, buffer in head.named_buffers():
        buffer += 0.2 * torch.rand_like(buffer) if "mean" in name else torch.rand_like(buffer)
    return head


def make_inputs(config: HeadConfig = CONFIG) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    mask = torch.arange(L) < torch.tensor(LENGTHS)[:, None]
    visual, audio = (
        10 * torch.randn(len(LENGTHS), L, width, generator=generator, dtype=torch.float64)
        for width in (config.visual_features, config.audio_features)
    )
    visual[0, 3] = 0  # a frame without a face
    return visual, audio, mask


class NumpyHead:
    """Section by section from the paper's equations, on a list of windows without padding."""

    def __init__(self, head: TagfHead, config: HeadConfig) -> None:
        self.state = {name: value.numpy().copy() for name, value in head.state_dict().items()}
        self.config = config.resolved()
        self.training = head.training

    def linear(self, name: str, x: Array) -> Array:
        return x @ self.state[f"{name}.weight"].T + self.state.get(f"{name}.bias", 0.0)

    def convolution(self, name: str, x: Array, dilation: int) -> Array:
        direction = self.state[f"{name}.conv.parametrizations.weight.original1"][:, :, 0]
        norm = self.state[f"{name}.conv.parametrizations.weight.original0"][:, :, 0]
        weight = norm * direction / np.sqrt((direction**2).sum(axis=(1, 2), keepdims=True))
        reach = (self.config.kernel_size - 1) * dilation
        left = reach if self.config.causal else reach // 2
        padded = np.pad(x, ((left, reach - left), (0, 0)))
        taps = [
            padded[k * dilation : k * dilation + len(x)] @ weight[:, :, k].T for k in range(weight.shape[2])
        ]
        return np.sum(taps, axis=0) + self.state[f"{name}.conv.bias"]

    def batch_norm(self, name: str, windows: list[Array]) -> list[Array]:
        stacked = np.concatenate(windows)
        mean, variance = stacked.mean(axis=0), stacked.var(axis=0)
        if not self.training:
            mean, variance = self.state[f"{name}.running_mean"], self.state[f"{name}.running_variance"]
        scale = self.state[f"{name}.weight"] / np.sqrt(variance + 1e-5)
        return [(x - mean) * scale + self.state[f"{name}.bias"] for x in windows]

    def encode(self, name: str, windows: list[Array]) -> list[Array]:
        encoded = []
        for window in windows:
            x = unit(window)
            for level in range(len(self.config.visual_channels)):
                prefix = f"{name}.tcn.levels.{level}"
                branch = leaky(self.convolution(f"{prefix}.first", x, 2**level))
                branch = leaky(self.convolution(f"{prefix}.second", branch, 2**level))
                if f"{prefix}.residual.weight" in self.state:
                    x = self.linear(f"{prefix}.residual", x)
                x = leaky(x + branch)
            encoded.append(x)
        return [unit(x) for x in self.batch_norm(f"{name}.batch_norm", encoded)]

    def attend(self, t: int, visual: Array, audio: Array) -> tuple[Array, Array]:
        prefix = f"attention.steps.{0 if self.config.share_steps else t}"
        joint = self.linear(f"{prefix}.joint", np.hstack([visual, audio]))
        scale = self.config.reference_length / len(visual) / np.sqrt(joint.shape[1])
        results = []
        for name, x in (("visual", visual), ("audio", audio)):
            keys = x
            if self.config.time_mixing == "learned":
                n, mixing = len(x), self.state[f"{prefix}.{name}_mixing.linear.weight"]
                keys = mixing[:n, :n] @ x + self.state[f"{prefix}.{name}_mixing.linear.bias"][:n, None]
            correlation = np.tanh(keys.T @ joint * scale)
            attended = np.maximum(np.tanh(self.linear(f"{prefix}.{name}_query", x) @ correlation), 0)
            results.append(x + np.maximum(self.linear(f"{prefix}.{name}_update", attended), 0))
        return results[0], results[1]

    def lstm(self, name: str, sequence: Array) -> Array:
        """`(n, M, D)` -> `(n, M, D)`, every frame a sequence of its own."""
        hidden = self.state.get(f"{name}.first_hidden", 0.0) * np.ones_like(sequence[:, 0])
        cell = self.state.get(f"{name}.first_cell", 0.0) * np.ones_like(sequence[:, 0])
        states = []
        for t in range(sequence.shape[1]):
            rows = self.linear(f"{name}.input", sequence[:, t]) + self.linear(f"{name}.recurrent", hidden)
            inward, forget, new, outward = np.split(rows, 4, axis=1)
            cell = sigmoid(forget) * cell + sigmoid(inward) * np.tanh(new)
            hidden = sigmoid(outward) * np.tanh(cell)
            states.append(hidden)
        return np.stack(states, axis=1)

    def gate(self, name: str, candidates: list[Array]) -> tuple[Array, Array]:
        h = np.stack(candidates, axis=1)  # (n, M, D)
        forwards = self.lstm(f"{name}.lstm.forwards", h)
        backwards = self.lstm(f"{name}.lstm.backwards", h[:, ::-1])[:, ::-1]
        g = np.concatenate([forwards, backwards], axis=2)
        if self.config.score == "learned":
            scores = self.linear(f"{name}.score.linear", g)[..., 0]
        else:
            z = self.linear(f"{name}.score.linear", np.concatenate([h, g], axis=2))
            scores = 10 * (z / np.sqrt((z**2).sum(axis=2, keepdims=True))).mean(axis=2)
        alpha = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        return np.einsum("nm,nmd->nd", alpha, h), alpha

    def regress(self, windows: list[Array]) -> list[Array]:
        hidden = [self.linear("regressor.hidden", x) for x in windows]
        hidden = [leaky(x) for x in self.batch_norm("regressor.batch_norm", hidden)]
        output = self.state["regressor.output.weight"]  # (targets, H)
        summed = [np.einsum("nth,th->nt", x.reshape(len(x), *output.shape), output) for x in hidden]
        return [np.tanh(x + self.state["regressor.output.bias"]) for x in summed]

    def __call__(self, visual: list[Array], audio: list[Array]) -> list[tuple[Array, ...]]:
        """Prediction `(n, 2)` and the gates' weights `(n, M)`, if there are any, of each window."""
        fused, weights = [], list[tuple[Array, ...]]()
        encoded = zip(self.encode("visual_encoder", visual), self.encode("audio_encoder", audio), strict=True)
        for pair in encoded:
            results = [pair]
            for t in range(self.config.num_steps):
                results.append(self.attend(t, *results[-1]))
            kept = results if self.config.include_input else results[1:]
            if self.config.fusion == "gate":
                visual_fused, visual_alpha = self.gate("visual_gate", [v for v, _ in kept])
                audio_fused, audio_alpha = self.gate("audio_gate", [a for _, a in kept])
                fused.append(np.hstack([visual_fused, audio_fused]))
                weights.append((visual_alpha, audio_alpha))
            else:
                steps = np.array([np.hstack(pair) for pair in kept])
                fused.append(steps.mean(axis=0) if self.config.fusion == "mean" else steps[-1])
                weights.append(())
        return [(target, *alpha) for target, alpha in zip(self.regress(fused), weights, strict=True)]


def unit(x: Array) -> Array:
    norm = np.sqrt((x**2).sum(axis=1, keepdims=True))
    return x / np.where(norm == 0, 1, norm)


def leaky(x: Array) -> Array:
    return np.maximum(x, 0.01 * x)


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    "change",
    [
        {},
        {"name": "paper"},
        {"name": "released", "targets": "arousal", "reference_length": L},
        {"causal": False},
        {"include_input": False},
        {"share_steps": True, "num_steps": 3},
        {"num_steps": 1},
        {"score": "channel_mean"},
        {"time_mixing": "learned", "reference_length": L},
        {"targets": "valence"},
        {"name": "tagf_mean"},
        {"name": "tagf_mean", "include_input": False},
        {"name": "tagf_last", "num_steps": 3},
    ],
    ids=str,
)
def test_against_numpy(change: dict[str, Any], training: bool) -> None:
    config = dataclasses.replace(CONFIG, **change)
    head = make_head(config).train(training)
    visual, audio, mask = make_inputs(config)
    windows = [[x[b, :n].numpy() for b, n in enumerate(LENGTHS)] for x in (visual, audio)]
    expected = NumpyHead(head, config)(*windows)
    measured = head(visual, audio, mask, return_all=True)
    tensors = measured.prediction, *measured.gates.values()
    for b, n in enumerate(LENGTHS):
        for tensor, value in zip(tensors, expected[b], strict=True):
            assert tensor.shape[2] == value.shape[1]
            np.testing.assert_allclose(tensor[b, :n].detach(), value, rtol=0, atol=1e-9)
    assert all((tensor[~mask] == 0).all() for tensor in tensors)


def test_gradients_of_the_weights_are_the_numerical_ones() -> None:
    config = dataclasses.replace(CONFIG, reference_length=L, score="channel_mean", time_mixing="learned")
    head, (visual, audio, mask) = make_head(config), make_inputs(config)
    names, values = zip(*head.named_parameters(), strict=True)
    assert torch.autograd.gradcheck(
        lambda *given: functional_call(head, dict(zip(names, given, strict=True)), (visual, audio, mask)),
        values,
        fast_mode=True,
    )


@pytest.mark.parametrize(("num_steps", "include_input"), [(1, True), (2, True), (2, False), (4, True)])
def test_number_of_candidates(num_steps: int, include_input: bool) -> None:
    config = dataclasses.replace(CONFIG, num_steps=num_steps, include_input=include_input)
    visual, audio, mask = make_inputs(config)
    gates = make_head(config)(visual, audio, mask, return_all=True).gates
    num_candidates = num_steps + include_input
    for weights in gates.values():
        assert weights.shape == (len(LENGTHS), L, num_candidates)
        torch.testing.assert_close(weights.sum(dim=2), mask.double(), rtol=0, atol=1e-12)


def test_shared_steps_have_one_step_of_parameters() -> None:
    separate = dataclasses.replace(CONFIG, num_steps=3)
    shared = dataclasses.replace(separate, share_steps=True)
    of_steps = [
        sum(p.numel() for p in make_head(config).attention.parameters()) for config in (separate, shared)
    ]
    assert of_steps[0] == 3 * of_steps[1]


def test_default_widths_are_the_released_ones() -> None:
    with torch.device("meta"):
        head = TagfHead(HeadConfig().resolved())
    assert head.visual_encoder.num_features == 256
    assert head.audio_encoder.num_features == 128
    assert len(head.attention.steps) == 2
    assert head.attention.steps[0].joint.weight.shape == (384, 384)
    assert head.regressor.hidden.weight.shape == (2 * 256, 384)
