"""Rows in step with pictures, and the last seconds of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from pipeline.errors import ExtractionError
from pipeline.prediction.overlay_picture import TRACE_S, ShownRow
from pipeline.prediction.predicted_rows import PredictedRows


class ShownRows:
    """What is known at each picture of a video, from rows that come in blocks.

    A row holds until the next one: rows may have a lower rate than pictures. Before the first row nothing is
    known, and nothing after the last one, but for as many pictures as lie between two rows.

    Args:
        rows: The rows of one clip, in order.
        enlarged: By how much pictures are larger than those that faces were found in.
        where: The clip's video, for messages.
    """

    def __init__(self, rows: Iterable[PredictedRows], enlarged: int, where: str) -> None:
        self._where = where
        self._coming = self._one_by_one(rows, enlarged)
        self._next = next(self._coming, None)
        self._past: deque[ShownRow] = deque()
        self._frame: int | None = None  # of the last row of the past
        self._num_held = 0

    def at(self, frame: int) -> Sequence[ShownRow]:
        """Rows up to a picture, the last `TRACE_S` seconds of them; none where nothing is known of it.

        Args:
            frame: Number of the picture, greater than the one before.

        Raises:
            ExtractionError: The rows are not in order.
        """
        while self._next is not None and self._next[0] <= frame:
            if self._frame is not None and self._next[0] > self._frame:
                self._num_held = self._next[0] - self._frame - 1
            self._frame, row = self._next
            self._past.append(row)
            while self._past[0].time_s < row.time_s - TRACE_S:
                self._past.popleft()
            self._next = next(self._coming, None)
        if self._frame is None or (self._next is None and frame > self._frame + self._num_held):
            return ()
        return self._past

    def finish(self) -> None:
        """Make sure that there was a picture for every row.

        Raises:
            ExtractionError: There was none.
        """
        if self._next is not None:
            raise ExtractionError(
                f"{self._where}: expected a picture for each row, got rows for frame {self._next[0]} and "
                "after, which the video does not have; predict this very file"
            )

    def _one_by_one(self, rows: Iterable[PredictedRows], enlarged: int) -> Iterator[tuple[int, ShownRow]]:
        last = 0
        for block in rows:
            for index in range(len(block)):
                frame = int(block.frame[index])
                if frame < last:
                    raise ExtractionError(
                        f"{self._where}: expected rows in the order of frames, got frame {frame} after "
                        f"{last}; give the rows of one clip"
                    )
                last = frame
                yield frame, _shown(block, index, enlarged)


def _shown(rows: PredictedRows, index: int, enlarged: int) -> ShownRow:
    """One row as an overlay shows it."""
    valence, arousal = rows.values[index].tolist()
    deviation = None
    if rows.deviation is not None:
        of_valence, of_arousal = rows.deviation[index].tolist()
        deviation = of_valence, of_arousal
    box = None
    if np.any(rows.face_box[index]):
        left, top, right, bottom = (rows.face_box[index] * enlarged).tolist()
        box = left, top, right, bottom
    return ShownRow(
        time_s=float(rows.time_s[index]),
        values=(valence, arousal),
        deviation=deviation,
        face_found=bool(rows.face_found[index]),
        box=box,
    )
