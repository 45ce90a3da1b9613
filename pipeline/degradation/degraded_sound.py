"""Sound as stage one hears it (16 kHz mono, in pieces), made worse.

What was not decoded stays silent: noise there would be sound that the recording does not have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from pipeline.degradation.condition import Condition
from pipeline.degradation.fir_filter import FirFilter
from pipeline.degradation.noise import Noise
from pipeline.degradation.random_streams import random_stream
from pipeline.degradation.reverberation import room_response
from pipeline.media.audio import Sound, SoundStream


def degraded_sound(
    open_sound: Callable[[], SoundStream], condition: Condition, clip_id: str, seed: int
) -> SoundStream:
    """A clip's sound under a condition.

    Args:
        open_sound: Opens the clip's sound; called twice for noise, whose level depends on all of it.
        condition: Of the modality `audio`.
        clip_id: The clip.
        seed: Of the study.

    Returns:
        As many samples at the same times. With noise, the energy of the decoded samples over that of the
        noise is the condition's ratio; sound without energy stays as it is. With reverberation, the direct
        sound stays as it is and the tail comes on top.
    """
    rng = random_stream(seed, clip_id, condition.family)
    if condition.family == "reverberation":
        response = room_response(condition.level, condition.direct_to_reverberant_db, rng)
        sound = open_sound()
        return replace(sound, pieces=_filtered(sound.pieces, FirFilter(response)))
    gain = _noise_gain(open_sound(), Noise(condition.family, rng), condition.level)
    # The same noise once more.
    noise = Noise(condition.family, random_stream(seed, clip_id, condition.family))
    sound = open_sound()
    return replace(sound, pieces=_noisy(sound.pieces, noise, gain))


def _noise_gain(sound: SoundStream, noise: Noise, ratio_db: float) -> float:
    """Factor for noise as long as the decoded sound."""
    sound_energy = noise_energy = 0.0
    for piece in sound.pieces:
        if piece.decoded:
            sound_energy += float(np.sum(piece.samples.astype(np.float64) ** 2))
            noise_energy += float(np.sum(noise.samples(len(piece.samples)) ** 2))
    return float(np.sqrt(sound_energy / noise_energy * 10 ** (-ratio_db / 10))) if noise_energy else 0.0


def _noisy(pieces: Iterator[Sound], noise: Noise, gain: float) -> Iterator[Sound]:
    for piece in pieces:
        if piece.decoded:
            noisy = piece.samples + gain * noise.samples(len(piece.samples))
            piece = replace(piece, samples=noisy.astype(np.float32))
        yield piece


def _filtered(pieces: Iterator[Sound], room: FirFilter) -> Iterator[Sound]:
    for piece in pieces:
        filtered = room.append(piece.samples)  # through gaps, too: time passes there
        yield replace(piece, samples=filtered.astype(np.float32)) if piece.decoded else piece
