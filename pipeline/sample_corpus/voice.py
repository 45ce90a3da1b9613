"""A synthetic voice: a pulse train and breath, shaped by the formants of vowels.

The voice follows arousal closely: loudness, pitch, rate of syllables and spectral tilt rise with it. It
follows valence loosely: a smile shortens the vocal tract and brightens the sound; the melody becomes wider.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE_HZ = 48_000
CONTROL_RATE_HZ = 200

VOICE_AROUSAL_FIDELITY = 0.96
VOICE_VALENCE_FIDELITY = 0.6

LOUDNESS_RANGE_DB = 22.0
TILT_RANGE_DB = 3.0
LEVEL_DB = -25.0
PITCH_RANGE_OCTAVES = 0.8
MAX_HARMONIC_HZ = 7600.0

# First four formants in Hz of an average vocal tract for the vowels a, e, i, o, u.
_VOWELS = np.array(
    [
        [750.0, 1250.0, 2550.0, 3600.0],
        [500.0, 1800.0, 2500.0, 3600.0],
        [300.0, 2250.0, 3000.0, 3700.0],
        [500.0, 900.0, 2450.0, 3400.0],
        [330.0, 800.0, 2300.0, 3300.0],
    ]
)
_BANDWIDTHS_HZ = np.array([90.0, 120.0, 180.0, 250.0])
_FORMANT_LEVELS_DB = np.array([0.0, -1.0, -2.0, -3.0])
# A smile makes the voice brighter: this much is added at full valence, and taken away at full displeasure.
_SMILE_LEVELS_DB = np.array([-5.0, 5.0, 15.0, 15.0])
_SMILE_SHORTENING = 0.14


@dataclass(frozen=True, kw_only=True)
class Speaker:
    """How a subject sounds, whatever is felt.

    Attributes:
        pitch_hz: Pitch at medium arousal.
        tract: Formant frequencies relative to an average speaker's.
        gain_db: Loudness relative to an average speaker's at the microphone.
        tilt_db: Fall of the spectrum per octave at medium arousal.
        breath: Share of breath noise, about 0.1.
        syllables_per_s: Rate at medium arousal.
        room_db: Level of the room's hum and hiss, relative to full scale.
    """

    pitch_hz: float
    tract: float
    gain_db: float
    tilt_db: float
    breath: float
    syllables_per_s: float
    room_db: float


@dataclass(frozen=True, kw_only=True)
class Utterance:
    """A voice over time.

    Attributes:
        samples: Mono waveform, full scale is 1, shape (n,).
        start_s: Time of the first sample in seconds since the start of the clip.
        level: How far a syllable is sounding, 0 to 1, at `CONTROL_RATE_HZ`, shape (T,).
    """

    samples: NDArray[np.float32]
    start_s: float
    level: NDArray[np.float64]

    def level_at(self, times_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """How far a syllable is sounding at given times, 0 to 1, same shape."""
        control_times_s = self.start_s + np.arange(self.level.size) / CONTROL_RATE_HZ
        return np.interp(times_s, control_times_s, self.level)


@dataclass(frozen=True, kw_only=True)
class _Articulation:
    """Control tracks of an utterance at `CONTROL_RATE_HZ`, T values each."""

    level: NDArray[np.float64]
    accent: NDArray[np.float64]
    formants_hz: NDArray[np.float64]
    hiss: NDArray[np.float64]


def draw_speaker(rng: np.random.Generator) -> Speaker:
    """Draw a speaker; high voices tend to come with short vocal tracts."""
    height = rng.uniform(-1.0, 1.0)
    return Speaker(
        pitch_hz=float(150.0 * 2.0 ** (0.5 * height + rng.uniform(-0.08, 0.08))),
        tract=float(1.0 + 0.07 * height + rng.uniform(-0.02, 0.02)),
        gain_db=float(rng.uniform(-1.5, 1.5)),
        tilt_db=float(rng.uniform(8.4, 9.6)),
        breath=float(rng.uniform(0.08, 0.14)),
        syllables_per_s=float(rng.uniform(3.6, 4.6)),
        room_db=float(rng.uniform(-64.0, -54.0)),
    )


def speak(
    speaker: Speaker,
    valence: NDArray[np.float64],
    arousal: NDArray[np.float64],
    start_s: float,
    rng: np.random.Generator,
) -> Utterance:
    """Synthesise a voice that speaks vowels and hisses without words.

    Args:
        speaker: Who speaks.
        valence: Valence that the voice carries, at `CONTROL_RATE_HZ`, in [-1, 1], shape (T,).
        arousal: Arousal that the voice carries, shape (T,).
        start_s: Time of the first control value in seconds since the start of the clip.
        rng: Source of randomness.

    Returns:
        The utterance, of T - 1 control steps.
    """
    said = _articulate(speaker, arousal, rng)
    octaves = PITCH_RANGE_OCTAVES / 2.0 * arousal
    semitones = said.accent * (2.0 + 1.5 * valence) + 0.25 * _drift(arousal.size, rng)
    pitch_hz = speaker.pitch_hz * 2.0 ** (octaves + semitones / 12.0)
    formants_hz = said.formants_hz * (speaker.tract * (1.0 + _SMILE_SHORTENING * valence))[:, None]
    formant_gains = 10.0 ** ((_FORMANT_LEVELS_DB + _SMILE_LEVELS_DB * valence[:, None]) / 20.0)
    tilt_db = speaker.tilt_db - TILT_RANGE_DB / 2.0 * arousal

    loudness_db = LEVEL_DB + speaker.gain_db + LOUDNESS_RANGE_DB / 2.0 * arousal + 2.0 * said.accent
    gain = said.level * 10.0 ** (loudness_db / 20.0)
    harmonic_gains = _harmonic_gains(pitch_hz, formants_hz, formant_gains, tilt_db)
    voiced = _harmonics(pitch_hz, harmonic_gains * gain[:, None])
    breath = speaker.breath * (1.0 - 0.4 * arousal) * gain + 0.5 * said.hiss * 10.0 ** (loudness_db / 20.0)
    samples = voiced + _upsampled(breath) * _hiss(voiced.size, rng)
    return Utterance(samples=samples.astype(np.float32), start_s=start_s, level=said.level)


def _articulate(speaker: Speaker, arousal: NDArray[np.float64], rng: np.random.Generator) -> _Articulation:
    """Lay out syllables: phrases of five to nine, with short pauses between."""
    num_steps = arousal.size
    level, accent, hiss = np.zeros(num_steps), np.zeros(num_steps), np.zeros(num_steps)
    formants_hz = np.tile(_VOWELS.mean(axis=0), (num_steps, 1))
    step = -int(rng.integers(0, CONTROL_RATE_HZ // 5))
    left_in_phrase = int(rng.integers(3, 9))
    while step < num_steps:
        now = float(arousal[max(0, step)])
        rate = speaker.syllables_per_s * 2.0 ** (0.65 * now) * rng.uniform(0.88, 1.12)
        length = max(12, round(CONTROL_RATE_HZ / rate))
        stress = rng.uniform(0.0, 1.0)
        share = (np.arange(length) + 0.5) / length
        inside = slice(max(0, step), max(0, min(num_steps, step + length)))
        kept = slice(inside.start - step, inside.stop - step)
        level[inside] = (np.sin(np.pi * share**0.7) ** 0.8 * (0.75 + 0.25 * stress))[kept]
        accent[inside] = ((2.0 * stress - 1.0) * np.sin(np.pi * share))[kept]
        formants_hz[inside] = _VOWELS[int(rng.integers(len(_VOWELS)))]
        if rng.random() < 0.5:
            hiss[inside] = (np.exp(-(((share - 0.06) / 0.07) ** 2)))[kept]
        step += length
        left_in_phrase -= 1
        if left_in_phrase <= 0:
            left_in_phrase = int(rng.integers(5, 10))
            step += round(CONTROL_RATE_HZ * rng.uniform(0.12, 0.28) * 2.0 ** (-0.5 * now))
    # The tongue needs about 50 ms from vowel to vowel.
    kernel = np.hanning(23)[1:-1] / np.hanning(23).sum()
    padded = np.pad(formants_hz, ((10, 10), (0, 0)), mode="edge")
    glided = np.stack([np.convolve(track, kernel, mode="valid") for track in padded.T])
    return _Articulation(level=level, accent=accent, formants_hz=glided.T, hiss=hiss)


def _harmonic_gains(
    pitch_hz: NDArray[np.float64],
    formants_hz: NDArray[np.float64],
    formant_gains: NDArray[np.float64],
    tilt_db: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Amplitude of each harmonic, together of unit root mean square, shape (T, K)."""
    number = np.arange(1, int(MAX_HARMONIC_HZ / pitch_hz.min()) + 1)
    frequency_hz = pitch_hz[:, None] * number
    distance = (frequency_hz[:, :, None] - formants_hz[:, None, :]) / _BANDWIDTHS_HZ
    resonance = 0.06 + (formant_gains[:, None, :] / (1.0 + distance**2)).sum(axis=2)
    slope = (frequency_hz / 100.0) ** (-tilt_db[:, None] / (20.0 * math.log10(2.0)))
    # Fade the last harmonics out before the band's end, so that none starts or stops with a click.
    fade = np.clip((MAX_HARMONIC_HZ - frequency_hz) / 600.0, 0.0, 1.0)
    gains = resonance * slope * fade
    return np.asarray(gains / np.sqrt((gains**2).sum(axis=1, keepdims=True) / 2.0))


