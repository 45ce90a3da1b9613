"""Log-mel rows against the definition in numpy, and examples against rows of a padded waveform."""

from __future__ import annotations

import math
import tracemalloc
from functools import cache
from itertools import pairwise

import numpy as np
import pytest

from pipeline.media.audio import Sound, SoundStream
from pipeline.media.log_mel import LogMelStream, log_mel, mel_filters

RATE = 16_000


@cache
def reference_filters() -> np.ndarray:
    """(257, 64), bin by bin and band by band from the definition."""

    def mel(hz: float) -> float:
        return 1127.0 * math.log(1.0 + hz / 700.0)

    low, high = mel(125.0), mel(7500.0)
    corner = [low + (high - low) * k / 65 for k in range(66)]
    filters = np.zeros((257, 64))
    for bin_number in range(1, 257):  # the DC bin stays zero
        place = mel(bin_number * RATE / 512)
        for band in range(64):
            left, top, right = corner[band : band + 3]
            if left < place <= top:
                filters[bin_number, band] = (place - left) / (top - left)
            elif top < place < right:
                filters[bin_number, band] = (right - place) / (right - top)
    return filters


def reference_log_mel(samples: np.ndarray) -> np.ndarray:
    window = 0.5 * (1 - np.cos(2 * np.pi * np.arange(400) / 400))  # periodic: 400, not 399
    rows = []
    for first in range(0, len(samples) - 399, 160):
        spectrum = np.fft.rfft(samples[first : first + 400].astype(np.float64) * window, n=512)
        rows.append(np.log(np.sqrt(spectrum.real**2 + spectrum.imag**2) @ reference_filters() + 0.01))
    return np.array(rows).reshape(-1, 64)


def sounds(num_samples: int) -> dict[str, np.ndarray]:
    time = np.arange(num_samples) / RATE
    random = np.random.default_rng(0)
    return {
        "noise": random.uniform(-1, 1, num_samples).astype(np.float32),
        "loud tone": np.sin(2 * np.pi * 1000 * time).astype(np.float32),
        "chirp": (0.1 * np.sin(2 * np.pi * (100 + 3000 * time) * time)).astype(np.float32),
        "whisper": (1e-4 * random.standard_normal(num_samples)).astype(np.float32),
        "silence": np.zeros(num_samples, np.float32),
        "constant": np.full(num_samples, 0.5, np.float32),
    }


def test_filters_are_the_definition():
    np.testing.assert_allclose(mel_filters(), reference_filters(), atol=1e-12)
    assert mel_filters().shape == (257, 64)


@pytest.mark.parametrize("kind", list(sounds(400)))
def test_rows_are_the_definition(kind):
    samples = sounds(9000)[kind]
    rows = log_mel(samples)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, reference_log_mel(samples), atol=1e-5)


@pytest.mark.parametrize(
    ("num_samples", "num_rows"), [(0, 0), (399, 0), (400, 1), (559, 1), (560, 2), (15_600, 96)]
)
def test_only_whole_windows_make_rows(num_samples, num_rows):
    assert log_mel(np.zeros(num_samples, np.float32)).shape == (num_rows, 64)


def test_rows_do_not_depend_on_what_follows():
    samples = sounds(160 * 2300)["noise"]
    np.testing.assert_array_equal(log_mel(samples)[:1500], log_mel(samples[: 160 * 1499 + 400]))


def stream(samples: np.ndarray, start_s: float, spans: tuple | None = None, piece: int = 7000) -> SoundStream:
    """Sound in pieces that end where spans do, (begin, end) in samples."""
    spans = ((0, len(samples)),) if spans is None else spans
    cuts = sorted({0, len(samples), *range(0, len(samples), piece), *(cut for span in spans for cut in span)})
    return SoundStream(
        start_s=start_s,
        pieces=iter(
            Sound(
                first_sample=first,
                samples=samples[first:stop],
                decoded=any(begin <= first < end for begin, end in spans),
            )
            for first, stop in pairwise(cuts)
        ),
    )


def examples_of(examples: LogMelStream, times_s) -> np.ndarray:
    """(n, 96, 64), asked for in blocks of up to 64."""
    batches = [np.empty((0, 96, 64), np.float32)]
    for begin in range(0, len(times_s), 64):
        block, _ = examples.block(times_s[begin : begin + 64])
        assert len(block) == len(times_s[begin : begin + 64])
        batches += [block.grid[first : first + 96][None] for first in block.first_rows]
    return np.concatenate(batches)


