"""RJCA and the heads with gates in it, each whole, against one computation in numpy on valid frames alone."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.func import functional_call

from tagf_head.errors import HeadError
from tagf_head.head_config import HeadConfig
from tagf_head.heads import Head, build_head
from tagf_head.layers.dropout import Dropout

Array = NDArray[np.float64]
L = 10
CONFIG = HeadConfig(
    visual_features=6,
    audio_features=5,
    recurrent_features=4,
    attention_dropout=0.0,
    reference_length=L,
    regressor_features=3,
    regressor_dropout=0.0,
)
NAMES = ("rjca", "dca", "grjca", "hgrjca", "iaca")
#: Frames of each window; the rest is padding.
VALID = ([0, 1, 2, 3, 4, 5, 6, 7, 8, 9], [0, 1, 2, 3], [2, 3, 6, 9], [5])


def make_head(name: str, **changes: Any) -> Head:
    """A head in float64 with random parameters."""
    torch.manual_seed(0)
    head = build_head(dataclasses.replace(CONFIG, name=name, **changes)).double()
    for parameter in head.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return head


def make_inputs(valid: tuple[list[int], ...] = VALID) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    mask = torch.zeros(len(valid), L, dtype=torch.bool)
    for b, frames in enumerate(valid):
        mask[b, frames] = True
    visual, audio = (
        10 * torch.randn(len(valid), L, width, generator=generator, dtype=torch.float64) for width in (6, 5)
    )
    visual[0, 3] = 0  # a frame without a face
    return visual, audio, mask


class NumpyHead:
    """From the equations, on one window without padding."""

    def __init__(self, head: Head, name: str, **changes: Any) -> None:
        self.state = {key: value.numpy().copy() for key, value in head.state_dict().items()}
        self.config = dataclasses.replace(CONFIG, name=name, **changes).resolved()
        self.gates: dict[str, Array] = {}

    def linear(self, name: str, x: Array) -> Array:
        return x @ self.state[f"{name}.weight"].T + self.state.get(f"{name}.bias", 0.0)

    def direction(self, name: str, x: Array) -> Array:
        input_weight, weight, input_bias, bias = (
            self.state[f"{name}.{part}_l0"] for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        hidden = cell = np.zeros(weight.shape[1])
        states = []
        for row in x:
            rows = input_weight @ row + input_bias + weight @ hidden + bias
            inward, forget, new, outward = np.split(rows, 4)
            cell = sigmoid(forget) * cell + sigmoid(inward) * np.tanh(new)
            hidden = sigmoid(outward) * np.tanh(cell)
            states.append(hidden)
        return np.array(states)

    def bilstm(self, name: str, x: Array) -> Array:
        back = self.direction(f"{name}.backwards.0", x[::-1])[::-1]
        return np.hstack([self.direction(f"{name}.forwards.0", x), back])

    def correlated(self, x: Array, joint: Array, query: Array, update: str) -> Array:
        """X plus what its correlation with the joint representation brings out."""
        correlation = np.tanh(x.T @ joint * L / len(x) / np.sqrt(joint.shape[1]))
        attended = np.maximum(np.tanh(query @ correlation), 0)
        return x + np.maximum(self.linear(update, attended), 0)

    def cross_step(self, t: int, visual: Array, audio: Array) -> tuple[Array, Array]:
        name = f"attention.steps.{0 if self.config.share_steps else t}"
        joint = self.linear(f"{name}.joint", np.hstack([visual, audio]))
        found = [
            self.correlated(x, joint, self.linear(f"{name}.{m}_query", x), f"{name}.{m}_update")
            for m, x in (("visual", visual), ("audio", audio))
        ]
        return found[0], found[1]

    def self_attended(self, modality: str, x: Array) -> Array:
        for t in range(self.config.num_steps):
            name = f"{modality}_self_attention.steps.{0 if self.config.share_steps else t}"
            joint, query = self.linear(f"{name}.joint", x), self.linear(f"{name}.query", x)
            x = self.correlated(x, joint, query, f"{name}.update")
        return x

    def softmax(self, name: str, x: Array) -> Array:
        exponents = np.exp(x @ self.state[f"{name}.linear.weight"].T / 0.1)
        return exponents / exponents.sum(axis=1, keepdims=True)

    def gate(self, gate: str, name: str, candidates: list[Array]) -> Array:
        """ReLU of the weighted sum; the weights are noted under the gate's name."""
        self.gates[gate] = weights = self.softmax(f"{name}.weights", candidates[-1])
        return np.maximum(sum(weights[:, [t]] * x for t, x in enumerate(candidates)), 0)

    def fuse(self, results: dict[str, list[Array]]) -> Array:
        name, num_steps, fused = self.config.name, self.config.num_steps, {}
        for m, h in results.items():
            if name == "rjca":
                fused[m] = h[-1]
            elif name == "dca":
                fused[m] = self.gate(m, f"{m}_gate", [h[0], h[-1]])
            elif name == "grjca":
                fused[m] = self.gate(m, f"{m}_gate", h)
            elif name == "hgrjca":
                gated = [
                    self.gate(f"{m}_H{t}", f"{m}_gates.steps.{t - 1}", [h[0], h[t]])
                    for t in range(1, num_steps + 1)
                ]
                fused[m] = self.gate(m, f"{m}_gates.across", gated)
            else:
                fused[m] = self.gate(m, f"{m}_gate", [self.self_attended(m, h[0]), h[-1]])
        if name == "iaca":
            weights = self.softmax("modality_weights", np.hstack([fused["visual"], fused["audio"]]))
            self.gates["modality"] = weights
            fused = {m: weights[:, [k]] * x for k, (m, x) in enumerate(fused.items())}
        return np.hstack([fused["visual"], fused["audio"]])

    def __call__(self, visual: Array, audio: Array) -> tuple[Array, Array]:
        """Prediction `(n, targets)` and features `(n, D)`."""
        visual = self.bilstm("visual_encoder.lstm", unit(visual))
        audio = self.bilstm("audio_encoder.lstm", unit(audio))
        results = {"visual": [visual], "audio": [audio]}
        for t in range(self.config.num_steps):
            visual, audio = self.cross_step(t, visual, audio)
            results["visual"].append(visual)
            results["audio"].append(audio)
        features = self.bilstm("lstm", self.fuse(results))
        hidden = np.maximum(self.linear("regressor.hidden", features), 0)
        output = self.state["regressor.output.weight"]  # (targets, H)
        by_target = hidden.reshape(len(hidden), *output.shape)
        summed = np.einsum("nth,th->nt", by_target, output) + self.state["regressor.output.bias"]
        return np.tanh(summed), features


