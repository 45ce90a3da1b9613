"""Weights under other names and in other forms: a head filled with them predicts what the original does."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor

from tagf_head.errors import CheckpointError
from tagf_head.head_config import HeadConfig
from tagf_head.heads import Head, build_head
from tagf_head.heads.released_weights import load_named_weights

L, D_V, D_A, HIDDEN = 8, 6, 4, 5
CONFIG = HeadConfig(
    name="released",
    visual_features=7,
    audio_features=5,
    visual_channels=(6, D_V),
    audio_channels=(D_A, D_A),
    kernel_size=3,
    reference_length=L,
    regressor_features=HIDDEN,
    targets="arousal",
)
NAMES = {
    "visual_encoder.tcn.levels.0": "temporal.video.network.0",
    "visual_encoder.tcn.levels.1": "temporal.video.network.1",
    "audio_encoder.tcn": "temporal.audio",
    "visual_encoder.batch_norm": "bn_video",
    "audio_encoder.batch_norm": "bn_audio",
    "attention.steps": "coattention",
    "attention.steps.1.joint": "coattention.last_joint",
    "visual_gate.lstm": "lstm_video",
    "audio_gate.lstm": "lstm_audio",
    "visual_gate.lstm.forwards.first_hidden": "start.video.h",
    "visual_gate.score": "score_video",
    "audio_gate.score": "score_audio",
    "regressor.hidden": "regressor.0",
    "regressor.batch_norm": "regressor.1",
    "regressor.output": "regressor.4",
}


def make_head(seed: int) -> Head:
    torch.manual_seed(seed)
    head = build_head(CONFIG).double().eval()
    for name, tensor in head.state_dict().items():
        tensor += torch.rand_like(tensor) if "variance" in name else 0.3 * torch.randn_like(tensor)
    return head


def make_inputs() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(9)
    visual, audio = (torch.randn(2, L, n, generator=generator, dtype=torch.float64) for n in (7, 5))
    return visual, audio, torch.arange(L) < torch.tensor([L, 5])[:, None]


def foreign_tensors(head: Head) -> dict[str, Tensor]:
    """The head's tensors as a program made of torch's own modules would save them."""
    tensors: dict[str, Tensor] = {}
    for name, tensor in head.state_dict().items():
        ours = max((ours for ours in NAMES if name == ours or name.startswith(f"{ours}.")), key=len)
        rest = name.removeprefix(ours)
        found = re.fullmatch(r"(.*)\.(forwards|backwards)(\.(input|recurrent)\..*)", rest)
        above, way, direction = found.group(1, 2, 3) if found else ("", "", "")
        suffix = "_reverse" if way == "backwards" else ""
        theirs = f"{NAMES[ours]}{above}"
        if direction == ".input.bias":  # one bias of two
            second = torch.randn_like(tensor)
            tensors |= {
                f"{theirs}.bias_ih_l0{suffix}": tensor - second,
                f"{theirs}.bias_hh_l0{suffix}": second,
            }
        elif direction == ".input.weight":
            tensors[f"{theirs}.weight_ih_l0{suffix}"] = tensor
        elif direction == ".recurrent.weight":
            tensors[f"{theirs}.weight_hh_l0{suffix}"] = tensor
        elif rest.endswith("original0"):
            tensors[theirs + rest.replace("parametrizations.weight.original0", "weight_g")] = tensor[:, 0]
        elif rest.endswith("original1"):
            tensors[theirs + rest.replace("parametrizations.weight.original1", "weight_v")] = tensor[:, :, 0]
        elif "residual.weight" in rest:  # a convolution with one tap
            tensors[f"{theirs}{rest}"] = tensor[..., None]
        else:
            tensors[f"{NAMES[ours]}{rest}".replace("running_variance", "running_var")] = tensor
    for name in ("bn_video", "regressor.1"):
        tensors[f"{name}.num_batches_tracked"] = torch.tensor(7)
    return {name: tensor.clone() for name, tensor in tensors.items()}


def test_head_predicts_what_the_original_does() -> None:
    original, head, inputs = make_head(0), make_head(1), make_inputs()
    tensors = foreign_tensors(original)
    assert not any(
        name.endswith(("original0", "forwards.input.weight", "running_variance")) for name in tensors
    )
    assert "lstm_audio.weight_hh_l0_reverse" in tensors
    load_named_weights(head, tensors, NAMES)
    expected = original(*inputs, return_all=True)
    measured = head(*inputs, return_all=True)
    assert 0.01 < expected.prediction[inputs[2]].abs().min() < expected.prediction.abs().max() < 0.99
    torch.testing.assert_close(measured.prediction, expected.prediction, rtol=0, atol=1e-12)
    for name, weights in expected.gates.items():
        torch.testing.assert_close(measured.gates[name], weights, rtol=0, atol=1e-12)


def test_bias_in_front_of_a_batch_norm_goes_into_its_mean() -> None:
    original, head, inputs = make_head(0), make_head(1), make_inputs()
    tensors, bias = foreign_tensors(original), torch.randn(HIDDEN, dtype=torch.float64)
    tensors["regressor.0.bias"] = bias
    tensors["regressor.1.running_mean"] += bias
    load_named_weights(head, tensors, NAMES)
    torch.testing.assert_close(head(*inputs), original(*inputs), rtol=0, atol=1e-12)


def test_tensors_of_the_names_and_forms_of_ours_need_no_translation() -> None:
    original, head, inputs = make_head(0), make_head(1), make_inputs()
    modules = {name: name for name, _ in head.named_children()}
    load_named_weights(head, original.state_dict(), modules)
    assert torch.equal(head(*inputs), original(*inputs))


def test_weights_take_the_dtype_of_the_head() -> None:
    head = make_head(1).float()
    load_named_weights(head, foreign_tensors(make_head(0)), NAMES)
    assert {tensor.dtype for tensor in head.state_dict().values()} == {torch.float32}
    visual, audio, mask = make_inputs()
    expected = make_head(0)(visual, audio, mask)
    measured = head(visual.float(), audio.float(), mask)
    torch.testing.assert_close(measured.double(), expected, rtol=0, atol=1e-4)


def test_mistakes_are_named_and_leave_the_head_alone() -> None:
    tensors, head = foreign_tensors(make_head(0)), make_head(1)
    before = {name: tensor.clone() for name, tensor in head.state_dict().items()}
    without = {name: tensor for name, tensor in tensors.items() if name != "lstm_audio.weight_hh_l0_reverse"}
    wrong_shape = tensors | {"score_video.linear.bias": torch.zeros(3)}
    no_name = {ours: theirs for ours, theirs in NAMES.items() if ours != "audio_encoder.batch_norm"}
    for given, names, message in (
        (
            without,
            NAMES,
            r"'audio_gate.lstm.backwards.recurrent.weight'.*lstm_audio.weight_hh_l0_reverse, got none",
        ),
        (wrong_shape, NAMES, r"'score_video.linear.bias': expected the shape \(12,\).*got \(3,\)"),
        (tensors | {"extra": torch.zeros(1)}, NAMES, r"'extra' and 0 more tensors have no place"),
        (tensors, no_name, r"nothing leads to the head's 'audio_encoder.batch_norm.weight'"),
        (tensors, NAMES | {"regressor.outputs": "x"}, r"'regressor.outputs' is no module or tensor"),
    ):
        with pytest.raises(CheckpointError, match=message) as caught:
            load_named_weights(head, given, names)
        assert "\n" not in str(caught.value)
        for name, tensor in head.state_dict().items():
            assert torch.equal(tensor, before[name])