def _harmonics(pitch_hz: NDArray[np.float64], gains: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum of the harmonics of a moving pitch, shape (n,); `gains` has shape (T, K)."""
    phase = 2.0 * np.pi * np.cumsum(_upsampled(pitch_hz)) / SAMPLE_RATE_HZ
    # sin(k p) = 2 cos(p) sin((k - 1) p) - sin((k - 2) p): one sine for all harmonics.
    twice_cosine = 2.0 * np.cos(phase)
    before, current = np.zeros_like(phase), np.sin(phase)
    total = np.zeros_like(phase)
    for gain in gains.T:
        total += _upsampled(gain) * current
        before, current = current, twice_cosine * current - before
    return total


def _hiss(num_samples: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Noise of unit root mean square that rises from 500 Hz to 6 kHz, shape (`num_samples`,)."""
    spectrum = np.fft.rfft(rng.standard_normal(num_samples))
    frequency_hz = np.fft.rfftfreq(num_samples, 1.0 / SAMPLE_RATE_HZ)
    rise = np.clip((frequency_hz - 500.0) / 5500.0, 0.0, 1.0)
    fall = np.clip((11_000.0 - frequency_hz) / 3000.0, 0.0, 1.0)
    noise = np.fft.irfft(spectrum * rise * fall, num_samples)
    return np.asarray(noise / noise.std())


def _drift(num_steps: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """The unsteadiness of a voice, about unit size, at `CONTROL_RATE_HZ`, shape (`num_steps`,)."""
    every = 10
    knots = rng.standard_normal(num_steps // every + 2)
    return np.interp(np.arange(num_steps) / every, np.arange(knots.size), knots)


def _upsampled(track: NDArray[np.float64]) -> NDArray[np.float64]:
    """A control track at `SAMPLE_RATE_HZ` by linear interpolation: T values to (T - 1) * 240 samples."""
    share = np.arange(SAMPLE_RATE_HZ // CONTROL_RATE_HZ) * (CONTROL_RATE_HZ / SAMPLE_RATE_HZ)
    return (track[:-1, None] * (1.0 - share) + track[1:, None] * share).ravel()
