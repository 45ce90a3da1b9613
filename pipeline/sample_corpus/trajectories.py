"""Smooth valence and arousal over time, spread evenly over [-1, 1].

A trajectory passes through knots about two seconds apart, high and low in turn around a mean of its own clip,
and moves between them along half a cosine. The knots of a group of clips are drawn together: their values are
stratified, so that even a split of six clips reaches both ends of the scale.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

KNOT_SPACING_S = 2.0
NUM_CANDIDATES = 64


@dataclass(frozen=True, kw_only=True)
class Trajectory:
    """A smooth quantity in [-1, 1] over the time of a clip.

    Attributes:
        knot_times_s: Rising times in seconds, the first at the clip's start, the last at its end, shape (K,).
        knot_values: Value at each knot, shape (K,).
    """

    knot_times_s: NDArray[np.float64]
    knot_values: NDArray[np.float64]

    def at(self, times_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values at given times; outside the knots the nearest knot's value holds.

        Args:
            times_s: Seconds since the start of the clip, any shape.

        Returns:
            Values in [-1, 1], same shape.
        """
        last = self.knot_times_s.size - 1
        right = np.clip(np.searchsorted(self.knot_times_s, times_s, side="right"), 1, last)
        start, end = self.knot_times_s[right - 1], self.knot_times_s[right]
        share = np.clip((times_s - start) / (end - start), 0.0, 1.0)
        eased = (1.0 - np.cos(np.pi * share)) / 2.0
        return self.knot_values[right - 1] * (1.0 - eased) + self.knot_values[right] * eased


@dataclass(frozen=True, kw_only=True)
class MixedTrajectory:
    """What a modality shows of a quantity: mostly the quantity itself, or mostly something else.

    Attributes:
        meant: The true quantity.
        distraction: An unrelated trajectory.
        fidelity: Share of the truth, 0 to 1; for independent parts of equal spread, the correlation of what
            is shown with the truth.
    """

    meant: Trajectory
    distraction: Trajectory
    fidelity: float

    def at(self, times_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Shown values at given times, limited to [-1, 1]; same shape as `times_s`."""
        rest = math.sqrt(1.0 - self.fidelity**2)
        shown = self.fidelity * self.meant.at(times_s) + rest * self.distraction.at(times_s)
        return np.clip(shown, -1.0, 1.0)


def draw_trajectories(num_clips: int, seconds: float, rng: np.random.Generator) -> tuple[Trajectory, ...]:
    """Draw one trajectory for each clip of a group, together covering [-1, 1] evenly.

    Args:
        num_clips: Clips in the group.
        seconds: Length of each clip in seconds.
        rng: Source of randomness.

    Returns:
        One trajectory per clip.
    """
    num_knots = max(3, round(seconds / KNOT_SPACING_S) + 1)
    means = -1.0 + 2.0 * (rng.permutation(num_clips) + rng.random(num_clips)) / num_clips
    signs = rng.choice((-1.0, 1.0), num_clips)[:, None] * np.where(np.arange(num_knots) % 2 == 0, 1.0, -1.0)
    values = means[:, None] + signs * rng.uniform(0.3, 0.9, (num_clips, num_knots))
    # Ranks instead of values: as even a spread as there can be, and still the same ups and downs.
    ranks = np.argsort(np.argsort(values, axis=None)).reshape(values.shape)
    values = -1.0 + 2.0 * (ranks + rng.random(values.shape)) / values.size

    spacing_s = seconds / (num_knots - 1)
    times_s = np.tile(np.arange(num_knots) * spacing_s, (num_clips, 1))
    times_s[:, 1:-1] += spacing_s * rng.uniform(-0.25, 0.25, (num_clips, num_knots - 2))
    return tuple(
        Trajectory(knot_times_s=clip_times_s, knot_values=clip_values)
        for clip_times_s, clip_values in zip(times_s, values, strict=True)
    )


def draw_unrelated_trajectories(
    reference: Sequence[Trajectory], seconds: float, rng: np.random.Generator
) -> tuple[Trajectory, ...]:
    """Draw trajectories for the same clips that hardly correlate with the given ones.

    Few clips correlate by chance: of `NUM_CANDIDATES` draws the one with the smallest correlation over all
    frames is kept.

    Args:
        reference: One trajectory per clip.
        seconds: Length of each clip in seconds.
        rng: Source of randomness.

    Returns:
        One trajectory per clip.
    """
    times_s = np.linspace(0.0, seconds, max(8, round(10 * seconds)))
    given = np.concatenate([trajectory.at(times_s) for trajectory in reference])
    candidates = [draw_trajectories(len(reference), seconds, rng) for _ in range(NUM_CANDIDATES)]
    correlations = [
        abs(np.corrcoef(given, np.concatenate([trajectory.at(times_s) for trajectory in candidate]))[0, 1])
        for candidate in candidates
    ]
    return candidates[int(np.argmin(correlations))]
