"""Convolution of sound that comes in pieces."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class FirFilter:
    """A causal filter: each output sample depends on the input up to it, over the pieces' borders.

    Args:
        kernel: Impulse response, (k,).
    """

    def __init__(self, kernel: NDArray[np.float64]) -> None:
        self._kernel = kernel
        self._past = np.zeros(len(kernel) - 1)

    def append(self, samples: NDArray[np.floating]) -> NDArray[np.float64]:
        """Filtered samples, as many as are given, (n,)."""
        extended = np.concatenate([self._past, samples])
        size = 1 << (len(extended) + len(self._kernel) - 2).bit_length()
        spectrum = np.fft.rfft(extended, size) * np.fft.rfft(self._kernel, size)
        first = len(self._past)
        filtered: NDArray[np.float64] = np.fft.irfft(spectrum, size)[first : first + len(samples)]
        self._past = extended[len(extended) - first :]
        return filtered
