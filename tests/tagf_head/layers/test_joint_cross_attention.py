"""Joint cross-attention against its equations, window by window in numpy on the valid frames alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tagf_head.errors import HeadError
from tagf_head.layers.dropout import Dropout
from tagf_head.layers.joint_cross_attention import JointCrossAttention, JointCrossAttentionStep

Array = NDArray[np.float64]
DV, DA = 5, 3
REFERENCE_LENGTH = 40


class Halve(nn.Module):
    """Stands in for dropout, so that its place in the computation shows."""

    def forward(self, features: Tensor) -> Tensor:
        return features / 2


def make_step(*, mix_time: bool = False, reference_length: int = REFERENCE_LENGTH) -> JointCrossAttentionStep:
    torch.manual_seed(0)
    return JointCrossAttentionStep(
        DV, DA, dropout=0.0, reference_length=reference_length, mix_time=mix_time
    ).double()


def make_inputs(*lengths: int, num_frames: int = 11) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    mask = torch.arange(num_frames) < torch.tensor(lengths)[:, None]
    visual, audio = (
        torch.randn(len(lengths), num_frames, width, generator=generator, dtype=torch.float64)
        for width in (DV, DA)
    )
    return visual, audio, mask


def reference_step(
    visual: Array,
    audio: Array,
    step: JointCrossAttentionStep,
    *,
    dropout: float = 1.0,
    reference_length: int = REFERENCE_LENGTH,
) -> tuple[Array, Array]:
    """Equations 3 and 4 on one window of valid frames, `(n, D_v)` and `(n, D_a)`."""
    state = {name: value.numpy() for name, value in step.state_dict().items()}

    def linear(name: str, x: Array) -> Array:
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    n, d = len(visual), DV + DA
    joint = linear("joint", np.hstack([visual, audio]))
    updated = []
    for name, x in (("visual", visual), ("audio", audio)):
        keys = x
        if step.mix_time:  # the map's rows and columns of the frames that there are
            mixing, shift = (state[f"{name}_mixing.linear.{kind}"] for kind in ("weight", "bias"))
            keys = np.array([sum(mixing[s, t] * x[t] for t in range(n)) + shift[s] for s in range(n)])
        product = sum(np.outer(keys[t], joint[t]) for t in range(n))
        correlation = dropout * np.tanh(product * reference_length / n / np.sqrt(d))
        attended = np.maximum(np.tanh(linear(f"{name}_query", x) @ correlation), 0)
        updated.append(x + dropout * np.maximum(linear(f"{name}_update", attended), 0))
    return updated[0], updated[1]


@pytest.mark.parametrize("mix_time", [False, True])
def test_step_against_numpy(mix_time: bool) -> None:
    step = make_step(mix_time=mix_time, reference_length=11)
    lengths = (11, 6, 1)
    visual, audio, mask = make_inputs(*lengths)
    measured_visual, measured_audio = step(visual, audio, mask)
    for b, n in enumerate(lengths):
        expected_visual, expected_audio = reference_step(
            visual[b, :n].numpy(), audio[b, :n].numpy(), step, reference_length=11
        )
        np.testing.assert_allclose(measured_visual[b, :n].detach(), expected_visual, rtol=0, atol=1e-9)
        np.testing.assert_allclose(measured_audio[b, :n].detach(), expected_audio, rtol=0, atol=1e-9)


def test_dropout_is_on_correlations_and_updates() -> None:
    step = make_step()
    step.dropout = Halve()
    visual, audio, mask = make_inputs(11)
    expected_visual, expected_audio = reference_step(visual[0].numpy(), audio[0].numpy(), step, dropout=0.5)
    measured_visual, measured_audio = step(visual, audio, mask)
    np.testing.assert_allclose(measured_visual[0].detach(), expected_visual, rtol=0, atol=1e-9)
    np.testing.assert_allclose(measured_audio[0].detach(), expected_audio, rtol=0, atol=1e-9)


def test_dropout_has_the_rate_asked_for_and_rests_in_evaluation() -> None:
    step = JointCrossAttentionStep(DV, DA, dropout=0.6, reference_length=10, mix_time=False).double()
    inputs = make_inputs(11, 6)
    assert not torch.equal(step(*inputs)[0], step(*inputs)[0])
    step.eval()
    assert torch.equal(step(*inputs)[0], step(*inputs)[0])
    assert [m.probability for m in step.modules() if isinstance(m, Dropout)] == [0.6]


def test_window_repeated_gives_the_result_repeated() -> None:
    step = make_step()
    visual, audio, mask = make_inputs(11)
    once = step(visual, audio, mask)
    twice = step(visual.repeat(1, 2, 1), audio.repeat(1, 2, 1), mask.repeat(1, 2))
    for short, long in zip(once, twice, strict=True):
        torch.testing.assert_close(long, short.repeat(1, 2, 1), rtol=0, atol=1e-12)


def test_order_of_frames_has_no_influence_on_a_frame() -> None:
    step = make_step()
    visual, audio, mask = make_inputs(11)
    order = torch.randperm(11, generator=torch.Generator().manual_seed(2))
    straight, permuted = step(visual, audio, mask), step(visual[:, order], audio[:, order], mask)
    for a, b in zip(straight, permuted, strict=True):
        torch.testing.assert_close(a[:, order], b, rtol=0, atol=1e-12)


@pytest.mark.parametrize("mix_time", [False, True])
def test_padding_and_other_windows_have_no_influence(mix_time: bool) -> None:
    step = make_step(mix_time=mix_time, reference_length=11)
    visual, audio, mask = make_inputs(11, 6, 0)
    visual_result, audio_result = step(visual, audio, mask)
    padding = ~mask[..., None]
    other = step(visual.masked_fill(padding, 50.0), audio.masked_fill(padding, -50.0), mask)
    torch.testing.assert_close(other[0][mask], visual_result[mask], rtol=0, atol=1e-12)
    torch.testing.assert_close(other[1][mask], audio_result[mask], rtol=0, atol=1e-12)
    alone = step(visual[1:2], audio[1:2], mask[1:2])
    torch.testing.assert_close(alone[0][0], visual_result[1], rtol=0, atol=1e-12)
    assert torch.isfinite(visual_result[2]).all()


@pytest.mark.parametrize("share_steps", [False, True])
def test_recursion_applies_the_steps_to_both_modalities(share_steps: bool) -> None:
    torch.manual_seed(3)
    attention = JointCrossAttention(
        DV,
        DA,
        num_steps=3,
        share_steps=share_steps,
        dropout=0.0,
        reference_length=REFERENCE_LENGTH,
        mix_time=False,
    ).double()
    assert len(attention.steps) == (1 if share_steps else 3)
    visual, audio, mask = make_inputs(11)
    visual_results, audio_results = attention(visual, audio, mask)
    assert len(visual_results) == len(audio_results) == 4
    expected = visual[0].numpy(), audio[0].numpy()
    for t in range(4):
        np.testing.assert_allclose(visual_results[t][0].detach(), expected[0], rtol=0, atol=1e-9)
        np.testing.assert_allclose(audio_results[t][0].detach(), expected[1], rtol=0, atol=1e-9)
        if t < 3:
            expected = reference_step(*expected, attention.steps[0 if share_steps else t])


def test_learned_mixing_takes_windows_of_one_length() -> None:
    step = make_step(mix_time=True, reference_length=11)
    with pytest.raises(HeadError, match=r"expected windows of 11 frames.*got 9; .*time_mixing 'none'"):
        step(*make_inputs(9, num_frames=9))


def test_each_step_mixes_time_in_its_own_way() -> None:
    attention = JointCrossAttention(
        DV, DA, num_steps=2, share_steps=False, dropout=0.0, reference_length=11, mix_time=True
    )
    maps = [
        getattr(step, f"{m}_mixing").linear.weight for step in attention.steps for m in ("visual", "audio")
    ]
    assert [weight.shape for weight in maps] == [(11, 11)] * 4
    assert len({weight.data_ptr() for weight in maps}) == 4


@pytest.mark.parametrize("mix_time", [False, True])
def test_gradient_is_the_numerical_one(mix_time: bool) -> None:
    step = make_step(mix_time=mix_time, reference_length=4)
    visual, audio, mask = make_inputs(4, 2, num_frames=4)
    visual.requires_grad_()
    audio.requires_grad_()
    valid = mask[..., None]
    assert torch.autograd.gradcheck(lambda v, a: [x * valid for x in step(v, a, mask)], (visual, audio))
