"""A room of no particular shape: the direct sound, and noise that decays exponentially.

    h[0] = 1                                        the direct sound, not delayed
    h[n] = g w[n] 10^(-3 n / (T60 f))    n > 0      w white Gaussian noise, f the sample rate

After T60 the energy of the tail is down by 60 dB; g gives the tail the energy that the ratio of direct to
reverberant sound asks for. Polack, "La transmission de l'énergie sonore dans les salles" (1988), gives the
model. Early reflections, which this lacks, depend on the room.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.media.timeline import SAMPLE_RATE_HZ

# The tail is cut where it is down by 90 dB.
_LENGTH_IN_T60 = 1.5


def room_response(
    t60_s: float, direct_to_reverberant_db: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Impulse response at 16 kHz.

    Args:
        t60_s: Time in seconds in which the reverberation loses 60 dB.
        direct_to_reverberant_db: Energy of the direct sound over that of the tail.
        rng: Where the tail's randomness comes from.

    Returns:
        (n,), the direct sound first.
    """
    time_s = np.arange(1, 1 + round(_LENGTH_IN_T60 * t60_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    tail = rng.standard_normal(len(time_s)) * 10 ** (-3 * time_s / t60_s)
    tail *= np.sqrt(10 ** (-direct_to_reverberant_db / 10) / np.sum(tail**2))
    return np.concatenate([[1.0], tail])
