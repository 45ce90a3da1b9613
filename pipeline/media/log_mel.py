"""VGGish's input: log-mel rows of a clip, and the examples cut out of them.

The definition is VGGish's own: 25 ms periodic Hann windows every 10 ms, magnitude of a 512-point transform,
64 triangles from 125 to 7500 Hz that are linear in mel (HTK), log(mel + 0.01). torchaudio's filters are
linear in Hz, so the filters are built here.

The rows are computed once per clip, while its sound is decoded. Neighbouring frames' examples overlap by more
than 0.9 s; they are cut out of the same rows, which is how they are handed on.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.config import Anchor
from pipeline.input_blocks import MEL_BANDS, ExampleBlock
from pipeline.media.audio import SoundStream
from pipeline.media.sound_buffer import SoundBuffer, overlapping_runs
from pipeline.media.timeline import (
    EXAMPLE_ROWS,
    EXAMPLE_SAMPLES,
    HOP_SAMPLES,
    SAMPLE_RATE_HZ,
    WINDOW_SAMPLES,
    example_first_rows,
)

FFT_SIZE = 512
LOWEST_HZ = 125.0
HIGHEST_HZ = 7500.0
LOG_OFFSET = 0.01
# Rows computed at once; every block has this shape, the last one padded, so that a row's last bit does not
# depend on how many rows follow it.
_BLOCK_ROWS = 1024
_BLOCK_SAMPLES = (_BLOCK_ROWS - 1) * HOP_SAMPLES + WINDOW_SAMPLES
# Rows -2 and -1 end at samples 79 and 239: the first rows that touch the sound.
_FIRST_ROW = -((WINDOW_SAMPLES - 1) // HOP_SAMPLES)


def _mel(frequency_hz: ArrayLike) -> NDArray[np.float64]:
    """Mel of frequencies, in the form of HTK."""
    return np.asarray(1127.0 * np.log1p(np.asarray(frequency_hz) / 700.0))


@cache
def mel_filters() -> NDArray[np.float64]:
    """Weights of the spectrum's bins in each band.

    Returns:
        (257, 64): bin times band. Triangles between mels spaced evenly from 125 to 7500 Hz; the DC bin is
        zero. Read-only.
    """
    bins = _mel(np.arange(FFT_SIZE // 2 + 1) * SAMPLE_RATE_HZ / FFT_SIZE)[:, None]
    edges = np.linspace(_mel(LOWEST_HZ), _mel(HIGHEST_HZ), MEL_BANDS + 2)
    lower, center, upper = edges[:-2], edges[1:-1], edges[2:]
    rising = (bins - lower) / (center - lower)
    falling = (upper - bins) / (upper - center)
    # VGGish sets the DC bin to zero; it lies below the lowest triangle and is zero already.
    weights: NDArray[np.float64] = np.maximum(0.0, np.minimum(rising, falling))
    weights.setflags(write=False)
    return weights


def log_mel(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Log-mel rows of all whole windows.

    Args:
        samples: Mono at 16 kHz, (n,), full scale 1.

    Returns:
        (rows, 64) float32, row r of samples 160 r to 160 r + 399; ``rows = 1 + (n - 400) // 160``, none for
        n < 400.
    """
    rows = np.empty((max(0, 1 + (len(samples) - WINDOW_SAMPLES) // HOP_SAMPLES), MEL_BANDS), np.float32)
    for start in range(0, len(rows), _BLOCK_ROWS):
        begin = start * HOP_SAMPLES
        block = np.zeros(_BLOCK_SAMPLES, np.float32)
        heard = samples[begin : begin + _BLOCK_SAMPLES]
        block[: len(heard)] = heard
        rows[start : start + _BLOCK_ROWS] = _block_log_mel(block)[: len(rows) - start]
    return rows


def _block_log_mel(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """One block's log-mel rows, (1024, 64)."""
    if not samples.any():  # what the formula gives for silence, which may be most of a clip
        return np.full((_BLOCK_ROWS, MEL_BANDS), np.log(LOG_OFFSET), np.float32)
    return rows_at_once(samples)


def rows_at_once(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Log-mel rows of all whole windows, as `log_mel` gives them, but not in blocks of one shape.

    Computed in float64: a loud tone's float32 rounding would show in the quiet bands. That also leaves the
    number of rows no influence on a row but in the last bits of a float64.

    Args:
        samples: Mono at 16 kHz, (n,), n of at least 400.

    Returns:
        (rows, 64) float32.
    """
    windows = np.lib.stride_tricks.sliding_window_view(samples.astype(np.float64), WINDOW_SAMPLES)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW_SAMPLES) / WINDOW_SAMPLES)
    magnitude = np.abs(np.fft.rfft(windows[::HOP_SAMPLES] * hann, FFT_SIZE))  # (rows, 257)
    return np.asarray(np.log(magnitude @ mel_filters() + LOG_OFFSET), dtype=np.float32)


class LogMelStream:
    """The VGGish examples of a clip's frames, block by block, as the clip's sound is decoded.

    Outside the sound there is silence, so that an example may reach beyond either end, or lie wholly
    outside. Rows are computed in blocks that lie at fixed places of the sound, whatever is asked for:

        rows      -2 -1  0  1 ...      1021 | 1022 ...        2045 | ...
        blocks   |------- block 0 ----------|------ block 1 -------|

    Args:
        sound: The clip's sound.
        anchor: What of the 0.975 s example lies at the frame's time.
    """

    def __init__(self, sound: SoundStream, anchor: Anchor) -> None:
        self._buffer = SoundBuffer(sound)
        self._anchor = anchor
        self._blocks: dict[int, NDArray[np.float32]] = {}  # by number; (1024, 64) each

    def block(self, times_s: ArrayLike) -> tuple[ExampleBlock, NDArray[np.bool_]]:
        """The examples of consecutive frames.

        Args:
            times_s: The frames' times in seconds, rising, also from call to call, (n,).

        Returns:
            The examples, and whether each holds at least one decoded sample, (n,) bool.
        """
        starts = example_first_rows(times_s, self._buffer.start_s, self._anchor)
        grid = [np.empty((0, MEL_BANDS), np.float32)]
        found = [np.empty(0, np.bool_)]
        places = np.empty_like(starts)
        num_rows = 0
        for run in overlapping_runs(starts, EXAMPLE_ROWS):
            first, stop = int(starts[run][0]), int(starts[run][-1]) + EXAMPLE_ROWS
            self._forget(first)
            found.append(self._buffer.holds_sound(starts[run] * HOP_SAMPLES, EXAMPLE_SAMPLES))
            grid.append(self._rows(first, stop))
            places[run] = starts[run] - first + num_rows
            num_rows += stop - first
        return ExampleBlock(grid=np.concatenate(grid), first_rows=places), np.concatenate(found)

    def _forget(self, row: int) -> None:
        """Drop what no example from a row on looks at."""
        number = _block_of(row)
        self._buffer.forget(_first_row_of(number) * HOP_SAMPLES)
        for old in [block for block in self._blocks if block < number]:
            del self._blocks[old]

    def _rows(self, first: int, stop: int) -> NDArray[np.float32]:
        """Log-mel rows, (stop - first, 64), of sound that lies amid silence without end."""
        parts = []
        for number in range(_block_of(first), _block_of(stop - 1) + 1):
            begin = _first_row_of(number)
            if number not in self._blocks:
                samples = self._buffer.samples(begin * HOP_SAMPLES, begin * HOP_SAMPLES + _BLOCK_SAMPLES)
                self._blocks[number] = _block_log_mel(samples)
            parts.append(self._blocks[number][max(0, first - begin) : stop - begin])
        return np.concatenate(parts)


def _block_of(row: int) -> int:
    """Number of the block that holds a row; block 0 begins with the first row that touches the sound."""
    return (row - _FIRST_ROW) // _BLOCK_ROWS


def _first_row_of(number: int) -> int:
    return number * _BLOCK_ROWS + _FIRST_ROW
