"""What every head in the registry keeps to, and the registry itself."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor

from tagf_head.ccc import ccc_loss
from tagf_head.errors import HeadError, UnknownHeadError
from tagf_head.head_config import HeadConfig
from tagf_head.heads import HEADS, Head, SeparateHeads, build_head

L = 15
CONFIG = HeadConfig(
    visual_features=9,
    audio_features=6,
    visual_channels=(8, 8, 6),
    audio_channels=(5, 4, 4),
    kernel_size=3,
    tcn_dropout=0.0,
    attention_dropout=0.0,
    gate_dropout=0.0,
    reference_length=L,
    regressor_features=7,
)
#: Every name, and every option of TAGF that no name has alone.
CASES: dict[str, dict[str, Any]] = {
    **{name: {"name": name} for name in HEADS},
    "shared steps": {"share_steps": True},
    "channel mean": {"score": "channel_mean"},
    "mixed over time": {"time_mixing": "learned"},
    "separate": {"name": "concat", "targets": "separate"},
}
ONE_LENGTH = {"released", "mixed over time"}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> str:
    value: str = request.param
    return value


def make_head(case: str, **changes: bool | float) -> Head:
    """A head in float64 with random parameters; no dropout but what is asked for."""
    torch.manual_seed(0)
    head = build_head(dataclasses.replace(CONFIG, **CASES[case], **changes)).double()
    for parameter in head.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return head


def make_inputs(*lengths: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    visual = torch.randn(len(lengths), L, 9, generator=generator, dtype=torch.float64)
    audio = torch.randn(len(lengths), L, 6, generator=generator, dtype=torch.float64)
    return visual, audio, torch.arange(L) < torch.tensor(lengths)[:, None]


def test_registry_holds_the_heads_by_name() -> None:
    assert tuple(HEADS) == ("tagf", "paper", "released", "concat", "visual_only", "audio_only")
    for name in HEADS:
        assert type(make_head(name)) is (SeparateHeads if name == "released" else HEADS[name])


def test_unknown_name_is_answered_with_the_names() -> None:
    with pytest.raises(UnknownHeadError) as caught:
        build_head(HeadConfig(name="visualonly"))
    message = str(caught.value)
    assert "'visualonly' is not a head" in message
    assert "did you mean 'visual_only'?" in message
    assert all(name in message.split("(heads:")[1] for name in HEADS)
    assert "\n" not in message
    with pytest.raises(UnknownHeadError) as caught:
        build_head(HeadConfig(name="zzzzzz"))
    assert "did you mean" not in str(caught.value)


def test_result_has_the_form_of_every_head(case: str) -> None:
    head = make_head(case)
    for scale in (1, 1e3):
        visual, audio, mask = make_inputs(15, 8)
        prediction = head(scale * visual, scale * audio, mask)
        assert prediction.shape == (2, L, 2)
        assert prediction.abs().max() <= 1
        assert (prediction[~mask] == 0).all()
        assert (prediction[mask] != 0).all()


def test_every_parameter_is_used(case: str) -> None:
    head = make_head(case)
    visual, audio, mask = make_inputs(15, 8)
    target = torch.rand(2, L, 2, dtype=torch.float64)
    ccc_loss(head(visual, audio, mask), target, mask).backward()
    for parameter_name, parameter in head.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert torch.isfinite(parameter.grad).all(), parameter_name
        assert parameter.grad.abs().max() > 0, parameter_name


@pytest.mark.parametrize("training", [True, False])
def test_padding_has_no_influence(case: str, training: bool) -> None:
    visual, audio, mask = make_inputs(9, 5, 0)
    padding = ~mask[..., None]
    head = make_head(case).train(training)
    num_frames = L if case in ONE_LENGTH else 9
    short = copy.deepcopy(head)
    expected = short(visual[:2, :num_frames], audio[:2, :num_frames], mask[:2, :num_frames])
    for filler in (0.0, 1e3, float("nan")):
        long = copy.deepcopy(head)
        measured = long(visual.masked_fill(padding, filler), audio.masked_fill(padding, filler), mask)
        torch.testing.assert_close(measured[:2, :9], expected[:, :9], rtol=0, atol=1e-11)
        assert (measured[~mask] == 0).all()
        for ours, theirs in zip(long.buffers(), short.buffers(), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-11)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("causal", [True, False])
def test_padding_has_no_influence_in_float32(causal: bool, training: bool) -> None:
    head = build_head(dataclasses.replace(CONFIG, causal=causal)).train(training)
    visual, audio, mask = make_inputs(9, 5)
    visual, audio = visual.float(), audio.float()
    expected = copy.deepcopy(head)(visual[:, :9], audio[:, :9], mask[:, :9])
    torch.testing.assert_close(head(visual, audio, mask)[:, :9], expected, rtol=0, atol=1e-6)


def test_gradients_do_not_depend_on_padding(case: str) -> None:
    visual, audio, mask = make_inputs(9, 5)
    target = torch.rand(2, L, 2, dtype=torch.float64)
    gradients = []
    for num_frames, filler in ((L if case in ONE_LENGTH else 9, 0.0), (L, 1e3)):
        head = make_head(case)
        window = slice(0, num_frames)
        filled = [rows.masked_fill(~mask[..., None], filler)[:, window] for rows in (visual, audio)]
        ccc_loss(head(*filled, mask[:, window]), target[:, window], mask[:, window]).backward()
        gradients.append([parameter.grad for parameter in head.parameters()])
    for short, long in zip(*gradients, strict=True):
        torch.testing.assert_close(short, long, rtol=0, atol=1e-11)


@pytest.mark.parametrize("training", [True, False])
def test_order_of_windows_has_no_influence(case: str, training: bool) -> None:
    head = make_head(case).train(training)
    visual, audio, mask = make_inputs(15, 4, 9)
    order = torch.tensor([2, 0, 1])
    straight, permuted = head(visual, audio, mask), head(visual[order], audio[order], mask[order])
    torch.testing.assert_close(permuted, straight[order], rtol=0, atol=1e-11)


def test_windows_are_independent_in_evaluation(case: str) -> None:
    head = make_head(case).eval()
    visual, audio, mask = make_inputs(15, 4, 9)
    together = head(visual, audio, mask)
    for b in range(3):
        alone = head(visual[b : b + 1], audio[b : b + 1], mask[b : b + 1])
        torch.testing.assert_close(alone[0], together[b], rtol=0, atol=1e-11)


@pytest.mark.parametrize("training", [True, False])
def test_empty_rows_and_empty_batches_stay_finite(case: str, training: bool) -> None:
    head = make_head(case).train(training)
    for lengths in ((15, 15), (1, 0), (0, 0)):
        visual, audio, mask = make_inputs(*lengths)
        visual[0], audio[0, 3:] = 0, 0  # no face in the whole window, no sound from the fourth frame on
        prediction = head(visual, audio, mask)
        head.zero_grad()
        prediction.square().sum().backward()
        assert torch.isfinite(prediction).all()
        assert all(torch.isfinite(parameter.grad).all() for parameter in head.parameters())


def test_float16_rows_give_float32_predictions(case: str) -> None:
    head = make_head(case).float().eval()
    visual, audio, mask = make_inputs(15, 8)
    half = head(visual.half(), audio.half(), mask)
    assert half.dtype is torch.float32
    assert torch.equal(half, head(visual.half().float(), audio.half().float(), mask))


def test_autocast_stays_near_float32(case: str) -> None:
    head = make_head(case).float()
    visual, audio, mask = make_inputs(15, 8, 0)
    expected = head(visual.half(), audio.half(), mask, return_gates=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        measured = head(visual.half(), audio.half(), mask, return_gates=True)
        measured.prediction.sum().backward()
    assert measured.prediction.dtype is torch.float32
    torch.testing.assert_close(measured.prediction, expected.prediction, rtol=0, atol=0.1)
    for weights in measured.gates.values():
        torch.testing.assert_close(weights.sum(dim=2), mask.float(), rtol=0, atol=1e-5)
    assert all(torch.isfinite(parameter.grad).all() for parameter in head.parameters())


def test_float32_agrees_with_float64(case: str) -> None:
    head = make_head(case)
    visual, audio, mask = make_inputs(15, 8)
    exact = head(visual, audio, mask)
    measured = head.float()(visual.float(), audio.float(), mask)
    torch.testing.assert_close(measured.double(), exact, rtol=0, atol=1e-4)


def test_weights_and_statistics_travel_in_the_state(case: str) -> None:
    head = make_head(case)
    inputs = make_inputs(15, 8)
    head(*inputs)
    other = make_head(case)
    other.load_state_dict(head.state_dict())
    assert torch.equal(other.eval()(*inputs), head.eval()(*inputs))


def test_dropout_alone_makes_training_random(case: str) -> None:
    inputs = make_inputs(15, 8)
    head = make_head(case)
    assert torch.equal(head(*inputs), head(*inputs))
    head = make_head(case, tcn_dropout=0.3)
    assert not torch.equal(head(*inputs), head(*inputs))
    head.eval()
    assert torch.equal(head(*inputs), head(*inputs))


@pytest.mark.parametrize(("name", "other"), [("visual_only", "audio"), ("audio_only", "visual")])
def test_one_stream_alone(name: str, other: str) -> None:
    visual, audio, mask = make_inputs(15, 8)
    head = make_head(name).eval()
    expected = head(visual, audio, mask)
    nonsense = torch.full((1, 1), float("nan"))
    inputs = (visual, nonsense) if other == "audio" else (nonsense, audio)
    assert torch.equal(head(*inputs, mask), expected)
    changes = {f"{other}_features": 77, f"{other}_channels": (3,)}
    torch.manual_seed(0)
    first = build_head(dataclasses.replace(CONFIG, name=name))
    torch.manual_seed(0)
    second = build_head(dataclasses.replace(CONFIG, name=name, **changes))
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("stream", ["visual", "audio"])
@pytest.mark.parametrize("name", ["tagf", "concat"])
def test_both_streams_count(name: str, stream: str) -> None:
    visual, audio, mask = make_inputs(15, 8)
    head = make_head(name).eval()
    changed = head(visual + (stream == "visual") * 0.5, audio + (stream == "audio") * 0.5, mask)
    assert ((changed - head(visual, audio, mask))[mask].abs() > 1e-6).all()


def test_wrong_widths_are_named(case: str) -> None:
    head = make_head(case)
    visual, audio, mask = make_inputs(15)
    with pytest.raises(HeadError, match=r"(visual|audio) rows: expected \(windows, frames, [69]\)"):
        head(visual[..., :3], audio[..., :3], mask)


def test_gates_come_on_request(case: str) -> None:
    head, (visual, audio, mask) = make_head(case), make_inputs(15, 8, 0)
    gated = head(visual, audio, mask, return_gates=True)
    assert torch.equal(gated.prediction, head(visual, audio, mask))
    assert tuple(gated.gates) == head.gate_names
    num_candidates = 2 if case == "paper" else 3
    for weights in gated.gates.values():
        assert weights.shape == (3, L, num_candidates)
        torch.testing.assert_close(weights.sum(dim=2), mask.double(), rtol=0, atol=1e-12)
        assert (weights[~mask] == 0).all()


@pytest.mark.parametrize(
    ("case", "names"),
    [
        ("tagf", ("visual", "audio")),
        ("paper", ("visual", "audio")),
        ("released", ("valence_visual", "valence_audio", "arousal_visual", "arousal_audio")),
        ("concat", ()),
        ("separate", ()),
    ],
)
def test_names_of_the_gates(case: str, names: tuple[str, ...]) -> None:
    assert make_head(case).gate_names == names


@pytest.mark.parametrize("case", ["released", "separate"])
def test_separate_heads_are_two_heads(case: str) -> None:
    head, (visual, audio, mask) = make_head(case), make_inputs(15, 8)
    assert isinstance(head, SeparateHeads)
    gated = head.eval()(visual, audio, mask, return_gates=True)
    for column, target in enumerate(("valence", "arousal")):
        alone = getattr(head, target)(visual, audio, mask, return_gates=True)
        assert torch.equal(alone.prediction, gated.prediction[..., column : column + 1])
        for gate, weights in alone.gates.items():
            assert torch.equal(weights, gated.gates[f"{target}_{gate}"])
    head.valence(visual, audio, mask).sum().backward()
    assert all(parameter.grad is None for parameter in head.arousal.parameters())
    assert not torch.equal(gated.prediction[..., 0], gated.prediction[..., 1])


def test_causal_encoders_make_a_head_without_attention_causal() -> None:
    visual, audio, mask = make_inputs(15)
    later = torch.arange(L)[None, :, None] >= 9
    for causal in (True, False):
        head = make_head("concat", causal=causal).eval()
        difference = (head(visual + later, audio + later, mask) - head(visual, audio, mask)).abs()[0].amax(1)
        assert (difference[9:] > 0).all()
        assert bool((difference[:9] == 0).all()) is causal


@pytest.mark.gpu
def test_gpu_computes_the_same(case: str) -> None:
    head, inputs = make_head(case), make_inputs(15, 8, 0)
    expected = copy.deepcopy(head)(*inputs)
    measured = head.cuda()(*(x.cuda() for x in inputs))
    torch.testing.assert_close(measured.cpu(), expected, rtol=0, atol=1e-9)
