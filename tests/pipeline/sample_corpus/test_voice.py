"""The synthetic voice, measured: loudness, pitch, rate and brightness."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import signal

from pipeline.sample_corpus.voice import CONTROL_RATE_HZ, SAMPLE_RATE_HZ, Speaker, draw_speaker, speak

_SPEAKER = Speaker(
    pitch_hz=140.0, tract=1.0, gain_db=0.0, tilt_db=9.0, breath=0.1, syllables_per_s=4.0, room_db=-60.0
)
_SECONDS = 6


def _spoken(arousal: float, valence: float = 0.0, seed: int = 0) -> np.ndarray:
    steps = np.ones(_SECONDS * CONTROL_RATE_HZ + 1)
    utterance = speak(_SPEAKER, valence * steps, arousal * steps, 0.0, np.random.default_rng(seed))
    assert utterance.samples.shape == (_SECONDS * SAMPLE_RATE_HZ,)
    return utterance.samples.astype(np.float64)


def _loudness_db(samples: np.ndarray) -> float:
    return float(10 * np.log10((samples**2).mean()))


def _pitch_hz(samples: np.ndarray) -> float:
    """Median over 50 ms pieces of the loud half: the lag of the first high peak of the autocorrelation."""
    pieces = samples[: samples.size // 2400 * 2400].reshape(-1, 2400)
    loud = pieces[(pieces**2).mean(axis=1) > np.median((pieces**2).mean(axis=1))]
    lowest, highest = SAMPLE_RATE_HZ // 60, SAMPLE_RATE_HZ // 400
    pitches = []
    for piece in loud:
        correlation = signal.correlate(piece, piece, method="fft")[2399:]
        correlation = correlation[: lowest + 1] / (2400 - np.arange(lowest + 1))
        inside = correlation[highest:]
        first = int(np.argmax(inside > 0.85 * inside.max()))
        peak = first + int(np.argmax(inside[first : first + 60])) + highest
        pitches.append(SAMPLE_RATE_HZ / peak)
    return float(np.median(pitches))


def _syllables_per_s(arousal: float) -> float:
    steps = np.ones(20 * CONTROL_RATE_HZ + 1)
    level = speak(_SPEAKER, 0.0 * steps, arousal * steps, 0.0, np.random.default_rng(0)).level
    return len(signal.find_peaks(level, height=0.5)[0]) / 20


def test_loudness_follows_arousal() -> None:
    quiet, medium, loud = (_loudness_db(_spoken(arousal)) for arousal in (-0.9, 0.0, 0.9))
    # 22 dB over [-1, 1]; pauses take up a little more of a calm voice.
    assert loud - quiet == pytest.approx(0.9 * 22.0, abs=2.5)
    assert quiet + 6 < medium < loud - 6


@pytest.mark.parametrize("arousal", [-0.9, 0.0, 0.9])
def test_pitch_follows_arousal(arousal: float) -> None:
    # 0.8 octaves over [-1, 1] around the speaker's 140 Hz.
    assert _pitch_hz(_spoken(arousal)) == pytest.approx(140.0 * 2.0 ** (0.4 * arousal), rel=0.06)


def test_rate_follows_arousal() -> None:
    calm, excited = _syllables_per_s(-0.9), _syllables_per_s(0.9)
    assert 1.6 < calm < 3.0
    assert 4.5 < excited < 7.0


def _brightness_db(samples: np.ndarray) -> float:
    """Energy from 2 to 5 kHz against that below 1.5 kHz."""
    frequency_hz, density = signal.welch(samples, SAMPLE_RATE_HZ, nperseg=2048)
    high = density[(frequency_hz > 2000) & (frequency_hz < 5000)].sum()
    return float(10 * np.log10(high / density[frequency_hz < 1500].sum()))


def test_brightness_follows_arousal_and_valence() -> None:
    assert _brightness_db(_spoken(0.9)) > _brightness_db(_spoken(-0.9)) + 3
    assert _brightness_db(_spoken(0.0, 0.9)) > _brightness_db(_spoken(0.0, -0.9)) + 5


def test_valence_leaves_the_loudness_alone() -> None:
    assert _loudness_db(_spoken(0.0, 0.9)) == pytest.approx(_loudness_db(_spoken(0.0, -0.9)), abs=1.5)


def test_nothing_is_louder_than_full_scale() -> None:
    assert 0.1 < np.abs(_spoken(1.0)).max() < 1.0


def test_voice_repeats_and_seeds_differ() -> None:
    np.testing.assert_array_equal(_spoken(0.3), _spoken(0.3))
    assert abs(np.corrcoef(_spoken(0.3), _spoken(0.3, seed=1))[0, 1]) < 0.2


def test_level_opens_and_shuts_with_the_sound() -> None:
    steps = np.zeros(_SECONDS * CONTROL_RATE_HZ + 1)
    utterance = speak(_SPEAKER, steps, steps, -1.0, np.random.default_rng(0))
    times_s = -1.0 + 0.02 * np.arange(_SECONDS * 50) + 0.01
    level = utterance.level_at(times_s)
    power = (utterance.samples.astype(np.float64).reshape(-1, 960) ** 2).mean(axis=1)
    assert 0.0 <= level.min() < 0.05
    assert 0.9 < level.max() <= 1.0
    assert np.corrcoef(level, np.sqrt(power))[0, 1] > 0.75


def test_speakers_differ_in_pitch_and_timbre() -> None:
    speakers = [draw_speaker(np.random.default_rng(seed)) for seed in range(50)]
    pitches_hz = np.array([speaker.pitch_hz for speaker in speakers])
    tracts = np.array([speaker.tract for speaker in speakers])
    assert 90 < pitches_hz.min() < 120
    assert 190 < pitches_hz.max() < 250
    assert np.corrcoef(np.log(pitches_hz), tracts)[0, 1] > 0.6
