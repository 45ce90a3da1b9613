"""What a store gives: the rows of one clip, read when they are asked for, or those of all clips in memory.

Shapes: N rows, D features of a stream, V views of the visual stream, C clips.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cache.canonical_json import Json
from cache.clip_table import clip_provenance
from cache.errors import StoreFormatError
from cache.features import VISUAL_STREAM
from cache.layout import AUDIO_S, CLIP_FACTS, FACE_SHARE, MEDIA_SHA256
from cache.parts import ClipKey

AUDIO_STREAM = "audio"


@dataclass(frozen=True, kw_only=True, eq=False)
class LoadedFeatures:
    """Clips of a store in memory, the rows of one clip after another.

    Attributes:
        clip_ids: The C clips, in the store's order or in that which was asked for.
        row_size: ``(C,)`` int64, rows of each clip.
        row_start: ``(C,)`` int64, first row of each clip.
        streams: Embeddings by name, float16: ``visual`` is ``(V, N, D_v)``, every other stream ``(N, D)``.
        time_s: ``(N,)`` float64, seconds on the container's timeline.
        source_frame: ``(N,)`` int64, index of the decoded picture in its video.
        face_found: ``(N,)`` bool.
        audio_found: ``(N,)`` bool.
        face_box: ``(N, 4)`` float32, x0, y0, x1, y1 in pixels of the decoded picture.
        face_score: ``(N,)`` float32.
    """

    clip_ids: tuple[str, ...]
    row_size: NDArray[np.int64]
    row_start: NDArray[np.int64]
    streams: Mapping[str, NDArray[np.float16]]
    time_s: NDArray[np.float64]
    source_frame: NDArray[np.int64]
    face_found: NDArray[np.bool_]
    audio_found: NDArray[np.bool_]
    face_box: NDArray[np.float32]
    face_score: NDArray[np.float32]


class RowReader(Protocol):
    """What `ClipRows` needs of the store that it belongs to."""

    def read(self, array: str, rows: slice) -> NDArray[Any]:
        """Rows of one of the store's flat arrays, all views."""

    def entry(self, clip_id: str, column: str) -> Any:
        """A clip's entry in a column of the clip table."""


class ClipRows:
    """The rows of one clip, or of a window of it; each array is read when it is first asked for, and kept.

    Attributes:
        clip_id: The clip.
        num_frames: Its number of rows N, or the window's.
    """

    def __init__(self, store: RowReader, clip_id: str, rows: slice, stream_names: tuple[str, ...]) -> None:
        """Made by `FeatureStore`.

        Args:
            store: The store.
            clip_id: The clip.
            rows: Its rows in the store's flat arrays.
            stream_names: The store's streams.
        """
        self.clip_id = clip_id
        self.num_frames: int = rows.stop - rows.start
        self._store = store
        self._rows = rows
        self._stream_names = stream_names
        self._streams: dict[str, NDArray[np.float16]] = {}

    def __repr__(self) -> str:
        return f"ClipRows({self.clip_id!r}, {self.num_frames} frames)"

    def __len__(self) -> int:
        return self.num_frames

    def window(self, start: int, stop: int) -> ClipRows:
        """Some of the rows, read when they are asked for.

        Args:
            start: First row, counted from this clip's or window's first.
            stop: The row after the last.

        Raises:
            ValueError: The window reaches beyond the rows.
        """
        if not 0 <= start <= stop <= self.num_frames:
            raise ValueError(
                f"a window of clip {self.clip_id!r} must lie in rows 0 to {self.num_frames}, got {start} to "
                f"{stop}"
            )
        rows = slice(self._rows.start + start, self._rows.start + stop)
        return ClipRows(self._store, self.clip_id, rows, self._stream_names)

    def stream(self, name: str) -> NDArray[np.float16]:
        """Rows of one stream, ``(V, N, D_v)`` for ``visual``, ``(N, D)`` for every other.

        Raises:
            StoreFormatError: The store has no such stream.
            CorruptFeatureError: A chunk is damaged.
            IncompleteStoreError: An object has gone since the store was opened.
        """
        if name not in self._stream_names:
            raise StoreFormatError(
                f"clip {self.clip_id!r}: the store has no stream {name!r} "
                f"(streams: {', '.join(self._stream_names)})"
            )
        if name not in self._streams:
            self._streams[name] = self._store.read(name, self._rows)
        return self._streams[name]

    @property
    def visual(self) -> NDArray[np.float16]:
        """``(V, N, D_v)``, see `stream`."""
        return self.stream(VISUAL_STREAM)

    @property
    def audio(self) -> NDArray[np.float16]:
        """``(N, D_a)``, see `stream`."""
        return self.stream(AUDIO_STREAM)

    @property
    def streams(self) -> Mapping[str, NDArray[np.float16]]:
        """All streams by name; reads all of them."""
        return {name: self.stream(name) for name in self._stream_names}

    @cached_property
    def time_s(self) -> NDArray[np.float64]:
        """``(N,)``, seconds on the container's timeline."""
        return self._store.read("time_s", self._rows)

    @cached_property
    def source_frame(self) -> NDArray[np.int64]:
        """``(N,)``, index of the decoded picture in its video."""
        return self._store.read("source_frame", self._rows)

    @cached_property
    def face_found(self) -> NDArray[np.bool_]:
        """``(N,)``."""
        return self._store.read("face_found", self._rows)

    @cached_property
    def audio_found(self) -> NDArray[np.bool_]:
        """``(N,)``, whether decoded sound lies below the frame's audio example."""
        return self._store.read("audio_found", self._rows)

    @cached_property
    def face_box(self) -> NDArray[np.float32]:
        """``(N, 4)``, x0, y0, x1, y1 in pixels of the decoded picture; 0 where no face was found."""
        return self._store.read("face_box", self._rows)

    @cached_property
    def face_score(self) -> NDArray[np.float32]:
        """``(N,)``, probability of the face; 0 where none was found."""
        return self._store.read("face_score", self._rows)

    @property
    def media_sha256(self) -> str:
        """Digest of the clip's media file, 64 hexadecimal digits."""
        return str(self._store.entry(self.clip_id, MEDIA_SHA256))

    @property
    def face_share(self) -> float:
        """Share of the clip's rows with a face; 0 for a clip without rows."""
        return float(self._store.entry(self.clip_id, FACE_SHARE))

    @property
    def audio_s(self) -> float:
        """Seconds of the clip that have decoded sound."""
        return float(self._store.entry(self.clip_id, AUDIO_S))

    @property
    def key(self) -> ClipKey:
        """What the clip was extracted from."""
        return self._provenance[0]

    @property
    def facts(self) -> Mapping[str, Json]:
        """Provenance: facts of the media, digest of the code, machine."""
        return self._provenance[1]

    @cached_property
    def _provenance(self) -> tuple[ClipKey, Mapping[str, Json]]:
        return clip_provenance(self._store.entry(self.clip_id, CLIP_FACTS), f"clip {self.clip_id!r}")
