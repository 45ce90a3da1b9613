"""Corrupted rows: what they rest on, what stays, and the noise's energy, in numpy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
import torch

from tagf_head.annotations import load_annotations
from tagf_head.data.device_rows import DeviceRows
from tagf_head.data.split_data import SplitData, load_clips, load_split, open_features
from tagf_head.data.windows import plan_windows
from tagf_head.robustness.conditions import Condition, feature_conditions
from tagf_head.robustness.config import RobustnessConfig
from tagf_head.robustness.corruption import corrupted_rows
from tagf_head.robustness.feature_rows import altered_rows, read_clean_rows

CONFIG = RobustnessConfig(burst_s=0.2, seed=4)


def load(corpus, clip_ids: tuple[str, ...] | None = None) -> tuple[SplitData, DeviceRows]:
    store, annotations = open_features(corpus.store), load_annotations(corpus.annotations, "mean")
    if clip_ids is None:
        data = load_split(store, annotations, "test", rows_memory_gb=0)
    else:
        data = load_clips(store, annotations, clip_ids, name="some", rows_memory_gb=0)
    return data, read_clean_rows(store, data)


@pytest.fixture(scope="module")
def loaded(corpus) -> tuple[SplitData, DeviceRows]:
    return load(corpus)


def condition(family: str, modality: str, level: float) -> Condition:
    config = replace(CONFIG, shift_s=(level,), noise_snr_db=(level,), drop_percent=(min(abs(level), 100),))
    return next(each for each in feature_conditions(config, (family,)) if each.modality == modality)


def corrupt(loaded: tuple[SplitData, DeviceRows], family: str, modality: str, level: float) -> DeviceRows:
    data, clean = loaded
    return corrupted_rows(clean, data, condition(family, modality, level), CONFIG)


def test_clean_rows_are_the_stores(corpus, loaded) -> None:
    data, clean = loaded
    clips = [corpus.clips[clip_id] for clip_id in data.clip_ids]
    visual = np.concatenate([clip.streams["visual"][0] for clip in clips])  # the center view
    audio = np.concatenate([clip.streams["audio"] for clip in clips])
    np.testing.assert_array_equal(clean.visual[0, :-1].numpy(), visual)
    np.testing.assert_array_equal(clean.audio[:-1].numpy(), audio)
    assert clean.num_views == 1


@pytest.mark.parametrize(
    ("family", "modality"), [("shift", "audio"), *(("drop", m) for m in ("visual", "audio", "both"))]
)
def test_level_zero_changes_no_bit(loaded, family: str, modality: str) -> None:
    clean, found = loaded[1], corrupt(loaded, family, modality, 0.0)
    assert torch.equal(found.visual, clean.visual)
    assert torch.equal(found.audio, clean.audio)
    assert not altered_rows(clean, found).any()


def test_shift_takes_rows_of_the_same_clip(corpus, loaded) -> None:
    data, clean = loaded
    found = corrupt(loaded, "shift", "audio", 0.2)  # 5 rows at the corpus's 25 per second
    start = 0
    for clip_id in data.clip_ids:
        audio = corpus.clips[clip_id].streams["audio"]
        rows = found.audio[start : start + len(audio)].numpy()
        np.testing.assert_array_equal(rows[:5], 0)
        np.testing.assert_array_equal(rows[5:], audio[:-5])
        start += len(audio)
    assert torch.equal(found.visual, clean.visual)
    np.testing.assert_array_equal(found.audio[-1].numpy(), 0)


def test_drop_zeroes_the_share_of_every_clip(corpus, loaded) -> None:
    data, clean = loaded
    found = corrupt(loaded, "drop", "audio", 40)
    away = (found.audio[:-1] == 0).all(dim=1).numpy()  # no clean audio row is zero
    start = 0
    for size in data.row_size:
        of_clip = away[start : start + size]
        assert abs(of_clip.sum() - 0.4 * size) <= 0.5
        start += size
    np.testing.assert_array_equal(altered_rows(clean, found), away)
    np.testing.assert_array_equal(found.audio[:-1][~away].numpy(), clean.audio[:-1][~away].numpy())
    assert torch.equal(found.visual, clean.visual)


def test_rows_of_zeros_are_not_altered_by_being_dropped(loaded) -> None:
    data, clean = loaded
    found = corrupt(loaded, "drop", "visual", 100)
    assert not found.visual.any()
    np.testing.assert_array_equal(altered_rows(clean, found), data.face_found)


@pytest.mark.parametrize("snr_db", [10.0, 0.0, -5.0])
def test_noise_has_the_energy_that_is_asked_for(loaded, snr_db: float) -> None:
    data, clean = loaded
    found = corrupt(loaded, "noise", "both", snr_db)
    for before, after in ((clean.visual[0, :-1], found.visual[0, :-1]), (clean.audio[:-1], found.audio[:-1])):
        x, y = before.double().numpy(), after.double().numpy()
        is_zero = ~x.any(axis=1)
        np.testing.assert_array_equal(y[is_zero], 0)
        x, noise = x[~is_zero], (y - x)[~is_zero]
        # In units of what each row's noise should be, it is a standard normal variable.
        deviation = np.sqrt((x**2).mean(axis=1, keepdims=True) / 10 ** (snr_db / 10))
        unit = (noise / deviation).ravel()
        assert scipy.stats.kstest(unit, "norm").pvalue > 1e-3
        assert np.mean(unit**2) == pytest.approx(1, abs=4 * np.sqrt(2 / unit.size))
    assert data.face_found.sum() < len(data.face_found)
    assert not found.audio[-1].any()


def test_noise_of_another_level_is_the_same_noise_scaled(loaded) -> None:
    clean = loaded[1].audio[:-1].double()
    loud, soft = (
        corrupt(loaded, "noise", "audio", level).audio[:-1].double() - clean for level in (0.0, 20.0)
    )
    torch.testing.assert_close(loud, 10 * soft, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("family", "level"), [("noise", 3.0), ("drop", 30.0)])
def test_both_is_each_by_itself(loaded, family: str, level: float) -> None:
    both, visual, audio = (corrupt(loaded, family, each, level) for each in ("both", "visual", "audio"))
    assert torch.equal(both.visual, visual.visual)
    assert torch.equal(both.audio, audio.audio)
    assert torch.equal(visual.audio, loaded[1].audio)
    assert torch.equal(audio.visual, loaded[1].visual)


def test_modalities_have_bursts_of_their_own(loaded) -> None:
    found = corrupt(loaded, "drop", "both", 30)
    audio_away = ~found.audio[:-1].any(dim=1).numpy()
    visual_away = ~found.visual[0, :-1].any(dim=1).numpy()
    face_found = loaded[0].face_found
    assert not np.array_equal(audio_away[face_found], visual_away[face_found])


@pytest.mark.parametrize(("family", "level"), [("shift", 0.2), ("noise", 3.0), ("drop", 30.0)])
def test_a_clip_is_corrupted_alike_in_any_company(corpus, loaded, family: str, level: float) -> None:
    alone = load(corpus, ("e3",))
    first = int(loaded[0].row_size[:-1].sum())
    assert loaded[0].clip_ids[-1] == "e3"
    found, of_many = (corrupt(each, family, "audio", level).audio for each in (alone, loaded))
    assert torch.equal(found, of_many[first:])


def test_another_seed_gives_other_noise(loaded) -> None:
    data, clean = loaded
    noise = condition("noise", "audio", 0.0)
    found, other = (corrupted_rows(clean, data, noise, replace(CONFIG, seed=seed)).audio for seed in (4, 5))
    assert not torch.equal(found, other)
    assert torch.equal(found, corrupted_rows(clean, data, noise, CONFIG).audio)


def test_windows_that_overlap_see_the_same_rows(loaded) -> None:
    data, _ = loaded
    found = corrupt(loaded, "noise", "both", 0.0)
    plan = plan_windows(data.row_size, 10, 4)
    seen: dict[int, torch.Tensor] = {}
    start = np.cumsum(data.row_size) - data.row_size
    batch = next(found.batches(plan, len(plan)))
    num_twice = 0
    for window in range(len(plan)):
        first = int(start[plan.clip[window]] + plan.start[window])
        for offset in range(int(plan.length[window])):
            row = batch.visual[window, offset]
            num_twice += first + offset in seen
            assert torch.equal(seen.setdefault(first + offset, row), row)
    assert num_twice > 50


def test_bursts_last_as_long_at_every_frame_rate(loaded) -> None:
    data, clean = loaded
    # The second clip, of 38 rows, at 10 frames per second: its bursts of 0.2 s are 2 rows, not 5.
    first, second = slice(0, 26), slice(26, 64)
    time_s = data.time_s.copy()
    time_s[second] = np.arange(38) / 10
    audio = corrupted_rows(
        clean, replace(data, time_s=time_s), condition("drop", "audio", 30.0), CONFIG
    ).audio
    away = ~audio[:-1].any(dim=1).numpy()
    assert burst_lengths(away[first]) == [4, 4]
    assert sorted(burst_lengths(away[second])) == [1, 2, 2, 2, 2, 2]


def burst_lengths(away: np.ndarray) -> list[int]:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], away, [0]])))
    return (edges[1::2] - edges[::2]).tolist()


@pytest.mark.gpu
@pytest.mark.parametrize(("family", "level"), [("shift", 0.2), ("noise", 3.0), ("drop", 30.0)])
def test_a_gpu_gives_the_same_rows(loaded, family: str, level: float) -> None:
    data, clean = loaded
    moved = replace(
        clean,
        **{name: getattr(clean, name).to("cuda") for name in ("visual", "audio", "label", "label_mask")},
    )
    on_gpu, on_cpu = (corrupt((data, rows), family, "audio", level) for rows in (moved, clean))
    tolerance = 1e-5 if family == "noise" else 0
    torch.testing.assert_close(on_gpu.audio.cpu(), on_cpu.audio, rtol=0, atol=tolerance)
    np.testing.assert_array_equal(altered_rows(moved, on_gpu), altered_rows(clean, on_cpu))