def unit(x: Array) -> Array:
    norm = np.sqrt((x**2).sum(axis=1, keepdims=True))
    return x / np.where(norm == 0, 1, norm)


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize(
    "change", [{}, {"num_steps": 3, "share_steps": True}, {"targets": "arousal"}], ids=str
)
@pytest.mark.parametrize("name", NAMES)
def test_against_numpy(name: str, change: dict[str, Any]) -> None:
    head = make_head(name, **change)
    visual, audio, mask = make_inputs()
    padding = ~mask[..., None]
    measured = head(
        visual.masked_fill(padding, float("nan")),
        audio.masked_fill(padding, float("nan")),
        mask,
        return_all=True,
    )
    reference = NumpyHead(head, name, **change)
    for b, frames in enumerate(VALID):
        prediction, features = reference(visual[b, frames].numpy(), audio[b, frames].numpy())
        np.testing.assert_allclose(measured.prediction[b, frames].detach(), prediction, rtol=0, atol=1e-9)
        np.testing.assert_allclose(measured.features[b, frames].detach(), features, rtol=0, atol=1e-9)
        assert set(measured.gates) == set(reference.gates)
        for gate, weights in reference.gates.items():
            np.testing.assert_allclose(measured.gates[gate][b, frames].detach(), weights, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "candidates"),
    [
        ("rjca", {}),
        ("dca", dict.fromkeys(("visual", "audio"), ("unattended", "attended"))),
        ("grjca", dict.fromkeys(("visual", "audio"), ("H0", "H1", "H2"))),
        (
            "hgrjca",
            {
                "visual_H1": ("unattended", "attended"),
                "visual_H2": ("unattended", "attended"),
                "visual": ("H1", "H2"),
                "audio_H1": ("unattended", "attended"),
                "audio_H2": ("unattended", "attended"),
                "audio": ("H1", "H2"),
            },
        ),
        (
            "iaca",
            {"visual": ("self", "cross"), "audio": ("self", "cross"), "modality": ("visual", "audio")},
        ),
    ],
)
def test_gates_and_their_candidates(name: str, candidates: dict[str, tuple[str, ...]]) -> None:
    head = make_head(name)
    assert head.gate_candidates == candidates
    visual, audio, mask = make_inputs((*VALID, []))
    gates = head(visual, audio, mask, return_all=True).gates
    assert set(gates) == set(candidates)
    for gate, weights in gates.items():
        assert weights.shape == (*mask.shape, len(candidates[gate]))
        torch.testing.assert_close(weights.sum(dim=2), mask.double(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["hgrjca", "iaca"])  # which have all parts of the others
def test_gradients_of_the_weights_are_the_numerical_ones(name: str) -> None:
    head, inputs = make_head(name), make_inputs((VALID[2], []))
    names, values = zip(*head.named_parameters(), strict=True)
    assert torch.autograd.gradcheck(
        lambda *given: functional_call(head, dict(zip(names, given, strict=True)), inputs),
        values,
        fast_mode=True,
    )


@pytest.mark.parametrize("name", NAMES)
def test_encoders_and_mixing_are_those_asked_for(name: str) -> None:
    changes = {"stream_encoder": "tcn", "visual_channels": (4, 3), "audio_channels": (5,)}
    head = make_head(name, **changes, time_mixing="learned")
    visual, audio, mask = make_inputs()
    assert head(visual, audio, mask).shape == (len(VALID), L, 2)
    assert head.lstm.forwards[0].input_size == 3 + 5
    names = [key for key, _ in head.named_parameters()]
    assert any("tcn" in key for key in names)
    assert any("attention.steps.0.visual_mixing" in key for key in names)
    assert any("visual_self_attention.steps.0.mixing" in key for key in names) is (name == "iaca")
    with pytest.raises(HeadError, match="expected windows of 10 frames"):
        head(visual[:, :7], audio[:, :7], mask[:, :7])


@pytest.mark.parametrize("name", NAMES)
def test_dropout_has_the_rates_asked_for(name: str) -> None:
    head = make_head(name, attention_dropout=0.25, regressor_dropout=0.5)
    rates = {key: module.probability for key, module in head.named_modules() if isinstance(module, Dropout)}
    assert rates.pop("regressor.dropout") == 0.5
    of_attention = [rate for key, rate in rates.items() if "attention" in key]
    assert of_attention == [0.25] * (6 if name == "iaca" else 2)
    assert set(rates.values()) == {0.0, 0.25}


def test_unattended_features_pass_a_gate_that_is_closed() -> None:
    """DCA's gate, driven to either side, gives the encoders' features or those of RJCA."""
    head = make_head("dca")
    visual, audio, mask = make_inputs(VALID[:1])
    encoded = [head.visual_encoder(visual, mask), head.audio_encoder(audio, mask)]
    results = head.attention(*encoded, mask)
    for chosen, expected in ((0, encoded), (1, [result[-1] for result in results])):
        for gate, result in zip((head.visual_gate, head.audio_gate), results, strict=True):
            towards = torch.sign(result[-1][0, 0])  # the first frame's scores are as large as can be
            gate.weights.linear.weight.data[chosen] = 100 * towards
            gate.weights.linear.weight.data[1 - chosen] = -100 * towards
        fused, _ = head.fuse(*results, mask)
        torch.testing.assert_close(fused[0, 0], torch.cat(expected, dim=-1)[0, 0].relu(), rtol=0, atol=1e-9)


def test_gate_across_iterations_needs_more_than_one() -> None:
    with pytest.raises(HeadError, match=r"num_steps of at least 2.* got 1; .* 'dca'"):
        build_head(dataclasses.replace(CONFIG, name="hgrjca", num_steps=1))


def test_default_widths_are_the_published_ones() -> None:
    with torch.device("meta"):
        head = build_head(HeadConfig(name="rjca"))
    assert head.visual_encoder.num_features == head.audio_encoder.num_features == 512
    assert head.attention.steps[0].joint.weight.shape == (1024, 1024)
    assert head.num_features == 512
    assert head.regressor.hidden.weight.shape == (2 * 128, 512)
    assert head.regressor.dropout.probability == 0.6
