"""The plan of the default corpus, nothing drawn: splits, labels, episodes, what each modality shows."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.config import CorpusConfig
from pipeline.sample_corpus.clip import ClipPlan, labels
from pipeline.sample_corpus.plan import plan_corpus, split_sizes

_SPLITS = ("Train_Set", "Validation_Set", "Test_Set")
_SEEDS = (0, 1, 2, 7)


@pytest.fixture(scope="module", params=_SEEDS)
def plans(request: pytest.FixtureRequest) -> tuple[ClipPlan, ...]:
    return plan_corpus(CorpusConfig(seed=request.param))


def _annotated(plans: tuple[ClipPlan, ...], split: str) -> np.ndarray:
    rows = np.concatenate([labels(plan) for plan in plans if plan.split == split])
    return rows[rows[:, 0] != -5.0]


@pytest.mark.parametrize(
    ("num_clips", "expected"), [(4, (2, 1, 1)), (7, (4, 1, 2)), (40, (24, 6, 10)), (100, (60, 15, 25))]
)
def test_split_sizes(num_clips: int, expected: tuple[int, int, int]) -> None:
    assert tuple(split_sizes(num_clips).values()) == expected
    assert tuple(split_sizes(num_clips)) == _SPLITS


def test_subjects_are_all_different(plans: tuple[ClipPlan, ...]) -> None:
    assert len({plan.clip_id for plan in plans}) == 40
    assert len({plan.person for plan in plans}) == 40
    assert len({plan.speaker for plan in plans}) == 40
    assert [[plan.split for plan in plans].count(split) for split in _SPLITS] == [24, 6, 10]


def test_labels_cover_the_scale_in_every_split(plans: tuple[ClipPlan, ...]) -> None:
    for split in _SPLITS:
        rows = _annotated(plans, split)
        assert np.all(rows.min(axis=0) < -0.8)
        assert np.all(rows.max(axis=0) > 0.8)
        assert np.abs(rows).max() <= 1.0
        assert np.all(np.abs(rows.mean(axis=0)) < 0.25)
        assert abs(np.corrcoef(rows.T)[0, 1]) < 0.2


def test_labels_are_spread_about_evenly(plans: tuple[ClipPlan, ...]) -> None:
    rows = np.concatenate([_annotated(plans, split) for split in _SPLITS])
    for values in rows.T:
        share = np.histogram(values, bins=5, range=(-1.0, 1.0))[0] / values.size
        assert share.min() > 0.10
        assert share.max() < 0.32


def test_every_clip_moves_and_none_jumps(plans: tuple[ClipPlan, ...]) -> None:
    for plan in plans:
        for trajectory in (plan.valence, plan.arousal):
            values = trajectory.at(plan.frame_times_s)
            assert np.ptp(values) > 0.4
            # At most the whole scale along half a cosine of a second: pi per second.
            assert np.abs(np.diff(values)).max() < np.pi / plan.fps
    assert np.median([np.ptp(plan.valence.at(plan.frame_times_s)) for plan in plans]) > 0.8


def test_short_unannotated_stretches_in_every_split(plans: tuple[ClipPlan, ...]) -> None:
    for split in _SPLITS:
        missing = [(labels(plan) == -5.0).all(axis=1) for plan in plans if plan.split == split]
        assert 0.0 < np.concatenate(missing).mean() < 0.05
        assert sum(bool(rows.any()) for rows in missing) < len(missing) / 2
    for plan in plans:
        rows = labels(plan)
        np.testing.assert_array_equal(rows[:, 0] == -5.0, rows[:, 1] == -5.0)


def test_episodes_in_every_split(plans: tuple[ClipPlan, ...]) -> None:
    for split in _SPLITS:
        episodes = [episode for plan in plans if plan.split == split for episode in plan.episodes]
        clips = sum(plan.split == split for plan in plans)
        share = sum(episode.end_s - episode.start_s for episode in episodes) / (6.0 * clips)
        assert 0.15 <= share <= 0.25
        assert {episode.kind for episode in episodes} == {
            "occlusion",
            "absence",
            "second_voice",
            "noise",
            "audio_shift",
        }


def test_each_modality_is_strong_in_one_dimension(plans: tuple[ClipPlan, ...]) -> None:
    def correlation(shown: str, truth: str) -> float:
        x = np.concatenate([getattr(plan, shown).at(plan.frame_times_s) for plan in plans])
        y = np.concatenate([getattr(plan, truth).at(plan.frame_times_s) for plan in plans])
        return float(np.corrcoef(x, y)[0, 1])

    assert correlation("face_valence", "valence") > 0.9
    assert correlation("voice_arousal", "arousal") > 0.9
    assert 0.4 < correlation("face_arousal", "arousal") < 0.7
    assert 0.4 < correlation("voice_valence", "valence") < 0.75
    assert abs(correlation("face_valence", "arousal")) < 0.2
    assert abs(correlation("voice_arousal", "valence")) < 0.2


def test_plan_repeats_and_seeds_differ() -> None:
    first, again = plan_corpus(CorpusConfig(clips=4)), plan_corpus(CorpusConfig(clips=4))
    other = plan_corpus(CorpusConfig(clips=4, seed=1))
    for plan, same, different in zip(first, again, other, strict=True):
        assert plan.person == same.person != different.person
        assert plan.episodes == same.episodes
        np.testing.assert_array_equal(labels(plan), labels(same))
        assert not np.array_equal(labels(plan), labels(different))


@pytest.mark.parametrize(("seconds", "fps", "num_frames"), [(1.0, 5, 5), (2.5, 30, 75), (1.03, 25, 26)])
def test_frames_of_other_lengths_and_rates(seconds: float, fps: int, num_frames: int) -> None:
    for plan in plan_corpus(CorpusConfig(clips=5, seconds=seconds, fps=fps)):
        assert plan.num_frames == num_frames
        assert labels(plan).shape == (num_frames, 2)
