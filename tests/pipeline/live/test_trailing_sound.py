"""The latest sound against log-mel rows of all of it at once."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.live.trailing_sound import MAX_LAG_S, TrailingSound
from pipeline.media.audio import Sound
from pipeline.media.log_mel import log_mel
from pipeline.media.timeline import EXAMPLE_SAMPLES, HOP_SAMPLES

RATE_HZ = 16_000
NOISE = np.random.default_rng(0).normal(0, 0.1, 3 * RATE_HZ).astype(np.float32)


def heard(
    sound: TrailingSound, until: int, start: int = 0, start_s: float = 0.0, decoded: bool = True
) -> None:
    for begin in range(start, until, 700):
        samples = NOISE[begin : min(begin + 700, until)]
        sound.add(Sound(first_sample=begin, samples=samples, decoded=decoded), start_s)


def test_examples_are_those_of_the_whole_sound():
    sound = TrailingSound()
    heard(sound, len(NOISE), start_s=2.0)
    # Silence stands before the sound, so that the first examples reach into it.
    rows = log_mel(np.concatenate([np.zeros(RATE_HZ, np.float32), NOISE]))
    for frame in range(1, 60):
        time_s = 2.0 + frame / 25
        block = sound.ending_at(time_s)
        # The last row ends nearest to the picture's time.
        stop = round(frame / 25 * RATE_HZ) + RATE_HZ
        first = np.ceil((stop - EXAMPLE_SAMPLES) / HOP_SAMPLES - 0.5).astype(int)
        np.testing.assert_array_equal(block.grid, rows[first : first + 96])


def test_rows_that_were_computed_before_their_sound_was_whole_are_computed_again():
    sound = TrailingSound()
    heard(sound, 20_000)
    early = sound.ending_at(20_400 / RATE_HZ).grid  # silence stands where sound follows
    heard(sound, 30_000, start=20_300)
    late = sound.ending_at(20_400 / RATE_HZ + 0.001).grid
    whole = TrailingSound()
    heard(whole, 20_000)
    heard(whole, 30_000, start=20_300)
    np.testing.assert_array_equal(late, whole.ending_at(20_400 / RATE_HZ + 0.001).grid)
    assert not np.array_equal(early[-1], late[-1])
    np.testing.assert_array_equal(early[:80], late[:80])


def test_sound_that_lags_ends_the_example_where_it_ends():
    late, prompt = TrailingSound(late=True), TrailingSound()
    for sound in (late, prompt):
        heard(sound, 2 * RATE_HZ)
    rows = log_mel(NOISE[: 2 * RATE_HZ])
    np.testing.assert_array_equal(late.ending_at(2.1).grid, rows[-96:])
    assert prompt.ending_at(2.1).grid[-1] == pytest.approx(np.log(0.01))  # a file that ends is silent then
    too_late_s = 2 + MAX_LAG_S + 0.1
    assert late.ending_at(too_late_s).grid[-1] == pytest.approx(np.log(0.01))
    assert late.ending_at(3.1) is None  # a second on, nothing that was decoded is left


def test_sound_that_was_too_late_counts_again():
    late, prompt = TrailingSound(late=True), TrailingSound()
    heard(late, RATE_HZ)
    late.ending_at(1 + MAX_LAG_S + 0.1)  # silence from 1 s on
    heard(late, 24_000, start=RATE_HZ)
    heard(prompt, 24_000)
    # The example ends at 1.5 s, and begins with what lay before the one of silence.
    found = late.ending_at(1.7).grid
    np.testing.assert_array_equal(found, log_mel(NOISE[:24_000])[-96:])


def test_windows_of_samples_end_at_the_picture():
    sound = TrailingSound(1600)
    heard(sound, len(NOISE))
    block = sound.ending_at(1.5)
    np.testing.assert_array_equal(block.samples, NOISE[24_000 - 1600 : 24_000])
    assert block.window_samples == 1600
    late = TrailingSound(1600, late=True)
    heard(late, 24_000)
    np.testing.assert_array_equal(late.ending_at(1.6).samples, NOISE[24_000 - 1600 : 24_000])


def test_gaps_are_no_sound():
    sound = TrailingSound(1600)
    heard(sound, 8000)
    heard(sound, 30_000, start=8000, decoded=False)
    assert sound.ending_at(0.5) is not None
    assert sound.ending_at(1.0) is None
    assert TrailingSound().ending_at(1.0) is None


def test_memory_does_not_grow():
    asked, ignored = TrailingSound(), TrailingSound()
    for number in range(2000):  # 80 s
        piece = Sound(first_sample=640 * number, samples=NOISE[:640], decoded=True)
        for sound in (asked, ignored):
            sound.add(piece, 0.0)
        if number % 10 == 0:
            asked.ending_at(0.04 * number)
    assert sum(len(piece.samples) for piece in asked._pieces) < 2 * RATE_HZ
    assert sum(len(piece.samples) for piece in ignored._pieces) < 62 * RATE_HZ
    assert len(asked._rows) <= 96
