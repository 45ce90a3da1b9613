"""The whole TAGF head against one computation in numpy, and what is particular to it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from tagf_head.config import HeadConfig
from tagf_head.errors import HeadError
from tagf_head.tagf import TagfHead

Array = NDArray[np.float64]
CONFIG = HeadConfig(
    visual_features=7,
    audio_features=5,
    visual_channels=(6, 6, 4),
    audio_channels=(3, 3, 3),
    kernel_size=3,
    tcn_dropout=0.0,
    attention_dropout=0.0,
    reference_length=30,
    regressor_features=5,
)
LENGTHS = (12, 7, 9)
L = 12


def make_head(config: HeadConfig = CONFIG) -> TagfHead:
    """A head in float64 with random parameters and running statistics."""
    torch.manual_seed(0)
    head = TagfHead(config).double()
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
        self.config = config
        self.training = head.training

    def linear(self, name: str, x: Array) -> Array:
        return x @ self.state[f"{name}.weight"].T + self.state.get(f"{name}.bias", 0.0)

    def convolution(self, name: str, x: Array, dilation: int) -> Array:
        direction = self.state[f"{name}.conv.parametrizations.weight.original1"]
        norm = self.state[f"{name}.conv.parametrizations.weight.original0"]
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
                    residual = self.state[f"{prefix}.residual.weight"][..., 0]
                    x = x @ residual.T + self.state[f"{prefix}.residual.bias"]
                x = leaky(x + branch)
            encoded.append(x)
        return [unit(x) for x in self.batch_norm(f"{name}.batch_norm", encoded)]

    def attend(self, t: int, visual: Array, audio: Array) -> tuple[Array, Array]:
        prefix = f"attention.steps.{0 if self.config.share_steps else t}"
        joint = self.linear(f"{prefix}.joint", np.hstack([visual, audio]))
        scale = self.config.reference_length / len(visual) / np.sqrt(joint.shape[1])
        results = []
        for name, x in (("visual", visual), ("audio", audio)):
            correlation = np.tanh(x.T @ joint * scale)
            attended = np.maximum(np.tanh(self.linear(f"{prefix}.{name}_query", x) @ correlation), 0)
            results.append(x + np.maximum(self.linear(f"{prefix}.{name}_update", attended), 0))
        return results[0], results[1]

    def lstm(self, name: str, suffix: str, sequence: Array) -> Array:
        """`(n, M, D)` -> `(n, M, D)`, every frame a sequence of its own."""
        weight, recurrent, bias, second_bias = (
            self.state[f"{name}.lstm.{kind}_l0{suffix}"]
            for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        hidden = cell = np.zeros_like(sequence[:, 0])
        states = []
        for t in range(sequence.shape[1]):
            gates = sequence[:, t] @ weight.T + bias + hidden @ recurrent.T + second_bias
            inward, forget, new, outward = np.split(gates, 4, axis=1)
            cell = sigmoid(forget) * cell + sigmoid(inward) * np.tanh(new)
            hidden = sigmoid(outward) * np.tanh(cell)
            states.append(hidden)
        return np.stack(states, axis=1)

    def gate(self, name: str, candidates: list[Array]) -> tuple[Array, Array]:
        h = np.stack(candidates, axis=1)  # (n, M, D)
        forwards = self.lstm(name, "", h)
        backwards = self.lstm(name, "_reverse", h[:, ::-1])[:, ::-1]
        scores = np.concatenate([forwards, backwards], axis=2) @ self.state[f"{name}.score.weight"][0]
        alpha = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        return np.einsum("nm,nmd->nd", alpha, h), alpha

    def regress(self, name: str, windows: list[Array]) -> list[Array]:
        hidden = [self.linear(f"regressor.{name}.hidden", x) for x in windows]
        hidden = self.batch_norm(f"regressor.{name}.batch_norm", hidden)
        return [np.tanh(self.linear(f"regressor.{name}.output", leaky(x)))[:, 0] for x in hidden]

    def __call__(self, visual: list[Array], audio: list[Array]) -> list[tuple[Array, Array, Array]]:
        """Prediction `(n, 2)` and the gates' weights `(n, M)` of each window."""
        fused, weights = [], []
        encoded = zip(self.encode("visual_encoder", visual), self.encode("audio_encoder", audio), strict=True)
        for pair in encoded:
            results = [pair]
            for t in range(self.config.num_steps):
                results.append(self.attend(t, *results[-1]))
            kept = results if self.config.include_input else results[1:]
            visual_fused, visual_alpha = self.gate("visual_gate", [v for v, _ in kept])
            audio_fused, audio_alpha = self.gate("audio_gate", [a for _, a in kept])
            fused.append(np.hstack([visual_fused, audio_fused]))
            weights.append((visual_alpha, audio_alpha))
        targets = zip(self.regress("valence", fused), self.regress("arousal", fused), strict=True)
        return [(np.stack(target, axis=1), *alpha) for target, alpha in zip(targets, weights, strict=True)]


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
        {"causal": False},
        {"include_input": False},
        {"share_steps": True, "num_steps": 3},
        {"num_steps": 1},
    ],
    ids=str,
)
def test_against_numpy(change: dict[str, bool | int], training: bool) -> None:
    config = dataclasses.replace(CONFIG, **change)
    head = make_head(config).train(training)
    visual, audio, mask = make_inputs(config)
    windows = [[x[b, :n].numpy() for b, n in enumerate(LENGTHS)] for x in (visual, audio)]
    expected = NumpyHead(head, config)(*windows)
    measured = head.gated(visual, audio, mask)
    tensors = measured.prediction, measured.visual_weights, measured.audio_weights
    for b, n in enumerate(LENGTHS):
        for tensor, value in zip(tensors, expected[b], strict=True):
            np.testing.assert_allclose(tensor[b, :n].detach(), value, rtol=0, atol=1e-9)
    assert all((tensor[~mask] == 0).all() for tensor in tensors)


