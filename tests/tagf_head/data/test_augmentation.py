"""Augmentation: what it does to rows, labels and masks, how often, and that the generator decides on it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from tagf_head.config import AugmentConfig
from tagf_head.data.augmentation import augment, draw_audio_shift
from tagf_head.data.rows import Batch

FIELDS = ("visual", "audio", "frame_mask", "label", "label_mask")
CONFIGS = st.builds(
    AugmentConfig,
    drop_visual=st.sampled_from([0.0, 0.3]),
    drop_audio=st.sampled_from([0.0, 0.7]),
    noise=st.sampled_from([0.0, 0.5]),
    mixup=st.sampled_from([0.0, 0.4]),
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_batch(num_windows: int, window: int = 7, *, seed: int = 0, full: bool = False) -> Batch:
    """Random windows: padding, faceless rows, frames without a label."""
    random = generator(seed)
    length = torch.randint(1, window + 1, (num_windows,), generator=random)
    frame_mask = torch.arange(window) < (torch.full_like(length, window) if full else length)[:, None]
    has_face = frame_mask & (torch.rand(num_windows, window, generator=random) < (1 if full else 0.8))
    label_mask = frame_mask & (torch.rand(num_windows, window, generator=random) < (1 if full else 0.8))

    def rows(num_features: int, mask: Tensor) -> Tensor:
        values = torch.randn(num_windows, window, num_features, generator=random)
        return values.masked_fill(~mask[..., None], 0).half()

    return Batch(
        visual=rows(6, has_face),
        audio=rows(4, frame_mask),
        frame_mask=frame_mask,
        label=(torch.rand(num_windows, window, 2, generator=random) * 2 - 1).masked_fill(
            ~label_mask[..., None], 0
        ),
        label_mask=label_mask,
    )


def bits(batch: Batch) -> list[bytes]:
    return [getattr(batch, name).numpy().tobytes() for name in FIELDS]


def test_nothing_to_do_costs_nothing() -> None:
    random, batch = generator(), make_batch(5)
    before = random.get_state()
    assert augment(batch, AugmentConfig(), random) is batch
    assert draw_audio_shift(9, AugmentConfig(), random) is None
    assert torch.equal(random.get_state(), before)


@given(CONFIGS, st.integers(0, 5), st.integers(1, 6))
def test_is_a_function_of_the_generator_and_leaves_its_argument_alone(
    config: AugmentConfig, seed: int, num_windows: int
) -> None:
    batch = make_batch(num_windows, seed=seed)
    before = bits(batch)
    first, second = (augment(batch, config, generator(seed)) for _ in range(2))
    assert bits(first) == bits(second)
    assert bits(batch) == before


@given(CONFIGS, st.integers(0, 5), st.integers(1, 6))
def test_padding_is_zero_and_masks_stay(config: AugmentConfig, seed: int, num_windows: int) -> None:
    batch = make_batch(num_windows, seed=seed)
    found = augment(batch, config, generator(seed))
    assert torch.equal(found.frame_mask, batch.frame_mask)
    assert torch.equal(found.label_mask, batch.label_mask)
    for rows, mask in (
        (found.visual, found.frame_mask),
        (found.audio, found.frame_mask),
        (found.label, found.label_mask),
    ):
        assert not rows[~mask].any()
        assert rows.isfinite().all()
    assert found.label.abs().max() <= 1


def test_shift_is_uniform_over_both_directions() -> None:
    shift = draw_audio_shift(70_000, AugmentConfig(shift_audio_frames=3), generator())
    assert shift is not None
    values, counts = np.unique(shift.numpy(), return_counts=True)
    assert values.tolist() == [-3, -2, -1, 0, 1, 2, 3]
    assert stats.chisquare(counts).pvalue > 1e-3


def test_modalities_are_dropped_as_often_as_asked_for_and_never_both() -> None:
    batch = make_batch(20_000, window=2, full=True)
    found = augment(batch, AugmentConfig(drop_visual=0.2, drop_audio=0.5), generator())
    no_visual = ~found.visual.flatten(1).any(dim=1)
    no_audio = ~found.audio.flatten(1).any(dim=1)
    assert not (no_visual & no_audio).any()
    assert no_visual.float().mean().item() == pytest.approx(0.2, abs=0.012)  # four standard deviations
    assert no_audio.float().mean().item() == pytest.approx(0.5, abs=0.015)
    assert torch.equal(found.visual[~no_visual], batch.visual[~no_visual])
    assert torch.equal(found.audio[~no_audio], batch.audio[~no_audio])
    assert found.visual.dtype is torch.float16


def test_probabilities_of_one_always_drop_one_of_the_two() -> None:
    batch = make_batch(500, full=True)
    found = augment(batch, AugmentConfig(drop_visual=0.4, drop_audio=0.6), generator())
    assert (found.visual.flatten(1).any(dim=1) ^ found.audio.flatten(1).any(dim=1)).all()


def test_noise_is_gaussian_in_units_of_each_rows_root_mean_square() -> None:
    batch = make_batch(400, window=50)
    scaled = replace(batch, visual=batch.visual * 300)  # whose squares float16 cannot hold
    for each in (batch, scaled):
        found = augment(each, AugmentConfig(noise=0.25), generator(3))
        for name in ("visual", "audio"):
            rows, noisy = getattr(each, name).double(), getattr(found, name).double()
            unit = rows.square().mean(dim=-1, keepdim=True).sqrt()
            is_row = unit[..., 0] > 0
            assert not noisy[~is_row].any()
            noise = ((noisy - rows) / (0.25 * unit))[is_row].flatten().numpy()
            assert stats.kstest(noise, "norm").pvalue > 1e-3
            assert abs(noise.mean()) < 5 / len(noise) ** 0.5
        assert torch.equal(found.label, each.label)


def numbered(batch: Batch) -> Batch:
    """The same with audio rows that tell the windows apart: that of window i is the i-th unit vector."""
    unit = torch.eye(len(batch.frame_mask)).half()[:, None].expand(-1, batch.frame_mask.shape[1], -1)
    return replace(batch, audio=unit.masked_fill(~batch.frame_mask[..., None], 0))


def mixture(found: Batch) -> tuple[Tensor, Tensor]:
    """Each window's partner and its own share, from the first frames of a numbered batch."""
    first = found.audio[:, 0].double()
    own = first.diagonal()
    others = first - torch.diag(own)
    partner = torch.where(others.any(dim=1), others.argmax(dim=1), torch.arange(len(first)))
    return partner, own


