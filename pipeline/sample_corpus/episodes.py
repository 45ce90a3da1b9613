"""Stretches of a clip in which one modality lies or falls silent, so that neither suffices alone.

About a fifth of the time of each split: the face is covered or leaves the picture; somebody off screen
speaks; noise covers the voice; the sound runs late or early. The labels stay with the subject throughout.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.sample_corpus.trajectories import Trajectory

EpisodeKind = Literal["occlusion", "absence", "second_voice", "noise", "audio_shift"]
KINDS: tuple[EpisodeKind, ...] = ("occlusion", "second_voice", "absence", "audio_shift", "noise")
VISUAL_KINDS: frozenset[EpisodeKind] = frozenset({"occlusion", "absence"})
MAX_SHIFT_S = 1.5
NOISE_DB = (0.0, 7.0)

SLOT_S = 6.0
SLOTS_WITH_EPISODE = 0.8
EPISODE_SHARE_OF_SLOT = (0.2, 0.28)


@dataclass(frozen=True, kw_only=True)
class Episode:
    """One stretch of a clip in which one modality is of no use.

    Attributes:
        kind: What happens.
        start_s: First moment, seconds since the start of the clip.
        end_s: Last moment in seconds.
        variant: What covers the face (`hand`, `card`), where the subject leaves (`left`, `right`), else
            empty.
        amount: Arousal of the second voice in [-1, 1]; level of the noise in dB against a voice of medium
            arousal; delay of the sound in seconds (negative: early); else 0.
    """

    kind: EpisodeKind
    start_s: float
    end_s: float
    variant: str = ""
    amount: float = 0.0

    @property
    def modality(self) -> Literal["visual", "audio"]:
        """The modality that is of no use."""
        return "visual" if self.kind in VISUAL_KINDS else "audio"

    @property
    def detail(self) -> str:
        """What exactly happens, in words for the table of episodes."""
        match self.kind:
            case "occlusion" | "absence":
                return self.variant
            case "second_voice":
                return f"arousal {self.amount:+.2f}"
            case "noise":
                return f"level {self.amount:+.1f} dB"
            case "audio_shift":
                return f"{'late' if self.amount > 0 else 'early'} by {abs(self.amount):.2f} s"

    def weight(self, times_s: NDArray[np.float64], ramp_s: float) -> NDArray[np.float64]:
        """How far the episode is in force: 0 outside, rising smoothly to 1 within `ramp_s` of its ends.

        Args:
            times_s: Seconds since the start of the clip, any shape.
            ramp_s: Seconds for coming and for going, inside the episode.

        Returns:
            Weights in [0, 1], same shape.
        """
        inside_s = np.minimum(times_s - self.start_s, self.end_s - times_s)
        share = np.clip(inside_s / min(ramp_s, (self.end_s - self.start_s) / 2.0), 0.0, 1.0)
        return share * share * (3.0 - 2.0 * share)


def plan_episodes(
    arousal: Sequence[Trajectory], seconds: float, rng: np.random.Generator
) -> tuple[tuple[Episode, ...], ...]:
    """Deal episodes of all kinds in turn over the clips of one split.

    Each clip is divided into slots of six seconds or more; four slots of five, chosen at random, hold an
    episode.

    Args:
        arousal: True arousal of each clip; a second voice is far from it.
        seconds: Length of each clip in seconds.
        rng: Source of randomness.

    Returns:
        Episodes of each clip in order of time, not overlapping.
    """
    slots_per_clip = max(1, int(seconds / SLOT_S))
    slot_s = seconds / slots_per_clip
    num_slots = len(arousal) * slots_per_clip
    num_episodes = max(1, round(SLOTS_WITH_EPISODE * num_slots))
    chosen = np.sort(rng.permutation(num_slots)[:num_episodes])
    # One shuffled turn of the kinds after another: as even as their number allows, without a pattern.
    turns = [kind for _ in range(-(-num_episodes // len(KINDS))) for kind in rng.permutation(KINDS)]

    plans: list[list[Episode]] = [[] for _ in arousal]
    for number, (slot, kind) in enumerate(zip(chosen, turns, strict=False)):
        clip, slot_in_clip = divmod(int(slot), slots_per_clip)
        duration_s = slot_s * rng.uniform(*EPISODE_SHARE_OF_SLOT)
        start_s = slot_s * slot_in_clip + rng.uniform(0.05, 0.95) * (slot_s - duration_s)
        # Milliseconds: what the table of episodes says is exactly what happens.
        start_s, end_s = round(start_s, 3), round(start_s + duration_s, 3)
        # From turn to turn the variants take turns too.
        side = -1.0 if (number // len(KINDS)) % 2 == 0 else 1.0
        plans[clip].append(_draw_episode(str(kind), start_s, end_s, side, arousal[clip], rng))
    return tuple(tuple(plan) for plan in plans)


def _draw_episode(
    kind: str, start_s: float, end_s: float, side: float, arousal: Trajectory, rng: np.random.Generator
) -> Episode:
    """Draw the details of one episode; `side` (-1 or 1) chooses between its two variants."""
    second = int(side > 0)
    match kind:
        case "occlusion":
            return Episode(kind="occlusion", start_s=start_s, end_s=end_s, variant=("hand", "card")[second])
        case "absence":
            return Episode(kind="absence", start_s=start_s, end_s=end_s, variant=("left", "right")[second])
        case "second_voice":
            own = float(arousal.at(np.linspace(start_s, end_s, 16)).mean())
            other = round(-np.copysign(rng.uniform(0.6, 1.0), own), 2)
            return Episode(kind="second_voice", start_s=start_s, end_s=end_s, amount=float(other))
        case "noise":
            level_db = round(float(rng.uniform(*NOISE_DB)), 1)
            return Episode(kind="noise", start_s=start_s, end_s=end_s, amount=level_db)
        case _:
            delay_s = round(side * float(rng.uniform(0.6, MAX_SHIFT_S)), 2)
            return Episode(kind="audio_shift", start_s=start_s, end_s=end_s, amount=delay_s)
