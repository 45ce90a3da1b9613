"""The sound of a clip: what each kind of episode does to it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import signal

from pipeline.sample_corpus.episodes import Episode
from pipeline.sample_corpus.soundtrack import control_times_s, mix_soundtrack, own_voice_share
from pipeline.sample_corpus.voice import SAMPLE_RATE_HZ, Utterance, draw_speaker, speak

_SECONDS = 4.0
_NUM_SAMPLES = int(_SECONDS * SAMPLE_RATE_HZ)
_SILENT_ROOM_DB = -200.0


@pytest.fixture(scope="module")
def utterance() -> Utterance:
    times_s = control_times_s(_SECONDS)
    arousal = np.sin(times_s)
    speaker = draw_speaker(np.random.default_rng(0))
    return speak(speaker, np.zeros_like(arousal), arousal, float(times_s[0]), np.random.default_rng(1))


def _mixed(utterance: Utterance, *episodes: Episode, room_db: float = _SILENT_ROOM_DB) -> np.ndarray:
    other = draw_speaker(np.random.default_rng(5))
    return mix_soundtrack(utterance, episodes, other, room_db, _NUM_SAMPLES, np.random.default_rng(2))


def _part(sound: np.ndarray, start_s: float, end_s: float) -> np.ndarray:
    return sound[round(start_s * SAMPLE_RATE_HZ) : round(end_s * SAMPLE_RATE_HZ)].astype(np.float64)


def test_control_covers_the_clip_and_the_largest_shift() -> None:
    times_s = control_times_s(_SECONDS)
    assert times_s[0] < -1.5
    assert times_s[-1] > _SECONDS + 1.5
    np.testing.assert_allclose(np.diff(times_s), 1 / 200)


def test_without_episodes_the_voice_is_heard_in_place(utterance: Utterance) -> None:
    first = round(-utterance.start_s * SAMPLE_RATE_HZ)
    expected = np.tanh(utterance.samples[first : first + _NUM_SAMPLES].astype(np.float64))
    np.testing.assert_allclose(_mixed(utterance), expected, atol=1e-6)


@pytest.mark.parametrize("delay_s", [1.5, 0.8, -0.65, -1.5])
def test_shifted_sound_is_late_by_the_delay(utterance: Utterance, delay_s: float) -> None:
    plain = _mixed(utterance)
    shifted = _mixed(utterance, Episode(kind="audio_shift", start_s=1.6, end_s=2.4, amount=delay_s))
    # Where in the plain sound does the piece lie? Normalised, so that loud places do not win.
    piece = _part(shifted, 1.65, 2.35)
    correlation = signal.correlate(plain.astype(np.float64), piece, mode="valid", method="fft")
    energy = np.concatenate([[0.0], np.cumsum(plain.astype(np.float64) ** 2)])
    norms = np.sqrt((energy[piece.size :] - energy[: -piece.size]) * (piece**2).sum())
    found_s = int(np.argmax(correlation / norms)) / SAMPLE_RATE_HZ
    assert (correlation / norms).max() > 0.99
    assert 1.65 - found_s == pytest.approx(delay_s, abs=1 / SAMPLE_RATE_HZ)
    np.testing.assert_array_equal(_part(shifted, 0.0, 1.6), _part(plain, 0.0, 1.6))
    np.testing.assert_array_equal(_part(shifted, 2.4, _SECONDS), _part(plain, 2.4, _SECONDS))


def test_second_voice_replaces_the_subject(utterance: Utterance) -> None:
    plain = _mixed(utterance)
    loud, quiet = (
        _mixed(utterance, Episode(kind="second_voice", start_s=1.0, end_s=3.0, amount=amount))
        for amount in (0.9, -0.9)
    )
    inside = (1.2, 2.8)
    assert abs(np.corrcoef(_part(plain, *inside), _part(loud, *inside))[0, 1]) < 0.2
    ratio = (_part(loud, *inside) ** 2).mean() / (_part(quiet, *inside) ** 2).mean()
    assert 10 * np.log10(ratio) == pytest.approx(0.9 * 22, abs=4)
    np.testing.assert_allclose(_part(loud, 0.0, 1.0), _part(plain, 0.0, 1.0), atol=1e-6)


def test_subject_is_silent_only_while_another_speaks() -> None:
    episodes = (
        Episode(kind="second_voice", start_s=1.0, end_s=2.0, amount=0.5),
        Episode(kind="noise", start_s=2.5, end_s=3.5, amount=5.0),
    )
    share = own_voice_share(episodes, np.array([0.5, 1.0, 1.5, 2.0, 3.0]))
    np.testing.assert_allclose(share, [1.0, 1.0, 0.0, 1.0, 1.0])


@pytest.mark.parametrize("level_db", [0.0, 7.0])
def test_noise_has_its_level_and_covers_the_voice(utterance: Utterance, level_db: float) -> None:
    plain = np.arctanh(_mixed(utterance).astype(np.float64))
    noisy = np.arctanh(
        _mixed(utterance, Episode(kind="noise", start_s=1.0, end_s=3.0, amount=level_db)).astype(np.float64)
    )
    added = _part(noisy - plain, 1.1, 2.9)
    # Against the -25 dB of a voice of medium arousal.
    assert 10 * np.log10((added**2).mean()) == pytest.approx(-25.0 + level_db, abs=0.5)
    np.testing.assert_allclose(_part(noisy, 3.0, _SECONDS), _part(plain, 3.0, _SECONDS), atol=1e-6)


def test_room_is_heard_throughout(utterance: Utterance) -> None:
    difference = _mixed(utterance, room_db=-50.0).astype(np.float64) - _mixed(utterance)
    assert 10 * np.log10((difference**2).mean()) == pytest.approx(-50.0, abs=0.7)
