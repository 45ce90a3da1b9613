"""What the microphone hears: the subject's voice, the room, and the episodes in which the sound lies."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.sample_corpus.episodes import MAX_SHIFT_S, Episode
from pipeline.sample_corpus.voice import CONTROL_RATE_HZ, LEVEL_DB, SAMPLE_RATE_HZ, Speaker, Utterance, speak

MARGIN_S = MAX_SHIFT_S + 0.1
"""A voice starts this long before the clip and ends this long after it: something to shift in."""

FADE_S = 0.03
PAUSE_FADE_S = 0.1


def control_times_s(seconds: float) -> NDArray[np.float64]:
    """Times that control a voice, from `MARGIN_S` before the clip to `MARGIN_S` after it, shape (T,)."""
    num_steps = math.ceil((seconds + 2.0 * MARGIN_S) * CONTROL_RATE_HZ) + 1
    return np.arange(num_steps) / CONTROL_RATE_HZ - MARGIN_S


def own_voice_share(episodes: Sequence[Episode], times_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far the subject speaks: 0 while somebody else does, 1 otherwise; same shape as `times_s`."""
    share = np.ones_like(times_s)
    for episode in episodes:
        if episode.kind == "second_voice":
            share *= 1.0 - episode.weight(times_s, PAUSE_FADE_S)
    return share


def mix_soundtrack(
    utterance: Utterance,
    episodes: Sequence[Episode],
    other_speaker: Speaker,
    room_db: float,
    num_samples: int,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """Mix the sound of a clip.

    Args:
        utterance: The subject's voice, from `MARGIN_S` before to `MARGIN_S` after the clip.
        episodes: Episodes of the clip.
        other_speaker: The second voice, where one is heard.
        room_db: Level of the room's noise relative to full scale.
        num_samples: Samples of the clip at `SAMPLE_RATE_HZ`.
        rng: Source of randomness.

    Returns:
        Waveform in (-1, 1), shape (`num_samples`,).
    """
    times_s = np.arange(num_samples) / SAMPLE_RATE_HZ
    sound = _heard(utterance, 0.0, num_samples)
    for episode in episodes:
        if episode.kind == "audio_shift":
            share = episode.weight(times_s, FADE_S)
            sound = sound * (1.0 - share) + _heard(utterance, episode.amount, num_samples) * share
    sound = sound * own_voice_share(episodes, times_s)
    for episode in episodes:
        if episode.kind == "second_voice":
            steps = control_times_s(num_samples / SAMPLE_RATE_HZ)
            arousal = np.full_like(steps, episode.amount)
            valence = np.full_like(steps, rng.uniform(-1.0, 1.0))
            other = speak(other_speaker, valence, arousal, float(steps[0]), rng)
            sound = sound + _heard(other, 0.0, num_samples) * episode.weight(times_s, PAUSE_FADE_S)
        elif episode.kind == "noise":
            level = 10.0 ** ((LEVEL_DB + episode.amount) / 20.0)
            sound = sound + level * _street(num_samples, rng) * episode.weight(times_s, PAUSE_FADE_S)
    sound = sound + 10.0 ** (room_db / 20.0) * _street(num_samples, rng)
    # A shout near the microphone saturates softly instead of wrapping around.
    return np.asarray(np.tanh(sound), dtype=np.float32)


def _heard(utterance: Utterance, delay_s: float, num_samples: int) -> NDArray[np.float64]:
    """The voice during the clip, `delay_s` late, shape (`num_samples`,)."""
    first = round((-delay_s - utterance.start_s) * SAMPLE_RATE_HZ)
    return utterance.samples[first : first + num_samples].astype(np.float64)


def _street(num_samples: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Noise of unit root mean square whose power falls with frequency, shape (`num_samples`,)."""
    spectrum = np.fft.rfft(rng.standard_normal(num_samples))
    frequency_hz = np.fft.rfftfreq(num_samples, 1.0 / SAMPLE_RATE_HZ)
    spectrum *= np.where(frequency_hz < 60.0, 0.0, 1.0 / np.sqrt(np.maximum(frequency_hz, 60.0)))
    noise = np.fft.irfft(spectrum, num_samples)
    return np.asarray(noise / noise.std())
