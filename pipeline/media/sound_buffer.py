"""The stretch of a clip's sound that is being looked at, kept while it is decoded."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pipeline.media.audio import Sound, SoundStream
from pipeline.media.timeline import overlaps_any


class SoundBuffer:
    """Random access to sound that streams by, forwards only: what has been forgotten is gone.

    Outside the sound there is silence, so that what is asked for may reach beyond either end.

    Args:
        sound: The clip's sound.

    Attributes:
        start_s: Time of sample 0 in seconds.
    """

    def __init__(self, sound: SoundStream) -> None:
        self.start_s = sound.start_s
        self._pieces = sound.pieces
        self._kept: deque[Sound] = deque()
        self._first_kept = 0
        self._num_decoded = 0
        self._at_end = False

    def forget(self, sample: int) -> None:
        """Drop everything before a sample, also of what is still to be decoded."""
        self._first_kept = max(self._first_kept, sample)
        self._drop()

    def samples(self, first: int, stop: int) -> NDArray[np.float32]:
        """Samples `first` up to, but not including, `stop`.

        Args:
            first: May be negative; then, and beyond the end of the sound, there are zeros.
            stop: Greater than `first`.

        Returns:
            (stop - first,).
        """
        self._decode_to(stop)
        self._check_kept(first)
        samples = np.zeros(stop - first, np.float32)
        for piece in self._kept:
            begin = max(first, piece.first_sample)
            end = min(stop, piece.first_sample + len(piece.samples))
            if begin < end:
                samples[begin - first : end - first] = piece.samples[
                    begin - piece.first_sample : end - piece.first_sample
                ]
        return samples

    def holds_sound(self, starts: NDArray[np.int64], length: int) -> NDArray[np.bool_]:
        """Whether stretches of one length hold at least one decoded sample.

        Args:
            starts: First sample of each, (n,).
            length: Samples of every stretch.

        Returns:
            (n,) bool.
        """
        if len(starts) == 0:
            return np.zeros(0, np.bool_)
        self._decode_to(int(starts.max()) + length)
        self._check_kept(int(starts.min()))
        spans = [
            (piece.first_sample, piece.first_sample + len(piece.samples))
            for piece in self._kept
            if piece.decoded
        ]
        return overlaps_any(starts, length, np.array(spans, np.int64).reshape(-1, 2))

    def _decode_to(self, stop: int) -> None:
        while self._num_decoded < stop and not self._at_end:
            piece = next(self._pieces, None)
            if piece is None:
                self._at_end = True
            else:
                self._kept.append(piece)
                self._num_decoded = piece.first_sample + len(piece.samples)
                self._drop()

    def _drop(self) -> None:
        while self._kept and self._kept[0].first_sample + len(self._kept[0].samples) <= self._first_kept:
            self._kept.popleft()

    def _check_kept(self, first: int) -> None:
        if max(first, 0) < self._first_kept:
            raise ValueError(
                f"expected samples from {self._first_kept} on, the others are forgotten, got {first}"
            )


def overlapping_runs(starts: NDArray[np.int64], length: int) -> Iterator[slice]:
    """Runs of stretches of one length of which each overlaps or touches the one before.

    Args:
        starts: Where they begin, ascending, (n,).
        length: Of every stretch.

    Yields:
        Slices of `starts`, together all of it. Frames may be hours apart: what lies between is not wanted.
    """
    breaks = np.flatnonzero(np.diff(starts) > length) + 1
    for begin, end in zip([0, *breaks], [*breaks, len(starts)], strict=True):
        if begin < end:
            yield slice(int(begin), int(end))
