"""The plan of a corpus: who is in which split, what each feels, and when a modality lies."""

from __future__ import annotations

import numpy as np

from pipeline.config import CorpusConfig
from pipeline.sample_corpus.clip import ClipPlan, Split
from pipeline.sample_corpus.episodes import plan_episodes
from pipeline.sample_corpus.expression import FACE_AROUSAL_FIDELITY, FACE_VALENCE_FIDELITY
from pipeline.sample_corpus.person import draw_person
from pipeline.sample_corpus.trajectories import (
    MixedTrajectory,
    draw_trajectories,
    draw_unrelated_trajectories,
)
from pipeline.sample_corpus.voice import VOICE_AROUSAL_FIDELITY, VOICE_VALENCE_FIDELITY, draw_speaker

VALIDATION_SHARE = 0.15
TEST_SHARE = 0.25

_CLIPS_WITH_GAPS = 0.25
_GAP_S = (0.2, 0.5)

# Streams of randomness besides those of the splits.
_SUBJECT, _RENDERING = 10, 11


def split_sizes(num_clips: int) -> dict[Split, int]:
    """Clips in each split: 60 % for training, 15 % for validation, 25 % for testing, each at least one.

    >>> split_sizes(40)
    {'Train_Set': 24, 'Validation_Set': 6, 'Test_Set': 10}
    """
    num_validation = max(1, round(VALIDATION_SHARE * num_clips))
    num_test = max(1, round(TEST_SHARE * num_clips))
    return {
        "Train_Set": num_clips - num_validation - num_test,
        "Validation_Set": num_validation,
        "Test_Set": num_test,
    }


def plan_corpus(config: CorpusConfig) -> tuple[ClipPlan, ...]:
    """Plan all clips of a corpus; each has a subject of its own, so the splits share none.

    Args:
        config: Size and seed.

    Returns:
        Plans in order of the clip ids, train before validation before test.
    """
    plans: list[ClipPlan] = []
    for number, (split, num_clips) in enumerate(split_sizes(config.clips).items()):
        rng = np.random.default_rng((config.seed, number))
        plans += _plan_split(split, num_clips, len(plans), config, rng)
    return tuple(plans)


def _plan_split(
    split: Split, num_clips: int, first: int, config: CorpusConfig, rng: np.random.Generator
) -> list[ClipPlan]:
    """Plan the clips of one split, numbered from `first`."""
    num_frames = round(config.seconds * config.fps)
    seconds = num_frames / config.fps
    valence = draw_trajectories(num_clips, seconds, rng)
    arousal = draw_unrelated_trajectories(valence, seconds, rng)
    distractions = [
        draw_unrelated_trajectories(truth, seconds, rng) for truth in (valence, arousal, valence, arousal)
    ]
    episodes = plan_episodes(arousal, seconds, rng)
    gaps = _plan_gaps(num_clips, seconds, rng)

    plans = []
    for index in range(num_clips):
        number = first + index
        subject = np.random.default_rng((config.seed, _SUBJECT, number))
        face_valence, face_arousal, voice_valence, voice_arousal = (
            MixedTrajectory(meant=truth[index], distraction=distraction[index], fidelity=fidelity)
            for truth, distraction, fidelity in zip(
                (valence, arousal, valence, arousal),
                distractions,
                (
                    FACE_VALENCE_FIDELITY,
                    FACE_AROUSAL_FIDELITY,
                    VOICE_VALENCE_FIDELITY,
                    VOICE_AROUSAL_FIDELITY,
                ),
                strict=True,
            )
        )
        plans.append(
            ClipPlan(
                clip_id=f"subject_{number:03d}",
                split=split,
                num_frames=num_frames,
                fps=config.fps,
                seed=(config.seed, _RENDERING, number),
                person=draw_person(subject),
                speaker=draw_speaker(subject),
                other_speaker=draw_speaker(subject),
                valence=valence[index],
                arousal=arousal[index],
                face_valence=face_valence,
                face_arousal=face_arousal,
                voice_valence=voice_valence,
                voice_arousal=voice_arousal,
                episodes=episodes[index],
                not_annotated_s=gaps[index],
            )
        )
    return plans


def _plan_gaps(
    num_clips: int, seconds: float, rng: np.random.Generator
) -> tuple[tuple[tuple[float, float], ...], ...]:
    """Short stretches without labels in every fourth clip of a split, in at least one."""
    num_chosen = max(1, round(_CLIPS_WITH_GAPS * num_clips))
    chosen = set(rng.permutation(num_clips)[:num_chosen].tolist())
    gaps: list[tuple[tuple[float, float], ...]] = []
    for index in range(num_clips):
        start_s, length_s = rng.uniform(0.0, 0.9 * seconds), rng.uniform(*_GAP_S)
        gaps.append(((float(start_s), float(start_s + length_s)),) if index in chosen else ())
    return tuple(gaps)
