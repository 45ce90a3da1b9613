"""One clip of another toolkit on its way into a store."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cache.canonical_json import Json
from cache.features import FRAME_ARRAYS, VISUAL_STREAM
from cache.imports.foreign_files import ForeignArray
from cache.imports.foreign_layout import ForeignLayout
from cache.imports.foreign_rows import ForeignRows, check_shape
from cache.imports.foreign_times import stream_times
from cache.imports.row_times import nearest_rows
from cache.parts import ClipKey
from cache.rows import AUDIO_STREAM


class ForeignClip:
    """A clip whose streams lie in files of their own, brought onto the rows of the first stream.

    A row of zeros stands for a face or a sound that was not found, as in every store; where it was found, its
    box is not known and its score is 1, as for cropped faces.

    Args:
        key: The clip's.
        layout: How the features lie.
        arrays: Stream -> where its rows are.
        facts: Provenance.

    Attributes:
        key: As given.
        facts: As given.
        num_frames: Its number of rows N.

    Raises:
        CacheError: Rows of a wrong shape or type, or times that do not fit them.
        CorruptFeatureError: A file is damaged, or a value is not finite or too large for float16.
        SettingsError: Nothing says at which times the rows of a stream are.
    """

    def __init__(
        self,
        key: ClipKey,
        layout: ForeignLayout,
        arrays: Mapping[str, ForeignArray],
        facts: Mapping[str, Json],
    ) -> None:
        self.key = key
        self.facts = facts
        self._stack = ExitStack()
        try:
            self._rows = {name: self._opened(name, array) for name, array in arrays.items()}
            times = {
                stream.name: stream_times(
                    stream,
                    stream.time_unit or layout.time_unit,
                    arrays[stream.name],
                    self._rows[stream.name].num_rows,
                    is_first=stream is layout.streams[0],
                )
                for stream in layout.streams
            }
            first = times[layout.streams[0].name]
            self.num_frames = len(first.time_s)
            # Which row of each stream belongs to each row of the clip; -1 where none does.
            self._chosen = {}
            for name, rows in self._rows.items():
                chosen = np.arange(self.num_frames)
                if times[name] is not first:
                    chosen = nearest_rows(first.time_s, times[name].time_s, times[name].period_s)
                marks = np.append(rows.marks(), False)  # the last for -1
                self._chosen[name] = np.where(marks[chosen], chosen, -1)
        except BaseException:
            self._stack.close()
            raise
        frame = np.arange(self.num_frames) if first.frame is None else first.frame
        self._frame_arrays: dict[str, NDArray[Any]] = {
            "time_s": first.time_s,
            "source_frame": frame,
            "face_found": self._found(VISUAL_STREAM),
            "face_score": self._found(VISUAL_STREAM),
            "audio_found": self._found(AUDIO_STREAM),
        }

    def read_into(self, array: str, view: int, start: int, out: NDArray[Any]) -> None:
        """See `cache.row_source.RowSource.read_into`."""
        chosen = slice(start, start + len(out))
        if array in self._rows:
            self._rows[array].take(self._chosen[array][chosen], out)
        elif array in self._frame_arrays:
            out[...] = self._frame_arrays[array][chosen]
        else:
            assert array in FRAME_ARRAYS
            out[...] = 0

    def close(self) -> None:
        """Close the files."""
        self._stack.close()

    def _opened(self, stream: str, array: ForeignArray) -> ForeignRows:
        opened = self._stack.enter_context(array.rows.opened())
        check_shape(stream, array.rows, opened)
        return ForeignRows(array.rows, opened)

    def _found(self, stream: str) -> NDArray[np.bool_]:
        if stream not in self._chosen:
            return np.zeros(self.num_frames, np.bool_)
        return np.asarray(self._chosen[stream] >= 0)