def test_mixup_mixes_rows_and_labels_by_one_share() -> None:
    batch = numbered(make_batch(12, full=True))
    found = augment(batch, AugmentConfig(mixup=0.8), generator(4))
    partner, own = mixture(found)
    assert sorted(partner.tolist()) == list(range(12))  # each window is the partner of one
    assert ((own > 0.01) & (own < 0.99)).sum() > 6
    for name in ("visual", "audio", "label"):
        values = getattr(batch, name).double()
        expected = own[:, None, None] * values + (1 - own)[:, None, None] * values[partner]
        torch.testing.assert_close(getattr(found, name).double(), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("parameter", [0.2, 1.0, 3.0])
def test_mixups_shares_follow_the_beta_distribution(parameter: float) -> None:
    batch = numbered(make_batch(1500, window=1, full=True))
    _, own = mixture(augment(batch, AugmentConfig(mixup=parameter), generator(5)))
    assert stats.kstest(own.numpy(), stats.beta(parameter, parameter).cdf).pvalue > 1e-3


def test_mixup_keeps_rows_and_labels_that_the_partner_lacks() -> None:
    batch = numbered(make_batch(40, seed=2))
    batch.label_mask[:, 0] = True  # by which `mixture` tells the share
    found = augment(batch, AugmentConfig(mixup=0.8), generator(6))
    partner, own = mixture(found)
    assert (partner != torch.arange(40)).sum() > 30
    num_kept = 0
    for window, other in enumerate(partner.tolist()):
        for frame in torch.nonzero(batch.frame_mask[window]).flatten().tolist():
            is_kept = not batch.frame_mask[other, frame] or (
                bool(batch.label_mask[window, frame]) and not batch.label_mask[other, frame]
            )
            num_kept += is_kept
            share = 1.0 if is_kept else own[window].item()
            for name in ("visual", "audio", "label"):
                if name == "label" and not batch.label_mask[window, frame]:
                    continue
                values = getattr(batch, name)[:, frame].double()
                expected = share * values[window] + (1 - share) * values[other]
                torch.testing.assert_close(
                    getattr(found, name)[window, frame].double(), expected, atol=1e-6, rtol=0
                )
    assert num_kept > 30


def test_mixup_with_a_window_of_padding_alone_changes_nothing() -> None:
    full = make_batch(4, full=True)
    empty = {
        name: torch.cat([getattr(full, name)[:1], torch.zeros_like(getattr(full, name)[1:])])
        for name in FIELDS
    }
    batch = Batch(**empty)
    found = [augment(batch, AugmentConfig(mixup=0.5), generator(seed)) for seed in range(4)]
    for each in found:
        for name in FIELDS:
            assert torch.equal(getattr(each, name), getattr(batch, name).to(getattr(each, name).dtype))


def test_what_is_dropped_is_zero_whatever_else_is_done() -> None:
    batch = make_batch(50, full=True)
    found = augment(batch, AugmentConfig(drop_visual=1, noise=0.5, mixup=0.5), generator())
    assert not found.visual.any()
    assert found.audio.any()
