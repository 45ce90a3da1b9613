"""Stretches in which a modality lies: their number, place and details."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.sample_corpus.episodes import Episode, plan_episodes
from pipeline.sample_corpus.trajectories import Trajectory, draw_trajectories


def _arousal(num_clips: int, seconds: float) -> tuple[Trajectory, ...]:
    return draw_trajectories(num_clips, seconds, np.random.default_rng(7))


@pytest.mark.parametrize(("num_clips", "seconds"), [(5, 6.0), (24, 6.0), (2, 60.0), (10, 2.0), (1, 30.0)])
def test_episodes_take_a_fifth_of_the_time_and_do_not_overlap(num_clips: int, seconds: float) -> None:
    for seed in range(5):
        plans = plan_episodes(_arousal(num_clips, seconds), seconds, np.random.default_rng(seed))
        assert len(plans) == num_clips
        total_s = sum(episode.end_s - episode.start_s for plan in plans for episode in plan)
        assert 0.15 <= total_s / (num_clips * seconds) <= 0.25
        for plan in plans:
            edges = [edge for episode in plan for edge in (episode.start_s, episode.end_s)]
            assert edges == sorted(edges)
            assert all(0.0 <= edge <= seconds for edge in edges)


def test_all_kinds_take_turns() -> None:
    plans = plan_episodes(_arousal(25, 6.0), 6.0, np.random.default_rng(0))
    kinds = [episode.kind for plan in plans for episode in plan]
    assert len(kinds) == 20
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "occlusion": 4,
        "absence": 4,
        "second_voice": 4,
        "noise": 4,
        "audio_shift": 4,
    }
    variants = sorted(episode.variant for plan in plans for episode in plan if episode.variant)
    assert variants == ["card"] * 2 + ["hand"] * 2 + ["left"] * 2 + ["right"] * 2


def test_second_voice_is_far_from_the_subject() -> None:
    arousal = _arousal(100, 6.0)
    plans = plan_episodes(arousal, 6.0, np.random.default_rng(3))
    seconds = [
        (episode, clip)
        for clip, plan in enumerate(plans)
        for episode in plan
        if episode.kind == "second_voice"
    ]
    assert len(seconds) == 16
    for episode, clip in seconds:
        own = arousal[clip].at(np.linspace(episode.start_s, episode.end_s, 50)).mean()
        assert abs(episode.amount - own) >= 0.55
        assert -1.0 <= episode.amount <= 1.0


def test_shifts_go_both_ways_by_at_most_a_second_and_a_half() -> None:
    plans = plan_episodes(_arousal(100, 6.0), 6.0, np.random.default_rng(3))
    delays_s = [episode.amount for plan in plans for episode in plan if episode.kind == "audio_shift"]
    assert min(delays_s) < 0 < max(delays_s)
    assert all(0.6 <= abs(delay_s) <= 1.5 for delay_s in delays_s)


def test_weight_rises_smoothly_inside_the_episode() -> None:
    episode = Episode(kind="noise", start_s=1.0, end_s=3.0)
    times_s = np.array([0.99, 1.0, 1.1, 1.2, 1.4, 2.0, 2.8, 3.0, 3.5])
    by_hand = [0.0, 0.0, 5 / 32, 0.5, 1.0, 1.0, 0.5, 0.0, 0.0]
    np.testing.assert_allclose(episode.weight(times_s, 0.4), by_hand, atol=1e-12)


def test_weight_of_a_short_episode_peaks_in_its_middle() -> None:
    episode = Episode(kind="noise", start_s=1.0, end_s=1.2)
    np.testing.assert_allclose(episode.weight(np.array([1.05, 1.1, 1.15]), 0.4), [0.5, 1.0, 0.5], atol=1e-9)


@pytest.mark.parametrize(
    ("kind", "amount", "modality", "detail"),
    [
        ("audio_shift", 1.2, "audio", "late by 1.20 s"),
        ("audio_shift", -0.75, "audio", "early by 0.75 s"),
        ("noise", 3.0, "audio", "level +3.0 dB"),
        ("second_voice", -0.8, "audio", "arousal -0.80"),
        ("occlusion", 0.0, "visual", "hand"),
        ("absence", 0.0, "visual", "hand"),
    ],
)
def test_details_in_words(kind: str, amount: float, modality: str, detail: str) -> None:
    episode = Episode(kind=kind, start_s=0.0, end_s=1.0, variant="hand", amount=amount)  # type: ignore[arg-type]
    assert (episode.modality, episode.detail) == (modality, detail)
