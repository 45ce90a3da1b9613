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
from tagf_head.head_presets import PRESETS
from tagf_head.heads import HEADS, Head, SeparateHeads, build_head

L = 15
CONFIG = HeadConfig(
    visual_features=9,
    audio_features=6,
    visual_channels=(8, 6),
    audio_channels=(5, 4),
    kernel_size=3,
    recurrent_features=6,
    attended_features=3,
    num_layers=2,
    num_attention_heads=2,
    attention_features=3,
    model_features=8,
    feedforward_features=10,
    reference_length=L,
    regressor_features=7,
    tcn_dropout=0.0,
    attention_dropout=0.0,
    gate_dropout=0.0,
    sequence_dropout=0.0,
    regressor_dropout=0.0,
)
DROPOUTS = {name: 0.3 for name in (each.name for each in dataclasses.fields(CONFIG)) if "dropout" in name}
#: Every name, and every option of TAGF that no name has alone.
CASES: dict[str, dict[str, Any]] = {
    **{name: {"name": name} for name in HEADS},
    "shared steps": {"share_steps": True},
    "channel mean": {"score": "channel_mean"},
    "mixed over time": {"time_mixing": "learned"},
    "recurrent": {"stream_encoder": "lstm"},
    "separate": {"name": "concat", "targets": "separate"},
    "uncertain": {"uncertainty": True},
}
ONE_LENGTH = {"released", "mixed over time"}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> str:
    value: str = request.param
    return value


def make_head(case: str, **changes: Any) -> Head:
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


def objective(head: Head, visual: Tensor, audio: Tensor, mask: Tensor, target: Tensor) -> Tensor:
    """A loss that everything which a head estimates takes part in."""
    found = head(visual, audio, mask, return_all=True)
    loss = ccc_loss(found.prediction, target, mask)
    return loss if found.deviation is None else loss + found.deviation.square().sum()


def check_gradients(head: Head, visual: Tensor, audio: Tensor, mask: Tensor) -> None:
    """Loss and gradients are finite."""
    head.zero_grad()
    loss = objective(head, visual, audio, mask, torch.zeros(*mask.shape, 2, dtype=torch.float64))
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(parameter.grad).all() for parameter in head.parameters())


def test_registry_holds_the_heads_by_name() -> None:
    assert tuple(HEADS) == tuple(PRESETS)
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


def test_features_are_what_the_head_says(case: str) -> None:
    head, (visual, audio, mask) = make_head(case), make_inputs(15, 8)
    features = head(visual, audio, mask, return_all=True).features
    assert features.shape == (2, L, head.num_features)
    assert (features[~mask] == 0).all()
    assert (features[mask] != 0).any(dim=-1).all()


def test_every_parameter_is_used(case: str) -> None:
    head = make_head(case)
    visual, audio, mask = make_inputs(15, 8)
    for parameter_name, parameter in head.named_parameters():
        if parameter_name.endswith("weight.original0"):  # so that no LeakyReLU is linear for all frames
            parameter.data *= 8
    target = torch.rand(2, L, 2, dtype=torch.float64)
    objective(head, visual, audio, mask, target).backward()
    for parameter_name, parameter in head.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert torch.isfinite(parameter.grad).all(), parameter_name
        # Less is rounding noise, as of a bias that a softmax or a batch normalisation takes out again.
        assert parameter.grad.abs().max() > 1e-14, parameter_name


@pytest.mark.parametrize("training", [True, False])
def test_padding_has_no_influence(case: str, training: bool) -> None:
    visual, audio, mask = make_inputs(9, 5, 0)
    padding = ~mask[..., None]
    head = make_head(case).train(training)
    num_frames = L if case in ONE_LENGTH else 9
    first = {name: value.clone() for name, value in head.state_dict().items()}
    expected = head(visual[:2, :num_frames], audio[:2, :num_frames], mask[:2, :num_frames])
    statistics = [buffer.clone() for buffer in head.buffers()]
    for filler in (1e3, float("nan")):
        head.load_state_dict(first)
        measured = head(visual.masked_fill(padding, filler), audio.masked_fill(padding, filler), mask)
        torch.testing.assert_close(measured[:2, :9], expected[:, :9], rtol=0, atol=1e-11)
        assert (measured[~mask] == 0).all()
        for ours, theirs in zip(head.buffers(), statistics, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-11)


