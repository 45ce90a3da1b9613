"""What the rows say of their clips, gathered chunk by chunk: faces, sound, times that rise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cache.verify.report import Findings

TIME = "time_s"


class RowSummaries:
    """Gathers over all rows, of which only a chunk is there at a time.

    Args:
        row_size: ``(C,)`` rows of each clip.

    Attributes:
        face_known: ``(C,)`` bool, whether every row's ``face_found`` was read.
        audio_known: ``(C,)`` bool, whether every row's ``time_s`` and ``audio_found`` were read.
        audio_s: ``(C,)`` seconds of sound.
    """

    def __init__(self, row_size: NDArray[np.int64]) -> None:
        self._row_size = row_size
        self._row_stop = np.cumsum(row_size)
        self._num_faces = np.zeros(len(row_size), np.int64)
        self.audio_s = np.zeros(len(row_size))
        self.face_known = np.ones(len(row_size), np.bool_)
        self.audio_known = np.ones(len(row_size), np.bool_)
        # The row before those at hand: its time and whether it has sound.
        self._last: tuple[float, bool] | None = None

    @property
    def face_share(self) -> NDArray[np.float64]:
        """``(C,)`` share of each clip's rows with a face, 0 for a clip of no rows."""
        return self._num_faces / np.maximum(self._row_size, 1)

    def add(
        self,
        first_row: int,
        num_rows: int,
        findings: Findings,
        *,
        time_s: NDArray[np.float64] | None,
        face_found: NDArray[np.bool_] | None,
        audio_found: NDArray[np.bool_] | None,
    ) -> None:
        """The next rows of all clips.

        Args:
            first_row: The first of them.
            num_rows: Their number n.
            findings: Times that do not rise are noted there.
            time_s: ``(n,)``; None where they could not be read.
            face_found: ``(n,)``, likewise.
            audio_found: ``(n,)``, likewise.
        """
        clips = np.searchsorted(self._row_stop, np.arange(first_row, first_row + num_rows), side="right")
        if face_found is None:
            self.face_known[clips] = False
        else:
            self._num_faces += np.bincount(clips[face_found], minlength=len(self._num_faces))
        if time_s is None:
            self.audio_known[clips] = False
            self._last = None
            return
        if audio_found is None:
            self.audio_known[clips] = False
            audio_found = np.zeros(num_rows, np.bool_)
        # Pairs of neighbours, the first of them with the row before.
        start = 0 if self._last is not None else 1
        before = np.concatenate(([self._last[0]] if self._last is not None else [], time_s[:-1]))
        sounds_before = np.concatenate(
            ([self._last[1]] if self._last is not None else [], audio_found[:-1])
        ).astype(np.bool_)
        rows = np.arange(first_row + start, first_row + num_rows)
        owners = clips[start:]
        row_start = self._row_stop - self._row_size
        inside = rows > row_start[owners]  # the row before is of the same clip
        gaps = time_s[start:] - before
        for row in rows[inside & ~(gaps > 0)]:
            findings.add(
                f"time_s must rise strictly within a clip, got {time_s[row - first_row]} s after "
                f"{before[row - first_row - start]} s",
                array=TIME,
                rows=slice(int(row), int(row) + 1),
            )
        lasts = inside & (rows == self._row_stop[owners] - 1) & audio_found[start:]
        for chosen in (inside & sounds_before, lasts):
            self.audio_s += np.bincount(owners[chosen], gaps[chosen], minlength=len(self.audio_s))
        self._last = float(time_s[-1]), bool(audio_found[-1])
