"""Times of rows, and which row of one stream belongs to a row of another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Times that are multiples of a period differ from their true values in the last bits. What is decided here
# (is it within half a period, which of two is nearer) is decided as if they did not.
_TOLERANCE = 1e-6


def regular_times_s(num_rows: int, rate_hz: float) -> NDArray[np.float64]:
    """``(N,)`` times of rows at a constant rate, the first at 0 s."""
    return np.arange(num_rows) / rate_hz


def period_of(times_s: NDArray[np.float64]) -> float | None:
    """Usual distance of neighbouring rows in seconds, their median; None for fewer than two rows."""
    return float(np.median(np.diff(times_s))) if len(times_s) > 1 else None


def nearest_rows(
    wanted_s: NDArray[np.float64], given_s: NDArray[np.float64], period_s: float
) -> NDArray[np.int64]:
    """For each time the row nearest to it.

    Args:
        wanted_s: ``(N,)`` seconds.
        given_s: ``(M,)`` seconds of the rows to choose from, rising.
        period_s: Usual distance of these rows.

    Returns:
        ``(N,)`` rows in ``[0, M)``, the earlier one of two that are as near; -1 where none is within half a
        period.
    """
    if not len(given_s):
        return np.full(len(wanted_s), -1, np.int64)
    after = np.clip(np.searchsorted(given_s, wanted_s), 1, max(len(given_s) - 1, 1))
    after = np.minimum(after, len(given_s) - 1)
    before = np.maximum(after - 1, 0)
    to_before, to_after = np.abs(wanted_s - given_s[before]), np.abs(given_s[after] - wanted_s)
    is_before = to_before <= to_after + _TOLERANCE * period_s
    distance = np.where(is_before, to_before, to_after)
    return np.where(distance <= period_s * (0.5 + _TOLERANCE), np.where(is_before, before, after), -1)
