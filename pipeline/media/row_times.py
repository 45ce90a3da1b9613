"""Rows at a constant rate, each of the frame that is nearest in time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import floor
from typing import TypeVar

from pipeline.media.timeline import SAME_TIME_S

Item = TypeVar("Item")


def rows_of_frames(timed: Iterable[tuple[float, Item]], rate_hz: float) -> Iterator[tuple[Item, range]]:
    """Which rows show which frame, found while the frames come in.

    Row j lies at ``t0 + j / rate_hz``, t0 being the first frame's time; the last row lies at most half a row
    after the last frame:

        frames     A           B  C                    D
        rows       0     1     2     3     4     5     6
        shown      A     A     B     C     C     D     D        (row 1: a tie goes to the earlier)

    Args:
        timed: Frames after their times in seconds, rising strictly.
        rate_hz: Rows per second.

    Yields:
        A frame and the rows that show it, in order; frames that no row shows are left out. The rows of all
        frames together are 0, 1, 2 and so on without a gap.
    """
    start_s, row = 0.0, 0
    held: tuple[float, Item] | None = None
    for time_s, item in timed:
        if held is None:
            start_s = time_s
        else:
            stop = _first_row_after((held[0] + time_s) / 2 - start_s, rate_hz)
            if stop > row:
                yield held[1], range(row, stop)
                row = stop
        held = time_s, item
    if held is not None:
        stop = _first_row_after(held[0] - start_s + 0.5 / rate_hz, rate_hz)
        if stop > row:
            yield held[1], range(row, stop)


def _first_row_after(offset_s: float, rate_hz: float) -> int:
    """The first row that lies after a time, counted from row 0's; a row at that very time does not."""
    return floor((offset_s + SAME_TIME_S) * rate_hz) + 1
