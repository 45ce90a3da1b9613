"""Conversion of sound to 16 kHz, piece by piece, so that no clip is held in memory."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil, gcd

import numpy as np
import torch
from numpy.typing import NDArray
from torchaudio.functional import resample

from pipeline.media.timeline import SAMPLE_RATE_HZ

# Zero crossings of the filter on each side, and its cut-off as a share of the lower of the two Nyquist
# frequencies: torchaudio's defaults, written out because features depend on them.
FILTER_WIDTH = 6
ROLLOFF = 0.99
# Entries of the largest bank of filters: 96 kHz needs 6, 44.1 kHz needs 70,560, a rate prime to 16,000 a
# billion.
_MAX_FILTER_ENTRIES = 2**24
PIECE_S = 30.0  # of a piece, unless asked for otherwise


def can_resample(rate_hz: int) -> bool:
    """Whether a sample rate is in a ratio to 16 kHz for which the bank of filters is of reasonable size."""
    return (
        rate_hz > 0 and rate_hz * SAMPLE_RATE_HZ // gcd(rate_hz, SAMPLE_RATE_HZ) ** 2 <= _MAX_FILTER_ENTRIES
    )


class Resampler:
    """Growing mono sound, resampled by `torchaudio.functional.resample` while it grows.

    Each piece is resampled with as much sound on either side as the filter reaches, so that there are no
    seams:

        source     ...|<-context->|<------- piece ------->|<-context->|...
        16 kHz                    |<------- kept -------->|

    Args:
        rate_hz: Sample rate of what is appended, one that `can_resample` accepts.
        piece_s: Length of a piece in seconds; it has no influence on the result beyond rounding.
    """

    def __init__(self, rate_hz: int, piece_s: float = PIECE_S) -> None:
        common = gcd(rate_hz, SAMPLE_RATE_HZ)
        # `down` source samples last as long as `up` samples at 16 kHz: pieces are cut where both grids meet.
        self._down, self._up = rate_hz // common, SAMPLE_RATE_HZ // common
        reach = ceil(FILTER_WIDTH * self._down / (min(self._down, self._up) * ROLLOFF))
        self._context = self._down * ceil(reach / self._down)
        self._piece = self._down * ceil(piece_s * rate_hz / self._down)
        # Begins with the context of the next piece; before the first sample there is silence.
        self._buffer = [np.zeros(self._context, np.float32)]
        self._num_buffered = self._context

    def append(self, samples: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
        """Add samples at the source's rate, (n,); to be exhausted.

        Yields:
            The pieces at 16 kHz that they complete, (m,) each.
        """
        self._buffer.append(samples)
        self._num_buffered += len(samples)
        while self._num_buffered >= self._piece + 2 * self._context:
            yield self._flush(self._piece)

    def finish(self) -> NDArray[np.float32]:
        """The last piece at 16 kHz; to be called once.

        All pieces together have ``ceil(n * 16000 / rate_hz)`` samples.
        """
        num_left = self._num_buffered - self._context
        self._buffer.append(np.zeros(self._context, np.float32))
        self._num_buffered += self._context
        return self._flush(num_left)

    def _flush(self, num_samples: int) -> NDArray[np.float32]:
        """Resample the next samples of the buffer; keep what the piece after them needs as context."""
        buffer = np.concatenate(self._buffer)
        source = torch.from_numpy(buffer[: num_samples + 2 * self._context])
        # Returns the source itself where the rates agree.
        target = resample(source, self._down, self._up, lowpass_filter_width=FILTER_WIDTH, rolloff=ROLLOFF)
        first = self._context // self._down * self._up
        self._buffer = [buffer[num_samples:].copy()]
        self._num_buffered = len(buffer) - num_samples
        kept: NDArray[np.float32] = target[first : first + ceil(num_samples * self._up / self._down)].numpy()
        return kept.copy()
