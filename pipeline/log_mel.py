"""VGGish's input: log-mel rows of a clip, and the examples cut out of them.

The definition is VGGish's own: 25 ms periodic Hann windows every 10 ms, magnitude of a 512-point transform,
64 triangles from 125 to 7500 Hz that are linear in mel (HTK), log(mel + 0.01). torchaudio's filters are
linear in Hz, so the filters are built here.

The rows are computed once per clip. Neighbouring frames' examples overlap by more than 0.9 s; they are cut
out of the same rows when they are asked for.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.audio import Waveform
from pipeline.config import Anchor
from pipeline.timeline import (
    EXAMPLE_ROWS,
    EXAMPLE_SAMPLES,
    HOP_SAMPLES,
    SAMPLE_RATE_HZ,
    WINDOW_SAMPLES,
    example_first_rows,
    overlaps_any,
)

FFT_SIZE = 512
NUM_BANDS = 64
LOWEST_HZ = 125.0
HIGHEST_HZ = 7500.0
LOG_OFFSET = 0.01
# Rows computed at once; every block has this shape, the last one padded, so that a row's last bit does not
# depend on how many rows follow it.
_BLOCK_ROWS = 1024


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
    edges = np.linspace(_mel(LOWEST_HZ), _mel(HIGHEST_HZ), NUM_BANDS + 2)
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
    return _rows(samples, 0, max(0, 1 + (len(samples) - WINDOW_SAMPLES) // HOP_SAMPLES))


def _rows(samples: NDArray[np.float32], first_row: int, num_rows: int) -> NDArray[np.float32]:
    """Log-mel rows from any row on, (num_rows, 64), as if the samples lay amid silence without end."""
    rows = np.empty((num_rows, NUM_BANDS), np.float32)
    for start in range(0, num_rows, _BLOCK_ROWS):
        begin = (first_row + start) * HOP_SAMPLES
        block = np.zeros((_BLOCK_ROWS - 1) * HOP_SAMPLES + WINDOW_SAMPLES)
        heard = samples[max(0, begin) : max(0, begin + len(block))]
        lead = max(0, -begin)
        block[lead : lead + len(heard)] = heard
        rows[start : start + _BLOCK_ROWS] = _block_log_mel(block)[: num_rows - start]
    return rows


def _block_log_mel(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log-mel rows, (rows, 64), in float64: a loud tone's float32 rounding would show in the quiet bands."""
    windows = np.lib.stride_tricks.sliding_window_view(samples, WINDOW_SAMPLES)[::HOP_SAMPLES]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW_SAMPLES) / WINDOW_SAMPLES)
    magnitude = np.abs(np.fft.rfft(windows * hann, FFT_SIZE))  # (rows, 257)
    return np.asarray(np.log(magnitude @ mel_filters() + LOG_OFFSET))


class LogMelExamples:
    """The VGGish example of every frame of a clip.

    Outside the waveform there is silence, so that an example may reach beyond either end, or lie wholly
    outside.

    Args:
        waveform: The clip's sound.
        times_s: The frames' times in seconds, on the same timeline, (N,).
        anchor: What of the 0.96 s example lies at the frame's time.

    Attributes:
        audio_found: Whether the frame's example holds at least one decoded sample, (N,) bool.
    """

    def __init__(self, waveform: Waveform, times_s: ArrayLike, anchor: Anchor) -> None:
        self._first_rows = example_first_rows(times_s, waveform.start_s, anchor)
        # From the first to the last row that touches the waveform; rows -2 and -1 end at samples 79 and 239.
        self._grid_start = -((WINDOW_SAMPLES - 1) // HOP_SAMPLES)
        last_row = (len(waveform.samples) - 1) // HOP_SAMPLES
        self._grid = _rows(waveform.samples, self._grid_start, last_row + 1 - self._grid_start)
        self._silence = log_mel(np.zeros(WINDOW_SAMPLES, np.float32))[0]
        starts_s, ends_s = np.array(waveform.spans).reshape(-1, 2).T - waveform.start_s
        spans = np.stack(
            (np.rint(starts_s * SAMPLE_RATE_HZ), np.ceil(ends_s * SAMPLE_RATE_HZ - 1e-6)), axis=1
        ).astype(np.int64)
        self.audio_found = overlaps_any(self._first_rows * HOP_SAMPLES, EXAMPLE_SAMPLES, spans)

    def __len__(self) -> int:
        return len(self._first_rows)

    def batch(self, start: int, stop: int) -> NDArray[np.float32]:
        """Examples of the frames from `start` up to, but not including, `stop`.

        Args:
            start: First frame, counted from 0.
            stop: Frame after the last one.

        Returns:
            (stop - start, 1, 96, 64): example, channel, row (time), band.
        """
        rows = self._first_rows[start:stop, None] + np.arange(EXAMPLE_ROWS) - self._grid_start
        inside = (rows >= 0) & (rows < len(self._grid))
        examples = np.where(
            inside[..., None], self._grid[np.clip(rows, 0, len(self._grid) - 1)], self._silence
        )
        return np.asarray(examples[:, None])
