"""Predictions of many clips on the disk, by clip, so that a few million rows take no memory."""

from __future__ import annotations

import tempfile
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from pipeline.submission.errors import SubmissionError

_ROW = np.dtype([("frame", "<i8"), ("values", "<f8", (2,))])


class PredictionSpool:
    """Takes blocks of rows in any order and gives them back clip by clip.

    A context manager; the file has no name and is gone at the end.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  closed by `__exit__`
        self._extents: dict[str, list[tuple[int, int]]] = {}  # where, how many rows
        self._num_rows = 0

    def __enter__(self) -> PredictionSpool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def __contains__(self, clip_id: str) -> bool:
        """Whether there is at least one prediction of a clip."""
        return clip_id in self._extents

    def add(self, clip_id: str, frame: NDArray[np.int64], values: NDArray[np.floating]) -> None:
        """Take some rows of a clip; those without a number are left out, as if they were not there.

        Args:
            clip_id: The clip.
            frame: ``(N,)`` frames, counted from 0.
            values: ``(N, 2)`` valence and arousal.

        Raises:
            SubmissionError: A frame has a negative number.
        """
        finite = np.isfinite(values).all(axis=1)
        rows = np.empty(int(finite.sum()), _ROW)
        rows["frame"], rows["values"] = frame[finite], values[finite]
        if not len(rows):
            return
        if rows["frame"].min() < 0:
            raise SubmissionError(
                f"clip {clip_id!a}: expected frames counted from 0, got {rows['frame'].min()}; predict the "
                "clip again"
            )
        self._file.seek(self._num_rows * _ROW.itemsize)
        self._file.write(rows.data)
        self._extents.setdefault(clip_id, []).append((self._num_rows, len(rows)))
        self._num_rows += len(rows)

    def rows_of(self, clip_id: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """All rows of a clip.

        Args:
            clip_id: One that is here.

        Returns:
            ``(N,)`` frames, strictly rising, and ``(N, 2)`` valence and arousal; the mean of a frame's rows
            where it has several, as at a rate of rows above the video's.
        """
        pieces = []
        for first, count in self._extents[clip_id]:
            self._file.seek(first * _ROW.itemsize)
            pieces.append(np.frombuffer(self._file.read(count * _ROW.itemsize), _ROW))
        rows = np.concatenate(pieces)
        frame, place, num = np.unique(rows["frame"], return_inverse=True, return_counts=True)
        values = np.zeros((len(frame), 2))
        np.add.at(values, place, rows["values"])
        return frame, values / num[:, None]