def test_call_gives_the_prediction_alone() -> None:
    head = make_head().eval()
    inputs = make_inputs()
    assert torch.equal(head(*inputs), head.gated(*inputs).prediction)


@pytest.mark.parametrize(("num_steps", "include_input"), [(1, True), (2, True), (2, False), (4, True)])
def test_number_of_candidates(num_steps: int, include_input: bool) -> None:
    config = dataclasses.replace(CONFIG, num_steps=num_steps, include_input=include_input)
    visual, audio, mask = make_inputs(config)
    gated = make_head(config).gated(visual, audio, mask)
    num_candidates = num_steps + include_input
    for weights in (gated.visual_weights, gated.audio_weights):
        assert weights.shape == (len(LENGTHS), L, num_candidates)
        torch.testing.assert_close(weights.sum(dim=2), mask.double(), rtol=0, atol=1e-12)


def test_shared_steps_have_one_step_of_parameters() -> None:
    separate = dataclasses.replace(CONFIG, num_steps=3)
    shared = dataclasses.replace(separate, share_steps=True)
    of_steps = [
        sum(p.numel() for p in TagfHead(config).attention.parameters()) for config in (separate, shared)
    ]
    assert of_steps[0] == 3 * of_steps[1]


def test_default_widths_are_the_released_ones() -> None:
    head = TagfHead(HeadConfig())
    assert head.visual_encoder.num_features == 256
    assert head.audio_encoder.num_features == 128
    assert len(head.attention.steps) == 2
    assert head.attention.steps[0].joint.weight.shape == (384, 384)
    assert head.regressor.valence.hidden.weight.shape == (256, 384)


def test_single_candidate_is_refused() -> None:
    with pytest.raises(HeadError, match=r"at least 2 candidates .*include_input"):
        TagfHead(dataclasses.replace(CONFIG, num_steps=1, include_input=False))