@pytest.mark.parametrize(("anchor", "before_s"), [("start", 0.0), ("center", 0.4875), ("end", 0.975)])
@pytest.mark.parametrize("start_s", [0.0, 2.3, -0.25])
def test_examples_are_cut_at_the_frames_time_from_sound_amid_silence(anchor, before_s, start_s):
    samples = sounds(20_000)["noise"]
    times_s = start_s + np.array([-3.0, -0.5, -0.2, 0.0, 0.123, 0.4875, 0.8, 1.25, 1.6, 2.0, 9.0])
    batch = examples_of(LogMelStream(stream(samples, start_s), anchor), times_s)
    assert batch.shape == (len(times_s), 96, 64)
    assert batch.dtype == np.float32
    amid = np.concatenate((np.zeros(64_000), samples, np.zeros(160_000)))
    for example, time_s in zip(batch, times_s, strict=True):
        first_row = math.ceil(
            round((time_s - before_s - start_s) * 100 - 0.5, 6)
        )  # nearest, the earlier of two
        assert abs(first_row / 100 - (time_s - before_s - start_s)) <= 0.005 + 1e-9
        begin = 64_000 + 160 * first_row
        np.testing.assert_allclose(example, reference_log_mel(amid[begin : begin + 15_600]), atol=1e-5)


def test_rows_do_not_depend_on_how_many_are_asked_for_nor_on_the_pieces_of_the_sound():
    samples, times_s = (
        sounds(40 * RATE)["noise"],
        0.5 + np.sort(np.random.default_rng(1).uniform(-2, 42, 500)),
    )
    whole = examples_of(LogMelStream(stream(samples, 0.5), "center"), times_s)
    for sizes, piece in [([1] * 500, 333), ([64, 3] * 8, 10**6)]:
        examples = LogMelStream(stream(samples, 0.5, piece=piece), "center")
        places = np.cumsum([0, *sizes])
        for begin, end in pairwise(places[places <= 500]):
            np.testing.assert_array_equal(examples_of(examples, times_s[begin:end]), whole[begin:end])
    assert examples_of(examples, []).shape == (0, 96, 64)


def test_neighbouring_examples_share_their_rows_and_distant_ones_have_nothing_between_them():
    examples = LogMelStream(stream(sounds(200 * RATE)["noise"], 0.0), "start")
    block, _ = examples.block([0.0, 0.04, 0.08, 150.0, 150.5])
    assert block.first_rows.tolist() == [0, 4, 8, 104, 154]
    assert len(block.grid) == 104 + 96 + 50


@pytest.mark.parametrize(
    ("anchor", "frame", "row"),
    [
        # Click at 1.32 s; a window is loudest when its middle, 12.5 ms in, lies on the click.
        ("start", 31, (1.32 - 1.24) * 100 - 1.25),
        ("center", 33, 48.75 - 1.25),
        ("end", 35, (1.32 - (1.40 - 0.975)) * 100 - 1.25),
    ],
)
def test_a_click_is_where_its_frame_is(anchor, frame, row):
    samples = np.zeros(48_000, np.float32)
    samples[round(1.32 * RATE)] = 1.0
    examples = LogMelStream(stream(samples, 10.0), anchor)
    loudest = int(examples_of(examples, [10 + frame / 25])[0].mean(axis=1).argmax())
    assert abs(loudest - row) <= 1


def test_audio_is_found_where_an_example_holds_a_decoded_sample():
    samples = np.zeros(3 * RATE, np.float32)  # digital silence counts, a gap does not
    spans_s = ((5.0, 5.5), (7.2, 8.0))
    spans = tuple(tuple(round((time_s - 5) * RATE) for time_s in span) for span in spans_s)
    times_s = np.array([3.9, 4.02, 4.03, 5.0, 5.49, 5.5, 6.0, 6.22, 6.23, 7.0, 7.99, 8.0, 9.0])
    expected = [any(time < end and time + 0.975 > begin for begin, end in spans_s) for time in times_s]
    for size in (1, 4, 13):  # frames asked for at once
        examples = LogMelStream(stream(samples, 5.0, spans), "start")
        found = np.concatenate([examples.block(times_s[k : k + size])[1] for k in range(0, 13, size)])
        assert found.dtype == np.bool_
        assert found.tolist() == expected


def test_no_sound_at_all_is_silence_that_was_not_found():
    examples = LogMelStream(SoundStream(start_s=0.0, pieces=iter(())), "center")
    block, found = examples.block([0.0, 1.0, 1e6])
    assert not found.any()
    np.testing.assert_array_equal(block.grid, np.float32(np.log(0.01)))
    assert len(block) == 3
    np.testing.assert_array_equal(log_mel(np.zeros(RATE, np.float32)), np.float32(np.log(0.01)))


def test_an_hour_takes_the_memory_of_a_minute():
    """What is kept: a piece or two of sound and a block or two of rows, also when frames leap ahead."""
    piece = np.ones(30 * RATE, np.float32)  # 1.9 MB, made anew for each

    def pieces():
        for number in range(120):
            yield Sound(first_sample=number * len(piece), samples=piece.copy(), decoded=True)

    def peak_mb(times_s: np.ndarray) -> float:
        examples = LogMelStream(SoundStream(start_s=0.0, pieces=pieces()), "center")
        tracemalloc.start()
        for begin in range(0, len(times_s), 64):
            examples.block(times_s[begin : begin + 64])
        peak = tracemalloc.get_traced_memory()[1] / 2**20
        tracemalloc.stop()
        return peak

    minute = peak_mb(np.arange(60.0))
    assert peak_mb(np.arange(0.0, 3600, 2)) < minute + 4
    assert peak_mb(np.array([0.0, 3500.0])) < minute + 4
