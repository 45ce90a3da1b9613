"""Smooth valence and arousal: between the knots, and over the whole scale."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pipeline.sample_corpus.trajectories import (
    MixedTrajectory,
    Trajectory,
    draw_trajectories,
    draw_unrelated_trajectories,
)


def _trajectory(times_s: list[float], values: list[float]) -> Trajectory:
    return Trajectory(knot_times_s=np.array(times_s), knot_values=np.array(values))


def test_moves_between_knots_along_half_a_cosine() -> None:
    trajectory = _trajectory([0.0, 2.0, 3.0], [-0.5, 0.7, 0.1])
    for time_s in (0.0, 0.3, 1.0, 1.9, 2.0):
        by_hand = -0.5 + 1.2 * (1.0 - math.cos(math.pi * time_s / 2.0)) / 2.0
        assert trajectory.at(np.array([time_s]))[0] == pytest.approx(by_hand, abs=1e-12)
    by_hand = 0.7 - 0.6 * (1.0 - math.cos(math.pi * 0.25)) / 2.0
    assert trajectory.at(np.array([2.25]))[0] == pytest.approx(by_hand, abs=1e-12)


def test_holds_the_nearest_knot_outside() -> None:
    trajectory = _trajectory([0.0, 1.0, 2.0], [-0.5, 0.7, 0.1])
    np.testing.assert_array_equal(trajectory.at(np.array([-1.5, 2.0, 9.0])), [-0.5, 0.1, 0.1])


@pytest.mark.parametrize(("num_clips", "seconds"), [(1, 20.0), (6, 6.0), (24, 6.0), (12, 1.0)])
def test_knots_cover_the_scale_evenly(num_clips: int, seconds: float) -> None:
    drawn = draw_trajectories(num_clips, seconds, np.random.default_rng(4))
    knots = np.sort(np.concatenate([trajectory.knot_values for trajectory in drawn]))
    strata = -1.0 + 2.0 * np.arange(knots.size + 1) / knots.size
    assert len(drawn) == num_clips
    assert np.all((knots >= strata[:-1]) & (knots <= strata[1:]))
    for trajectory in drawn:
        assert trajectory.knot_times_s[0] == 0.0
        assert trajectory.knot_times_s[-1] == pytest.approx(seconds)
        assert np.all(np.diff(trajectory.knot_times_s) > 0.2 * seconds / trajectory.knot_times_s.size)


def test_clips_have_means_of_their_own() -> None:
    drawn = draw_trajectories(200, 6.0, np.random.default_rng(0))
    means = np.array([trajectory.knot_values.mean() for trajectory in drawn])
    # Means of four independent values from [-1, 1] would spread by 0.29.
    assert 0.35 < means.std() < 0.55


def test_unrelated_trajectories_hardly_correlate() -> None:
    times_s = np.linspace(0.0, 6.0, 61)
    for seed in range(5):
        rng = np.random.default_rng(seed)
        first = draw_trajectories(6, 6.0, rng)
        second = draw_unrelated_trajectories(first, 6.0, rng)
        x = np.concatenate([trajectory.at(times_s) for trajectory in first])
        y = np.concatenate([trajectory.at(times_s) for trajectory in second])
        assert abs(np.corrcoef(x, y)[0, 1]) < 0.05


def test_mixture_has_the_asked_correlation_and_stays_in_range() -> None:
    rng = np.random.default_rng(1)
    times_s = np.linspace(0.0, 6.0, 61)
    meant, distraction = draw_trajectories(400, 6.0, rng), draw_trajectories(400, 6.0, rng)
    shown = np.concatenate(
        [
            MixedTrajectory(meant=a, distraction=b, fidelity=0.6).at(times_s)
            for a, b in zip(meant, distraction, strict=True)
        ]
    )
    truth = np.concatenate([trajectory.at(times_s) for trajectory in meant])
    assert np.corrcoef(shown, truth)[0, 1] == pytest.approx(0.6, abs=0.05)
    assert np.abs(shown).max() <= 1.0
