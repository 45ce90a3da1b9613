"""Drawn pictures and made-up sounds on which random weights are calibrated.

They need not be good pictures or sounds. They must span what the backbones meet: aligned faces of other
colours, light and expression; sounds of other loudness, pitch and tilt. All randomness is uniform doubles of
PCG64, whose stream numpy keeps from release to release.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from pipeline.media.log_mel import log_mel
from pipeline.media.timeline import EXAMPLE_SAMPLES, SAMPLE_RATE_HZ

# One value per pixel, or what broadcasts to it.
_Plane: TypeAlias = NDArray[np.float64]

# Parts of an aligned face as shares of the picture's side: x, y, radius in x, radius in y, and the range of
# their brightness relative to the skin. The places are those of the ArcFace template.
_FACE_PARTS = (
    (0.34, 0.46, 0.09, 0.05, -0.9, -0.2),  # eyes
    (0.66, 0.46, 0.09, 0.05, -0.9, -0.2),
    (0.34, 0.34, 0.12, 0.03, -0.7, 0.0),  # brows
    (0.66, 0.34, 0.12, 0.03, -0.7, 0.0),
    (0.50, 0.62, 0.05, 0.10, -0.3, 0.4),  # nose
    (0.50, 0.82, 0.16, 0.06, -0.9, 0.5),  # mouth
)
_NUM_GRATINGS = 24


def drawn_pictures(count: int, side_px: int, seed: int) -> NDArray[np.float32]:
    """Faces and coloured clouds by turns, normalised as the backbones take them.

    The clouds are there because weights calibrated on these faces alone give nearly one embedding for all
    that differs from them in the same way: clouds double the spread of `inception_resnet_v1` over the faces
    of the sample corpus, from 0.35 to 0.75.

    Args:
        count: Number of pictures.
        side_px: Side of each in pixels.
        seed: Decides everything.

    Returns:
        ``(count, 3, side_px, side_px)`` float32 in [-1, 1].
    """
    random = np.random.Generator(np.random.PCG64(seed))
    place = (np.arange(side_px) + 0.5) / side_px
    x, y = place[None, :], place[:, None]
    pictures = np.empty((count, 3, side_px, side_px), dtype=np.float32)
    for number, picture in enumerate(pictures):
        if number % 2:
            brightness = random.random((3, 1, 1)) - 0.5
            picture[:] = np.clip(brightness + np.stack([_clouds(random, x, y) for _ in range(3)]), -1, 1)
        else:
            tint = 0.5 * (random.random((3, 1, 1)) - 0.5)
            picture[:] = np.clip(_face(random, x, y) + tint, -1, 1)
    return pictures


def _clouds(random: np.random.Generator, x: _Plane, y: _Plane) -> _Plane:
    """1/f noise, about -1 to 1: gratings whose amplitude falls as their frequency rises."""
    clouds: _Plane = np.zeros(np.broadcast_shapes(x.shape, y.shape))
    for frequency, angle, phase in random.random((_NUM_GRATINGS, 3)):
        cycles = 0.5 * 20.0**frequency  # per picture
        along = np.cos(2 * np.pi * angle) * x + np.sin(2 * np.pi * angle) * y
        clouds += np.cos(2 * np.pi * (cycles * along + phase)) / cycles
    clouds *= 0.2
    return clouds


def _face(random: np.random.Generator, x: _Plane, y: _Plane) -> _Plane:
    """A grey oval with blobs in the places of eyes, brows, nose and mouth, in some light."""
    clouds = _clouds(random, x, y)
    light_x, light_y, brightness, texture = random.random(4)
    skin = 1.4 * brightness - 0.6 + (light_x - 0.5) * (x - 0.5) + (light_y - 0.5) * (y - 0.5)
    skin = skin + (0.1 + texture) * clouds
    centre_x, centre_y, radius_x, radius_y, outside = random.random(5)
    outline = _blob(
        x, y, 0.46 + 0.08 * centre_x, 0.46 + 0.12 * centre_y, 0.4 + 0.2 * radius_x, 0.5 + 0.2 * radius_y
    )
    face: _Plane = outline * skin + (1 - outline) * (2 * outside - 1 + clouds)
    for part_x, part_y, part_radius_x, part_radius_y, darkest, brightest in _FACE_PARTS:
        shift_x, shift_y, scale_x, scale_y, depth = random.random(5)
        blob = _blob(
            x,
            y,
            part_x + 0.06 * (shift_x - 0.5),
            part_y + 0.08 * (shift_y - 0.5),
            part_radius_x * (0.6 + 0.8 * scale_x),
            part_radius_y * (0.3 + 1.7 * scale_y),
        )
        face = face + blob * (darkest + (brightest - darkest) * depth)
    return face


def _blob(x: _Plane, y: _Plane, centre_x: float, centre_y: float, radius_x: float, radius_y: float) -> _Plane:
    """An ellipse with soft edges: 1 in its middle, 0 far off."""
    squared = ((x - centre_x) / radius_x) ** 2 + ((y - centre_y) / radius_y) ** 2
    blob: _Plane = np.exp(-(squared**2))
    return blob


def made_up_sounds(count: int, seed: int) -> NDArray[np.float32]:
    """Log-mel examples of voices and noises.

    Args:
        count: Number of examples.
        seed: Decides everything.

    Returns:
        ``(count, 1, 96, 64)`` float32.
    """
    random = np.random.Generator(np.random.PCG64(seed))
    time_s = np.arange(EXAMPLE_SAMPLES) / SAMPLE_RATE_HZ
    frequency_hz = np.fft.rfftfreq(EXAMPLE_SAMPLES, 1 / SAMPLE_RATE_HZ)
    examples = np.empty((count, 1, 96, 64), dtype=np.float32)
    for example in examples:
        level, mix, pitch, glide, voice_tilt, noise_tilt, beat_rate, beat_depth, beat_phase = random.random(9)
        # A voice: harmonics of a gliding pitch, 80 to 400 Hz, that fall by 3 to 12 dB per octave.
        pitch_hz = 80 * 5**pitch * (1 + 0.5 * (glide - 0.5) * time_s)
        turns = np.cumsum(pitch_hz) / SAMPLE_RATE_HZ
        voice = np.zeros(EXAMPLE_SAMPLES)
        for harmonic in range(1, 20):
            audible = harmonic * pitch_hz < 0.45 * SAMPLE_RATE_HZ
            voice += audible * np.sin(2 * np.pi * harmonic * turns) / harmonic ** (0.5 + 1.5 * voice_tilt)
        # A noise whose amplitude falls with frequency by 0 to 6 dB per octave above 100 Hz.
        spectrum = np.fft.rfft(random.random(EXAMPLE_SAMPLES) - 0.5)
        noise = np.fft.irfft(spectrum * (1 + frequency_hz / 100) ** -noise_tilt, EXAMPLE_SAMPLES)
        voice, noise = voice / np.sqrt(np.mean(voice**2)), noise / np.sqrt(np.mean(noise**2))
        beat = 1 - beat_depth * (0.5 + 0.5 * np.cos(2 * np.pi * (6 * beat_rate * time_s + beat_phase)))
        # Root mean square of 0.001 to 0.3, from a whisper far off to a shout.
        loudness = 0.001 * 300**level
        samples = loudness * beat * (np.sqrt(mix) * voice + np.sqrt(1 - mix) * noise)
        example[0] = log_mel(samples.astype(np.float32))
    return examples
