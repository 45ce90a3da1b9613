"""What every head in the registry keeps to, and the registry itself."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch
from torch import Tensor, nn

from tagf_head.ccc import ccc_loss
from tagf_head.config import HeadConfig
from tagf_head.errors import HeadError, UnknownHeadError
from tagf_head.heads import HEADS, build_head, head_names

CONFIG = HeadConfig(
    visual_features=9,
    audio_features=6,
    visual_channels=(8, 8, 6),
    audio_channels=(5, 4, 4),
    kernel_size=3,
    tcn_dropout=0.0,
    attention_dropout=0.0,
    reference_length=50,
    regressor_features=7,
)
L = 15


@pytest.fixture(params=["tagf", "concat", "visual_only", "audio_only"])
def name(request: pytest.FixtureRequest) -> str:
    value: str = request.param
    return value


def make_head(name: str, **changes: bool | float) -> nn.Module:
    torch.manual_seed(0)
    head = build_head(dataclasses.replace(CONFIG, name=name, **changes)).double()
    for parameter in head.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return head


def make_inputs(*lengths: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    visual = torch.randn(len(lengths), L, 9, generator=generator, dtype=torch.float64)
    audio = torch.randn(len(lengths), L, 6, generator=generator, dtype=torch.float64)
    return visual, audio, torch.arange(L) < torch.tensor(lengths)[:, None]


def test_registry_holds_the_heads_by_name(name: str) -> None:
    assert name in head_names()
    assert type(make_head(name)) is HEADS[name]


def test_unknown_name_is_answered_with_the_names() -> None:
    with pytest.raises(UnknownHeadError) as caught:
        build_head(HeadConfig(name="visualonly"))
    message = str(caught.value)
    assert "'visualonly' is not a head" in message
    assert "did you mean 'visual_only'?" in message
    assert all(name in message.split("(heads:")[1] for name in head_names())
    assert "\n" not in message
    with pytest.raises(UnknownHeadError) as caught:
        build_head(HeadConfig(name="zzzzzz"))
    assert "did you mean" not in str(caught.value)


def test_result_has_the_form_of_every_head(name: str) -> None:
    head = make_head(name)
    for scale in (1, 1e3):
        visual, audio, mask = make_inputs(15, 8)
        prediction = head(scale * visual, scale * audio, mask)
        assert prediction.shape == (2, L, 2)
        assert prediction.abs().max() <= 1
        assert (prediction[~mask] == 0).all()
        assert (prediction[mask] != 0).all()


def test_every_parameter_is_used(name: str) -> None:
    head = make_head(name)
    visual, audio, mask = make_inputs(15, 8)
    target = torch.rand(2, L, 2, dtype=torch.float64)
    ccc_loss(head(visual, audio, mask), target, mask).backward()
    for parameter_name, parameter in head.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert torch.isfinite(parameter.grad).all(), parameter_name
        assert parameter.grad.abs().max() > 0, parameter_name


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_padding_has_no_influence(name: str, training: bool, causal: bool) -> None:
    head = make_head(name, causal=causal).train(training)
    visual, audio, mask = make_inputs(9, 5, 0)
    short = copy.deepcopy(head)
    expected = short(visual[:2, :9], audio[:2, :9], mask[:2, :9])
    padding = ~mask[..., None]
    for filler in (0.0, 1e3, float("nan")):
        long = copy.deepcopy(head)
        measured = long(visual.masked_fill(padding, filler), audio.masked_fill(padding, filler), mask)
        torch.testing.assert_close(measured[:2, :9], expected, rtol=0, atol=1e-11)
        assert (measured[~mask] == 0).all()
        for ours, theirs in zip(long.buffers(), short.buffers(), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-11)


def test_gradients_do_not_depend_on_padding(name: str) -> None:
    visual, audio, mask = make_inputs(9, 5)
    target = torch.rand(2, L, 2, dtype=torch.float64)
    gradients = []
    for num_frames in (9, L):
        head = make_head(name)
        window = slice(0, num_frames)
        prediction = head(visual[:, window], audio[:, window], mask[:, window])
        ccc_loss(prediction, target[:, window], mask[:, window]).backward()
        gradients.append([parameter.grad for parameter in head.parameters()])
    for short, long in zip(*gradients, strict=True):
        torch.testing.assert_close(short, long, rtol=0, atol=1e-11)


@pytest.mark.parametrize("training", [True, False])
def test_order_of_windows_has_no_influence(name: str, training: bool) -> None:
    head = make_head(name).train(training)
    visual, audio, mask = make_inputs(15, 4, 9)
    order = torch.tensor([2, 0, 1])
    straight, permuted = head(visual, audio, mask), head(visual[order], audio[order], mask[order])
    torch.testing.assert_close(permuted, straight[order], rtol=0, atol=1e-11)


def test_windows_are_independent_in_evaluation(name: str) -> None:
    head = make_head(name).eval()
    visual, audio, mask = make_inputs(15, 4, 9)
    together = head(visual, audio, mask)
    for b in range(3):
        alone = head(visual[b : b + 1], audio[b : b + 1], mask[b : b + 1])
        torch.testing.assert_close(alone[0], together[b], rtol=0, atol=1e-11)


@pytest.mark.parametrize("training", [True, False])
def test_empty_rows_and_empty_batches_stay_finite(name: str, training: bool) -> None:
    head = make_head(name).train(training)
    for lengths in ((15, 15), (1, 0), (0, 0)):
        visual, audio, mask = make_inputs(*lengths)
        visual[0], audio[0, 3:] = 0, 0  # no face in the whole window, no sound from the fourth frame on
        prediction = head(visual, audio, mask)
        prediction.square().sum().backward()
        assert torch.isfinite(prediction).all()
        assert all(torch.isfinite(p.grad).all() for p in head.parameters() if p.grad is not None)


def test_float16_rows_give_float32_predictions(name: str) -> None:
    head = make_head(name).float().eval()
    visual, audio, mask = make_inputs(15, 8)
    half = head(visual.half(), audio.half(), mask)
    assert half.dtype is torch.float32
    assert torch.equal(half, head(visual.half().float(), audio.half().float(), mask))


def test_float32_agrees_with_float64(name: str) -> None:
    head = make_head(name)
    visual, audio, mask = make_inputs(15, 8)
    exact = head(visual, audio, mask)
    measured = head.float()(visual.float(), audio.float(), mask)
    torch.testing.assert_close(measured.double(), exact, rtol=0, atol=1e-4)


def test_weights_and_statistics_travel_in_the_state(name: str) -> None:
    head = make_head(name)
    inputs = make_inputs(15, 8)
    head(*inputs)
    other = make_head(name)
    other.load_state_dict(head.state_dict())
    assert torch.equal(other.eval()(*inputs), head.eval()(*inputs))


def test_dropout_alone_makes_training_random(name: str) -> None:
    inputs = make_inputs(15, 8)
    head = make_head(name, tcn_dropout=0.3)
    assert not torch.equal(head(*inputs), head(*inputs))
    head.eval()
    assert torch.equal(head(*inputs), head(*inputs))


@pytest.mark.parametrize(
    ("name", "other"), [("visual_only", "audio"), ("audio_only", "visual")], ids=["visual", "audio"]
)
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
@pytest.mark.parametrize("head_name", ["tagf", "concat"])
def test_both_streams_count(head_name: str, stream: str) -> None:
    visual, audio, mask = make_inputs(15, 8)
    head = make_head(head_name).eval()
    changed = head(visual + (stream == "visual") * 0.5, audio + (stream == "audio") * 0.5, mask)
    assert ((changed - head(visual, audio, mask))[mask].abs() > 1e-6).all()


def test_wrong_widths_are_named(name: str) -> None:
    head = make_head(name)
    visual, audio, mask = make_inputs(15)
    with pytest.raises(HeadError, match=r"(visual|audio) rows: expected \(windows, frames, [69]\)"):
        head(visual[..., :3], audio[..., :3], mask)
