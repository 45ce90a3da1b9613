"""Sound that comes before or after its picture: which audio row each frame gets.

    time_s          0.0   0.1   0.2   0.3   0.4
    row               0     1     2     3     4
    shifted 0.2 s     -     -     0     1     2     what was heard 0.2 s earlier; `-` is a row of zeros

Rows are found by their times, so clips of different and of changing frame rates are shifted by equal seconds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Times are sums of binary fractions, so what is a tie on paper misses it by some rounding.
_TIE_S = 1e-6

#: Stands for a row of zeros in `shifted_rows`.
NO_ROW = -1


def shifted_rows(time_s: NDArray[np.float64], shift_s: float) -> NDArray[np.int64]:
    """The row whose sound each frame of a clip gets.

    Args:
        time_s: ``(N,)`` ascending times of the clip's rows.
        shift_s: Seconds by which the sound comes later; earlier where negative.

    Returns:
        ``(N,)`` the row nearest to ``time_s - shift_s``, the earlier one of two as near; `NO_ROW` where that
        time lies more than half a frame outside the clip.

    >>> shifted_rows(np.arange(5) / 10, 0.2).tolist()
    [-1, -1, 0, 1, 2]
    """
    num_rows = len(time_s)
    if num_rows == 0 or shift_s == 0:
        return np.arange(num_rows)
    half_frame_s = frame_duration_s(time_s) / 2
    # Row i is on from border i to border i + 1; a time on a border belongs to the row before it.
    border = np.concatenate(
        [[time_s[0] - half_frame_s], (time_s[:-1] + time_s[1:]) / 2, [time_s[-1] + half_frame_s]]
    )
    found = np.searchsorted(border, time_s - shift_s - _TIE_S) - 1
    return np.where((found >= 0) & (found < num_rows), found, NO_ROW).astype(np.int64)


def frame_duration_s(time_s: NDArray[np.float64]) -> float:
    """Median time from one row to the next; 0 for a clip of one row."""
    return float(np.median(np.diff(time_s))) if len(time_s) > 1 else 0.0
