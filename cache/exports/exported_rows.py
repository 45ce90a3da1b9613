"""The rows of a store in blocks, on their way out."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, NamedTuple

from numpy.typing import NDArray

from cache.layout import ArrayLayout, frame_layouts
from cache.packed_store import PackedStore

_BLOCK_BYTES = 4 * 2**20


class Block(NamedTuple):
    """Rows of one view of one array of a clip.

    Attributes:
        view: The view; 0 for an array without views.
        start: First row within the clip.
        rows: ``(n, ...)``.
    """

    view: int
    start: int
    rows: NDArray[Any]


class ExportedRows:
    """The arrays of a store with one row per frame, the streams first.

    Args:
        store: The store.

    Attributes:
        layouts: Those arrays, each along the rows of all clips.
    """

    def __init__(self, store: PackedStore) -> None:
        self._store = store
        self.layouts = frame_layouts(store.spec, store.num_frames)
        self._ranges = [
            slice(start, start + size)
            for start, size in zip(store.row_start.tolist(), store.row_size.tolist(), strict=True)
        ]

    @property
    def num_rows(self) -> int:
        """Rows of all clips."""
        return self._store.num_frames

    def num_frames(self, clip: int) -> int:
        """Rows of one clip."""
        rows = self._ranges[clip]
        return int(rows.stop - rows.start)

    def read(self, layout: ArrayLayout, start: int, stop: int, view: int) -> NDArray[Any]:
        """Rows ``[start, stop)`` of all clips of one view of an array, ``(stop - start, ...)``.

        Raises:
            CorruptFeatureError: A chunk is damaged.
            IncompleteStoreError: An object has gone since the store was opened.
        """
        return self._store.read(layout.name, slice(start, stop), view if layout.row_axis else None)

    def blocks(self, layout: ArrayLayout, clip: int, digest: hashlib._Hash) -> Iterator[Block]:
        """A clip's rows of one array, view by view, a few megabytes at a time.

        Args:
            layout: The array.
            clip: Number of the clip.
            digest: Is given their bytes.

        Raises:
            CorruptFeatureError: A chunk is damaged.
            IncompleteStoreError: An object has gone since the store was opened.
        """
        rows = self._ranges[clip]
        step = max(1, _BLOCK_BYTES // layout.row_bytes)
        for view in range(layout.num_views):
            for start in range(rows.start, rows.stop, step):
                block = self.read(layout, start, min(start + step, rows.stop), view)
                digest.update(block.data)
                yield Block(view, start - rows.start, block)
