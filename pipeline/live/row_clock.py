"""How many rows of the window end with a picture."""

from __future__ import annotations

from math import floor

from pipeline.live.live_source import LiveFrame
from pipeline.media.timeline import SAME_TIME_S


class RowClock:
    """Counts the rows up to picture after picture.

    Stage one shows in each row the picture nearest in time, which it knows when the next picture has come.
    Here the next one is expected after the mean time between pictures so far:

        pictures   A           B  C                    D
        rows       0     1     2     3     4     5     6
        shown      A     A     B     C     C     C     D      those between are held when the next one comes

    Args:
        rate_hz: Rows per second, as `extract.media.resample_fps`; None for one row per picture of the source.
    """

    def __init__(self, rate_hz: float | None) -> None:
        self._rate_hz = rate_hz
        self._start: LiveFrame | None = None
        self._num_rows = 0

    def rows_until(self, frame: LiveFrame) -> int:
        """Rows since the picture that was asked about before, this one's included; 0 where it has none.

        Args:
            frame: The picture; there may be some between it and the one before.
        """
        if self._start is None:
            self._start = frame
        if self._rate_hz is None:
            num_rows = frame.index - self._start.index + 1
        else:
            since_s = frame.time_s - self._start.time_s
            frame_s = since_s / max(1, frame.index - self._start.index)
            reach_s = min(frame_s, 1 / self._rate_hz) / 2
            num_rows = floor((since_s + reach_s + SAME_TIME_S) * self._rate_hz) + 1
        due, self._num_rows = num_rows - self._num_rows, num_rows
        return due
