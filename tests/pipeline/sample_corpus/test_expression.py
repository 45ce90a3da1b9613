"""What the face and the head do for a feeling."""

from __future__ import annotations

import numpy as np

from pipeline.sample_corpus.expression import Expression, express, move

_TIMES_S = np.arange(150) / 25


def _expression(valence: float, arousal: float, level: float = 0.0) -> Expression:
    # A late single time: no blink of this generator falls on it.
    row = [np.full(1, value) for value in (valence, arousal, level)]
    return express(row[0], row[1], row[2], np.array([30.0]), np.random.default_rng(1))[0]


def test_smile_follows_valence_alone() -> None:
    smiles = [_expression(valence, arousal).smile for valence in (-0.9, 0.0, 0.9) for arousal in (-1.0, 1.0)]
    assert smiles == [-0.9, -0.9, 0.0, 0.0, 0.9, 0.9]


def test_anger_lowers_the_inner_brows_and_grief_lifts_them() -> None:
    assert _expression(-0.9, 0.9).frown > 0.5
    assert _expression(-0.9, -0.95).frown < 0.05
    assert _expression(0.9, 0.0).frown < 0.0


def test_arousal_opens_the_eyes_and_lifts_the_brows() -> None:
    calm, excited = _expression(0.2, -0.8), _expression(0.2, 0.8)
    assert excited.eye_open > calm.eye_open + 0.3
    assert excited.brow_raise > calm.brow_raise + 0.5


def test_mouth_opens_with_the_voice() -> None:
    assert _expression(0.0, 0.0, 1.0).mouth_open > _expression(0.0, 0.0, 0.0).mouth_open + 0.2


def test_eyes_blink_briefly() -> None:
    zero = np.zeros(1500)
    times_s = np.arange(1500) / 25
    expressions = express(zero, zero, zero, times_s, np.random.default_rng(0))
    shut = np.array([expression.eye_open < 0.3 for expression in expressions])
    # A quarter of a blink per second, each shut for two to four pictures of five.
    starts = int((np.diff(shut.astype(int)) == 1).sum())
    assert 7 <= starts <= 25
    assert 1.0 <= shut.sum() / starts <= 4.0


def test_head_moves_more_with_arousal_and_smoothly() -> None:
    def rolls(arousal: float) -> np.ndarray:
        poses = move(np.full(150, arousal), np.zeros(150), _TIMES_S, 1.0, np.random.default_rng(2))
        return np.array([pose.roll_deg for pose in poses])

    assert np.ptp(rolls(1.0)) > 2.0 * np.ptp(rolls(-1.0)) > 0.0
    assert np.abs(np.diff(rolls(1.0))).max() < 1.5


def test_lean_is_passed_on() -> None:
    lean = np.linspace(0.0, 1.1, 150)
    poses = move(np.zeros(150), lean, _TIMES_S, 1.0, np.random.default_rng(2))
    np.testing.assert_allclose([pose.lean for pose in poses], lean)
