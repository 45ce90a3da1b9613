"""Windows of plain samples, against slices of the padded waveform."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from pipeline.media.audio import Sound, SoundStream
from pipeline.media.sound_buffer import SoundBuffer, overlapping_runs
from pipeline.media.sound_windows import SampleWindows

RATE = 16_000


def stream(samples: np.ndarray, start_s: float = 0.0, gap: tuple[int, int] = (0, 0)) -> SoundStream:
    cuts = sorted({0, *gap, *range(0, len(samples), 3001), len(samples)})
    pieces = [
        Sound(first_sample=first, samples=samples[first:stop], decoded=not gap[0] <= first < gap[1])
        for first, stop in pairwise(cuts)
    ]
    return SoundStream(start_s=start_s, pieces=iter(pieces))


@pytest.mark.parametrize(("anchor", "share"), [("start", 0), ("center", 0.5), ("end", 1)])
@pytest.mark.parametrize("size", [1, 5, 40])
def test_windows_are_slices_of_the_sound_amid_silence(anchor, share, size):
    random = np.random.default_rng(0)
    samples = random.uniform(-1, 1, 5 * RATE).astype(np.float32)
    times_s = 2.0 + np.sort(random.uniform(-3, 9, 40))
    windows = SampleWindows(stream(samples, 2.0), anchor, 4000)
    amid = np.concatenate((np.zeros(10 * RATE), samples, np.zeros(10 * RATE)))
    for begin in range(0, 40, size):
        block, found = windows.block(times_s[begin : begin + size])
        assert block.window_samples == 4000
        for first, heard, time_s in zip(
            block.first_samples, found, times_s[begin : begin + size], strict=True
        ):
            start = round((time_s - 2) * RATE - share * 4000)
            expected = amid[10 * RATE + start : 10 * RATE + start + 4000]
            np.testing.assert_array_equal(block.samples[first : first + 4000], expected)
            assert heard == (start < 5 * RATE and start + 4000 > 0)


def test_windows_share_what_they_overlap_and_nothing_lies_between_distant_ones():
    block, found = SampleWindows(stream(np.ones(RATE, np.float32)), "start", 400).block(
        [0.0, 0.01, 0.5, 3600.0]
    )
    assert block.first_samples.tolist() == [0, 160, 560, 960]
    assert len(block.samples) == 560 + 400 + 400
    assert found.tolist() == [True, True, True, False]


def test_a_window_wholly_in_a_gap_holds_no_sound():
    sound = stream(np.zeros(RATE, np.float32), gap=(4000, 8000))
    _, found = SampleWindows(sound, "start", 1600).block([0.1, 0.249, 0.25, 0.4, 0.401, 0.9])
    assert found.tolist() == [True, True, False, False, True, True]


def test_no_frames_make_an_empty_block():
    block, found = SampleWindows(stream(np.ones(RATE, np.float32)), "end", 400).block([])
    assert (len(block), len(block.samples), len(found)) == (0, 0, 0)


def test_what_was_forgotten_is_not_given_as_silence():
    buffer = SoundBuffer(stream(np.ones(RATE, np.float32)))
    buffer.forget(5000)
    assert buffer.samples(5000, 5010).all()
    with pytest.raises(ValueError, match="expected samples from 5000 on"):
        buffer.samples(4999, 5010)
    with pytest.raises(ValueError, match="expected samples from 5000 on"):
        buffer.holds_sound(np.array([4999]), 10)


def test_runs_end_where_the_next_stretch_begins_after_the_last_one_ended():
    starts = np.array([0, 10, 20, 31, 40, 51])
    assert list(overlapping_runs(starts, 10)) == [slice(0, 3), slice(3, 5), slice(5, 6)]
    assert list(overlapping_runs(starts[:1], 10)) == [slice(0, 1)]
    assert list(overlapping_runs(starts[:0], 10)) == []
