"""From what a subject feels and says to what the face does: expression, blinks and head motion.

The face follows valence closely and arousal loosely: what it shows of arousal is mostly an unrelated
trajectory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FACE_VALENCE_FIDELITY = 0.96
FACE_AROUSAL_FIDELITY = 0.62

BLINK_S = 0.2
BLINKS_PER_S = 0.25


@dataclass(frozen=True, kw_only=True)
class Expression:
    """State of the face in one picture.

    Attributes:
        smile: Curve of the mouth, -1 (corners down) to 1 (corners up).
        mouth_open: Opening of the mouth, 0 to 1.
        brow_raise: Height of the brows, -1 to 1.
        frown: Slant of the brows, -1 (inner ends up) to 1 (inner ends down).
        eye_open: Opening of the eyes, 0 (shut) to 1.4 (wide).
    """

    smile: float
    mouth_open: float
    brow_raise: float
    frown: float
    eye_open: float


@dataclass(frozen=True, kw_only=True)
class Pose:
    """Place and turn of the head in one picture.

    Attributes:
        shift: Offset of the head from its resting place, in face units (x, y).
        roll_deg: Tilt towards a shoulder in degrees.
        turn: Turn to the side and nod, as the offset of the features within the face, in face units (x, y).
        lean: Offset of head and body together, as a share of the picture's width; beyond 1.1 they are out of
            the picture.
    """

    shift: tuple[float, float]
    roll_deg: float
    turn: tuple[float, float]
    lean: float


def express(
    valence: NDArray[np.float64],
    arousal: NDArray[np.float64],
    voice_level: NDArray[np.float64],
    times_s: NDArray[np.float64],
    rng: np.random.Generator,
) -> list[Expression]:
    """Expressions of a clip, one per picture.

    Args:
        valence: Valence that the face shows, in [-1, 1], shape (N,).
        arousal: Arousal that the face shows, in [-1, 1], shape (N,).
        voice_level: How far a syllable opens the mouth, 0 to 1, shape (N,).
        times_s: Time of each picture in seconds, shape (N,).
        rng: Source of randomness (blinks).

    Returns:
        N expressions.
    """
    positive, negative = np.maximum(valence, 0.0), np.maximum(-valence, 0.0)
    smile = valence
    mouth_open = np.clip(0.14 + 0.14 * arousal + voice_level * (0.30 + 0.22 * arousal), 0.0, 1.0)
    brow_raise = np.clip(0.80 * arousal + 0.20 * valence, -1.0, 1.0)
    # Displeasure knits the brows; without arousal it lifts their inner ends instead, as in grief.
    frown = np.clip(negative * (0.45 + 0.5 * arousal) - 0.25 * positive, -1.0, 1.0)
    eye_open = (0.95 + 0.42 * arousal - 0.12 * positive) * (1.0 - _blinks(times_s, rng))
    return [
        Expression(
            smile=float(smile[index]),
            mouth_open=float(mouth_open[index]),
            brow_raise=float(brow_raise[index]),
            frown=float(frown[index]),
            eye_open=float(eye_open[index]),
        )
        for index in range(times_s.size)
    ]


def move(
    arousal: NDArray[np.float64],
    lean: NDArray[np.float64],
    times_s: NDArray[np.float64],
    restlessness: float,
    rng: np.random.Generator,
) -> list[Pose]:
    """Head motion of a clip, one pose per picture; livelier with arousal.

    Args:
        arousal: Arousal that the face shows, in [-1, 1], shape (N,).
        lean: Offset of the whole person, share of the picture's width, shape (N,).
        times_s: Time of each picture in seconds, shape (N,).
        restlessness: How much this person moves, about 1.
        rng: Source of randomness.

    Returns:
        N poses.
    """
    size = restlessness * (1.0 + 0.5 * arousal)
    sway = [size * _wander(times_s, rng) for _ in range(5)]
    return [
        Pose(
            shift=(float(0.09 * x), float(0.06 * y)),
            roll_deg=float(4.0 * roll),
            turn=(float(0.05 * yaw), float(0.03 * nod)),
            lean=float(aside),
        )
        for x, y, roll, yaw, nod, aside in zip(*sway, lean, strict=True)
    ]


def _blinks(times_s: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """How far the lids are shut by blinking, 0 to 1, shape (N,)."""
    length_s = float(times_s[-1]) + 1.0
    starts_s: Sequence[float] = rng.uniform(0.0, length_s, int(rng.poisson(BLINKS_PER_S * length_s))).tolist()
    shut = np.zeros_like(times_s)
    for start_s in starts_s:
        share = np.clip((times_s - start_s) / BLINK_S, 0.0, 1.0)
        shut = np.maximum(shut, np.sin(np.pi * share))
    return shut


def _wander(times_s: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """A slow random motion of about unit size, shape (N,)."""
    rates_hz = rng.uniform((0.1, 0.3, 0.6), (0.25, 0.5, 1.0))
    phases = rng.uniform(0.0, 2.0 * np.pi, 3)
    waves = np.sin(2.0 * np.pi * rates_hz[:, None] * times_s + phases[:, None])
    return np.asarray(np.array([0.7, 0.5, 0.25]) @ waves)
