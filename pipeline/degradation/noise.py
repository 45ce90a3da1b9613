"""Background noise: white, pink, or with the spectrum of speech.

White Gaussian noise goes through a filter whose magnitude is the square root of the wanted power spectrum:

    white    flat
    pink     1 / f from 20 Hz on (-3 dB per octave), nothing below
    speech   long-term average of many languages and talkers, third-octave levels of table II in Byrne et al.,
             "An international comparison of long-term average speech spectra", J. Acoust. Soc. Am. 96 (1994)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from pipeline.degradation.condition import Family
from pipeline.degradation.fir_filter import FirFilter
from pipeline.media.timeline import SAMPLE_RATE_HZ

_NUM_TAPS = 8192  # half a second: 2 Hz between the frequencies at which a spectrum is met
_LOWEST_HZ = 20.0
_SPEECH_BANDS_HZ = (
    *(63, 80, 100, 125, 160, 200, 250, 315, 400, 500, 630, 800),
    *(1000, 1250, 1600, 2000, 2500, 3150, 4000, 5000, 6300, 8000),
)
_SPEECH_LEVELS_DB = (
    *(38.6, 43.5, 54.4, 57.7, 56.8, 60.2, 60.3, 59.0, 62.1, 62.1, 60.5, 56.8),
    *(53.7, 53.0, 52.0, 48.7, 48.1, 46.8, 45.6, 44.5, 44.3, 43.7),
)


def pink_power(frequency_hz: NDArray[np.float64]) -> NDArray[np.float64]:
    """Power density of pink noise, up to a factor."""
    return np.where(frequency_hz >= _LOWEST_HZ, 1 / np.maximum(frequency_hz, _LOWEST_HZ), 0)


def speech_power(frequency_hz: NDArray[np.float64]) -> NDArray[np.float64]:
    """Power density of speech on the long run, up to a factor.

    A third-octave band is as wide as its frequency is high, but for a factor. Between bands the level is
    interpolated over the logarithm of the frequency; below the lowest band there is nothing.
    """
    bands = np.log(_SPEECH_BANDS_HZ)
    inner = np.maximum(frequency_hz, _SPEECH_BANDS_HZ[0])
    level_db = np.interp(np.log(inner), bands, _SPEECH_LEVELS_DB)
    return np.where(frequency_hz >= _SPEECH_BANDS_HZ[0], 10 ** (level_db / 10) / inner, 0)


_SPECTRA: Mapping[Family, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "pink_noise": pink_power,
    "speech_noise": speech_power,
}


class Noise:
    """Endless noise at 16 kHz.

    Args:
        family: One of the families of noise.
        rng: Where its randomness comes from.
    """

    def __init__(self, family: Family, rng: np.random.Generator) -> None:
        self._rng = rng
        self._filter: FirFilter | None = None
        if family in _SPECTRA:
            self._filter = FirFilter(_kernel(_SPECTRA[family]))
            self._filter.append(rng.standard_normal(_NUM_TAPS))  # from here on it is stationary

    def samples(self, num_samples: int) -> NDArray[np.float64]:
        """The next samples, (num_samples,)."""
        white = self._rng.standard_normal(num_samples)
        return white if self._filter is None else self._filter.append(white)


def _kernel(power: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> NDArray[np.float64]:
    """Impulse response of unit energy whose squared magnitude is a power spectrum, (_NUM_TAPS,)."""
    frequency_hz: NDArray[np.float64] = np.fft.rfftfreq(_NUM_TAPS, 1 / SAMPLE_RATE_HZ).astype(np.float64)
    amplitude = np.sqrt(power(frequency_hz))
    kernel = np.roll(np.fft.irfft(amplitude, _NUM_TAPS), _NUM_TAPS // 2) * np.hanning(_NUM_TAPS + 1)[:-1]
    whole: NDArray[np.float64] = kernel / np.sqrt(np.sum(kernel**2))
    return whole
