"""Where a modality is away: bursts of one length at random places that add up to an exact share.

    share 40 % of 20 rows, bursts of 4        . . X X X X . . . . . X X X X . . . . .

Letters: N rows, k rows that are away, m bursts.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def burst_mask(
    num_rows: int, share: float, burst_rows: int, generator: np.random.Generator
) -> NDArray[np.bool_]:
    """Rows of one clip that are away.

    k = round(share N) rows are divided into m = round(k / burst_rows) bursts, one at least, whose lengths
    differ by one row at most. What is left of the clip is divided at random, every way alike, into the ends
    of the clip and the m - 1 pauses, of one row at least; where there are too few rows for that, the bursts
    are fewer and longer.

    Args:
        num_rows: Rows N of the clip.
        share: Share of the rows that are away, in [0, 1].
        burst_rows: Rows of a burst; shorter where k is less.
        generator: Of the random places.

    Returns:
        ``(N,)``, true in k rows.
    """
    away = np.zeros(num_rows, np.bool_)
    num_away = round(share * num_rows)
    if num_away == 0:
        return away
    num_present = num_rows - num_away
    num_bursts = min(max(1, round(num_away / burst_rows)), num_present + 1)
    burst = _shares(num_away, num_bursts)
    # A row stands between two bursts in any case, or they would be one; the others are free.
    pause = _random_parts(num_present - (num_bursts - 1), num_bursts + 1, generator)
    pause[1:-1] += 1
    start = np.cumsum(pause[:-1]) + np.cumsum(burst) - burst
    for first, length in zip(start.tolist(), burst.tolist(), strict=True):
        away[first : first + length] = True
    return away


def _shares(total: int, num_parts: int) -> NDArray[np.int64]:
    """Parts of `total` that differ by 1 at most."""
    return np.diff(np.arange(num_parts + 1) * total // num_parts)


def _random_parts(total: int, num_parts: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Parts of `total`, all ways of dividing it alike: stars and bars."""
    bars = np.sort(generator.choice(total + num_parts - 1, num_parts - 1, replace=False))
    return np.diff(np.concatenate([[-1], bars, [total + num_parts - 1]])) - 1
