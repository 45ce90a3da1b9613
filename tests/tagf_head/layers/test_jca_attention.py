"""Joint cross-attention of rank k against its equations, window by window on the valid frames alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tagf_head.errors import HeadError
from tagf_head.layers.dropout import Dropout
from tagf_head.layers.jca_attention import JcaAttention

Array = NDArray[np.float64]
DV, DA, K, L = 5, 3, 2, 9
VALID = ([0, 1, 2, 3, 4, 5, 6, 7, 8], [0, 1, 2, 3], [1, 4, 5], [7])


class Halve(nn.Module):
    """Stands in for dropout, so that its place in the computation shows."""

    def forward(self, features: Tensor) -> Tensor:
        return features / 2


def make_attention(*, mix_time: bool, dropout: float = 0.0, reference_length: int = L) -> JcaAttention:
    torch.manual_seed(0)
    return JcaAttention(
        DV,
        DA,
        attended_features=K,
        dropout=dropout,
        reference_length=reference_length,
        mix_time=mix_time,
    ).double()


def make_inputs(valid: tuple[list[int], ...] = VALID) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    visual, audio = (
        torch.randn(len(valid), L, width, generator=generator, dtype=torch.float64) for width in (DV, DA)
    )
    mask = torch.zeros(len(valid), L, dtype=torch.bool)
    for b, frames in enumerate(valid):
        mask[b, frames] = True
    return visual, audio, mask


def reference(
    attention: JcaAttention,
    visual: Array,
    audio: Array,
    frames: list[int],
    *,
    mix_time: bool,
    dropout: float = 1.0,
    reference_length: int = L,
) -> list[Array]:
    """X_att,v and X_att,a of one window's valid frames, sums written out frame by frame."""
    state = {name: value.numpy() for name, value in attention.state_dict().items()}
    joint = np.hstack([visual, audio])[frames]
    attended = []
    for name, rows in (("visual", visual), ("audio", audio)):
        x = rows[frames]
        from_correlation, from_features, back = (
            state[f"{name}.{part}.weight"].T for part in ("from_correlation", "from_features", "update")
        )
        keys = x
        if mix_time:  # the maps' rows and columns of the frames that there are
            over_time = state[f"{name}.mixing.linear.weight"][np.ix_(frames, frames)]
            keys, from_features, back = over_time @ x, from_features[frames], back[:, frames]
        product = sum(np.outer(keys[t], joint[t]) for t in range(len(frames)))
        scaled = product * reference_length / len(frames) / np.sqrt(DV + DA)
        correlation = dropout * np.tanh(scaled)  # (D, d)
        if mix_time:
            hidden = np.maximum(correlation @ from_correlation + x.T @ from_features, 0)  # (D, k)
            update = (hidden @ back).T
        else:
            hidden = np.maximum(x @ correlation @ from_correlation + x @ from_features, 0)  # (n, k)
            update = hidden @ back
        attended.append(x + dropout * update)
    return attended


@pytest.mark.parametrize(("mix_time", "reference_length"), [(False, L), (False, 30), (True, L)])
def test_against_numpy(mix_time: bool, reference_length: int) -> None:
    attention = make_attention(mix_time=mix_time, reference_length=reference_length)
    visual, audio, mask = make_inputs()
    measured = attention(visual, audio, mask)
    for b, frames in enumerate(VALID):
        expected = reference(
            attention,
            visual[b].numpy(),
            audio[b].numpy(),
            frames,
            mix_time=mix_time,
            reference_length=reference_length,
        )
        for ours, theirs in zip(measured, expected, strict=True):
            np.testing.assert_allclose(ours[b, frames].detach(), theirs, rtol=0, atol=1e-9)


@pytest.mark.parametrize("mix_time", [False, True])
def test_dropout_is_on_correlations_and_updates(mix_time: bool) -> None:
    attention = make_attention(mix_time=mix_time, dropout=0.5)
    assert [m.probability for m in attention.modules() if isinstance(m, Dropout)] == [0.5, 0.5]
    for modality in (attention.visual, attention.audio):
        modality.dropout = Halve()
    visual, audio, mask = make_inputs()
    expected = reference(
        attention, visual[1].numpy(), audio[1].numpy(), VALID[1], mix_time=mix_time, dropout=0.5
    )
    for ours, theirs in zip(attention(visual, audio, mask), expected, strict=True):
        np.testing.assert_allclose(ours[1, VALID[1]].detach(), theirs, rtol=0, atol=1e-9)


def test_no_map_has_a_bias() -> None:
    for mix_time in (False, True):
        names = [name for name, _ in make_attention(mix_time=mix_time).named_parameters()]
        assert len(names) == (8 if mix_time else 6)
        assert all(name.endswith("weight") for name in names)


@pytest.mark.parametrize("mix_time", [False, True])
def test_padding_has_no_influence(mix_time: bool) -> None:
    attention = make_attention(mix_time=mix_time)
    visual, audio, mask = make_inputs((*VALID, []))
    padding = ~mask[..., None]
    visual_given, audio_given = visual.clone().requires_grad_(), audio.clone().requires_grad_()
    results = attention(visual_given, audio_given, mask)
    other = attention(visual.masked_fill(padding, 50.0), audio.masked_fill(padding, -50.0), mask)
    for ours, theirs in zip(results, other, strict=True):
        torch.testing.assert_close(theirs[mask], ours[mask], rtol=0, atol=1e-12)
        assert torch.isfinite(ours).all()
    sum((each * mask[..., None]).square().sum() for each in results).backward()
    for given in (visual_given, audio_given):
        assert torch.isfinite(given.grad).all()
        assert (given.grad[~mask] == 0).all()
        assert (given.grad[mask] != 0).all()


def test_window_repeated_gives_the_result_repeated() -> None:
    attention = make_attention(mix_time=False)
    visual, audio, mask = make_inputs()
    once = attention(visual, audio, mask)
    twice = attention(visual.repeat(1, 2, 1), audio.repeat(1, 2, 1), mask.repeat(1, 2))
    for short, long in zip(once, twice, strict=True):
        valid = mask.repeat(1, 2)
        torch.testing.assert_close(long[valid], short.repeat(1, 2, 1)[valid], rtol=0, atol=1e-12)


def test_published_form_takes_windows_of_one_length() -> None:
    visual, audio, mask = make_inputs()
    with pytest.raises(HeadError, match=r"expected windows of 9 frames.*got 7"):
        make_attention(mix_time=True)(visual[:, :7], audio[:, :7], mask[:, :7])


@pytest.mark.parametrize("mix_time", [False, True])
def test_gradient_is_the_numerical_one(mix_time: bool) -> None:
    attention = make_attention(mix_time=mix_time)
    visual, audio, mask = make_inputs(VALID[1:3])
    given = visual.requires_grad_(), audio.requires_grad_()
    valid = mask[..., None]
    assert torch.autograd.gradcheck(
        lambda v, a: [each * valid for each in attention(v, a, mask)], given, fast_mode=True
    )