# A map over the frames of a window knows each place in it.
@pytest.mark.parametrize("case", [name for name in CASES if name not in ONE_LENGTH])
@pytest.mark.parametrize("training", [True, False])
def test_padding_in_front_has_no_influence(case: str, training: bool) -> None:
    visual, audio, mask = make_inputs(9, 5)
    head = make_head(case).train(training)
    expected = head(visual, audio, mask)  # in training, running statistics have no influence
    moved = [rows.masked_fill(~mask[..., None], float("nan")).roll(4, dims=1) for rows in (visual, audio)]
    measured = head(*moved, mask.roll(4, dims=1))
    torch.testing.assert_close(measured.roll(-4, dims=1), expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("training", [True, False])
def test_any_mask_and_any_length(case: str, training: bool) -> None:
    head = make_head(case).train(training)
    for num_frames in (L,) if case in ONE_LENGTH else (1, 40):
        generator = torch.Generator().manual_seed(num_frames)
        mask = torch.rand(3, num_frames, generator=generator) < 0.6
        mask[2] = False
        visual, audio = (
            torch.randn(3, num_frames, n, generator=generator).masked_fill(~mask[..., None], float("nan"))
            for n in (9, 6)
        )
        check_gradients(head, visual, audio, mask)


def test_other_widths_of_the_streams(case: str) -> None:
    head = make_head(case, visual_features=3, audio_features=33)
    _, _, mask = make_inputs(15, 8)
    shape = (2, L)
    visual, audio = (torch.randn(*shape, n, dtype=torch.float64) for n in (3, 33))
    assert head(visual, audio, mask).shape == (2, L, 2)


@pytest.mark.parametrize("target", ["valence", "arousal"])
def test_a_head_for_one_target_has_one_deviation(target: str) -> None:
    visual, audio, mask = make_inputs(15, 8)
    head = build_head(dataclasses.replace(CONFIG, name="concat", targets=target, uncertainty=True))
    found = head(visual, audio, mask, return_all=True)
    assert found.deviation is not None
    assert found.deviation.shape == found.prediction.shape == (2, L, 1)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", HEADS)
def test_uncertainty_leaves_the_prediction_as_it_is(name: str, training: bool) -> None:
    visual, audio, mask = make_inputs(15, 8)
    found = []
    for uncertainty in (False, True):
        torch.manual_seed(3)
        head = build_head(dataclasses.replace(CONFIG, name=name, uncertainty=uncertainty, **DROPOUTS))
        torch.manual_seed(4)
        found.append(head.train(training)(visual, audio, mask, return_all=True))
    without, with_deviation = found
    assert torch.equal(without.prediction, with_deviation.prediction)
    assert torch.equal(without.features, with_deviation.features)
    assert without.deviation is None
    assert with_deviation.deviation is not None
    assert with_deviation.deviation.shape == (2, L, 2)
    with_deviation.deviation.sum().backward()
    touched = {each for each, parameter in head.named_parameters() if parameter.grad is not None}
    assert touched == {each for each, _ in head.named_parameters() if each.startswith("deviation.")}
    assert (with_deviation.deviation[mask] > 0).all()
    assert (with_deviation.deviation[~mask] == 0).all()


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
        objective(head, *filled, mask[:, window], target[:, window]).backward()
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
    for lengths in ((15, 15), (0, 0)):
        visual, audio, mask = make_inputs(*lengths)
        visual[0], audio[0, 3:] = 0, 0  # no face in the whole window, no sound from the fourth frame on
        check_gradients(head, visual, audio, mask)


def test_float16_rows_give_float32_predictions(case: str) -> None:
    head = make_head(case).float().eval()
    visual, audio, mask = make_inputs(15, 8)
    half = head(visual.half(), audio.half(), mask)
    assert half.dtype is torch.float32
    assert torch.equal(half, head(visual.half().float(), audio.half().float(), mask))


def test_autocast_stays_near_float32(case: str) -> None:
    head = make_head(case).float()
    visual, audio, mask = make_inputs(15, 8, 0)
    expected = head(visual.half(), audio.half(), mask, return_all=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        measured = head(visual.half(), audio.half(), mask, return_all=True)
        target = torch.zeros_like(measured.prediction)
        objective(head, visual.half(), audio.half(), mask, target).backward()
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
    head = make_head(case, **DROPOUTS)
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
    gated = head(visual, audio, mask, return_all=True)
    assert torch.equal(gated.prediction, head(visual, audio, mask))
    assert tuple(gated.gates) == tuple(head.gate_candidates)
    for gate, weights in gated.gates.items():
        assert weights.shape == (3, L, len(head.gate_candidates[gate]))
        torch.testing.assert_close(weights.sum(dim=2), mask.double(), rtol=0, atol=1e-12)
        assert (weights[~mask] == 0).all()


STEPS = ("H0", "H1", "H2")


@pytest.mark.parametrize(
    ("case", "candidates"),
    [
        ("tagf", {"visual": STEPS, "audio": STEPS}),
        ("paper", {"visual": STEPS[1:], "audio": STEPS[1:]}),
        (
            "released",
            {
                "valence_visual": STEPS,
                "valence_audio": STEPS,
                "arousal_visual": STEPS,
                "arousal_audio": STEPS,
            },
        ),
        ("uncertain", {"visual": STEPS, "audio": STEPS}),
        *[(name, {}) for name in ("tagf_mean", "tagf_last", "concat", "separate")],
    ],
)
def test_names_of_gates_and_candidates(case: str, candidates: dict[str, tuple[str, ...]]) -> None:
    assert make_head(case).gate_candidates == candidates


@pytest.mark.parametrize("case", ["released", "separate"])
def test_separate_heads_are_two_heads(case: str) -> None:
    head, (visual, audio, mask) = make_head(case), make_inputs(15, 8)
    assert isinstance(head, SeparateHeads)
    gated = head.eval()(visual, audio, mask, return_all=True)
    for column, target in enumerate(("valence", "arousal")):
        alone = getattr(head, target)(visual, audio, mask, return_all=True)
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
