"""The latest stretch of sound, and the audio backbone's input that ends at a picture's time.

    sound       ...............................|newest
    log-mel     |r0 ------- 96 rows ------- |  |    whole rows are kept, a few are new per picture
    picture                                   ^ time

An example reaches up to 5 ms beyond its picture, as in stage one. Sound from a microphone comes later than
the picture that it belongs to: its example then ends with what has been heard, up to `MAX_LAG_S` earlier.
"""

from __future__ import annotations

import threading
from collections import deque

import numpy as np
from numpy.typing import NDArray

from pipeline.input_blocks import MEL_BANDS, ExampleBlock, SampleBlock
from pipeline.media.audio import Sound
from pipeline.media.log_mel import rows_at_once
from pipeline.media.timeline import (
    EXAMPLE_ROWS,
    EXAMPLE_SAMPLES,
    HOP_SAMPLES,
    SAMPLE_RATE_HZ,
    WINDOW_SAMPLES,
    example_first_rows,
    overlaps_any,
    window_first_samples,
)

# Sound that is later than this is not waited for: silence stands in its place.
MAX_LAG_S = 0.5
# Sound that no picture has asked for yet: what is older goes when there is more of it.
_MOST_KEPT_S = 60.0


class TrailingSound:
    """Sound that comes in pieces, and what of it ends at a time; safe to use from two threads.

    Args:
        window_samples: Samples of the backbone's window; None for log-mel examples.
        late: Whether sound may come later than its picture, as from a microphone; if not, there is silence
            where there is no sound.
    """

    def __init__(self, window_samples: int | None = None, *, late: bool = False) -> None:
        self._window_samples, self._late = window_samples, late
        self._pieces: deque[Sound] = deque()
        self._start_s = 0.0
        self._stop = 0  # the sample behind the latest
        self._first_row = 0  # of `_rows`
        self._rows = np.empty((0, MEL_BANDS), np.float32)
        self._lock = threading.Lock()

    @property
    def stop_s(self) -> float | None:
        """Where the sound that has been heard ends; None before the first piece."""
        return self._start_s + self._stop / SAMPLE_RATE_HZ if self._stop else None

    def add(self, piece: Sound, start_s: float) -> None:
        """Take in the next piece.

        Args:
            piece: It begins where the one before ends.
            start_s: Time of sample 0 in seconds.
        """
        with self._lock:
            self._start_s = start_s
            self._pieces.append(piece)
            self._stop = piece.first_sample + len(piece.samples)
            self._forget(self._stop - round(_MOST_KEPT_S * SAMPLE_RATE_HZ))

    def ending_at(self, time_s: float) -> ExampleBlock | SampleBlock | None:
        """The backbone's input for a picture.

        Args:
            time_s: The picture's time; times rise from call to call.

        Returns:
            A block of one input; None where there is no decoded sample in it, as `audio_found` says it.
        """
        with self._lock:
            if not self._pieces:
                return None
            if self._window_samples is not None:
                return self._window(time_s, self._window_samples)
            return self._example(time_s)

    def _window(self, time_s: float, length: int) -> SampleBlock | None:
        first = int(window_first_samples([time_s], self._start_s, "end", length)[0])
        first = min(first, self._latest(first + length) - length)
        self._forget(first)
        if not self._holds_sound(first, length):
            return None
        samples = self._samples(first, first + length)
        return SampleBlock(samples=samples, first_samples=np.zeros(1, np.int64), window_samples=length)

    def _example(self, time_s: float) -> ExampleBlock | None:
        first = int(example_first_rows([time_s], self._start_s, "end")[0])
        stop = first * HOP_SAMPLES + EXAMPLE_SAMPLES
        if (latest := self._latest(stop)) < stop:
            first = (latest - EXAMPLE_SAMPLES) // HOP_SAMPLES
        self._forget(first * HOP_SAMPLES)
        if not self._holds_sound(first * HOP_SAMPLES, EXAMPLE_SAMPLES):
            return None
        return ExampleBlock(grid=self._log_mel(first), first_rows=np.zeros(1, np.int64))

    def _latest(self, stop: int) -> int:
        """Where to end instead of at a sample: with the latest one where sound lags by a little."""
        lags = self._late and 0 < stop - self._stop <= MAX_LAG_S * SAMPLE_RATE_HZ
        return self._stop if lags else stop

    def _forget(self, sample: int) -> None:
        """Drop the pieces that end before a sample, but for the latest one."""
        if self._late:  # sound that was too late for a picture counts again for the next one
            sample -= round(MAX_LAG_S * SAMPLE_RATE_HZ)
        while len(self._pieces) > 1 and _stop_of(self._pieces[0]) <= sample:
            self._pieces.popleft()

    def _log_mel(self, first: int) -> NDArray[np.float32]:
        """The rows of an example, (96, 64); those that can still change are not kept."""
        known = self._rows[max(0, first - self._first_row) :] if first >= self._first_row else self._rows[:0]
        known = known[:EXAMPLE_ROWS]
        begin = (first + len(known)) * HOP_SAMPLES
        num_new = EXAMPLE_ROWS - len(known)
        rows = known
        if num_new:
            new = rows_at_once(self._samples(begin, begin + (num_new - 1) * HOP_SAMPLES + WINDOW_SAMPLES))
            rows = np.concatenate([known, new])
        num_whole = (self._stop - WINDOW_SAMPLES) // HOP_SAMPLES + 1 - first
        self._first_row, self._rows = first, rows[: max(0, num_whole)]
        return rows

    def _samples(self, first: int, stop: int) -> NDArray[np.float32]:
        """Samples, zeros where there is no sound, (stop - first,)."""
        samples = np.zeros(stop - first, np.float32)
        for piece in self._pieces:
            begin, end = max(first, piece.first_sample), min(stop, _stop_of(piece))
            if begin < end:
                samples[begin - first : end - first] = piece.samples[
                    begin - piece.first_sample : end - piece.first_sample
                ]
        return samples

    def _holds_sound(self, first: int, length: int) -> bool:
        spans = [(piece.first_sample, _stop_of(piece)) for piece in self._pieces if piece.decoded]
        starts = np.array([first], np.int64)
        return bool(overlaps_any(starts, length, np.array(spans, np.int64).reshape(-1, 2))[0])


def _stop_of(piece: Sound) -> int:
    return piece.first_sample + len(piece.samples)
