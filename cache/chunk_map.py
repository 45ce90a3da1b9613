"""Rows of one array straight from its shards, mapped into memory.

Shards are uncompressed, so a chunk of a mapped shard is an array already; what zarr-python takes a
millisecond for takes the time of copying the rows. A chunk is compared with its CRC32C when it is first
touched, and a shard's index likewise. Before any row is given out, the shard's file has to be what it was
when the store was opened.
"""

from __future__ import annotations

import mmap
import os
import sys
from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any, NamedTuple

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from cache.chunk_grid import (
    ChunkGrid,
    DamagedChunkError,
    checksum_at_end,
    is_absent,
    read_index,
)
from cache.layout import CHECKSUM_BYTES
from cache.location import MISSING, ChangedObjectError, LocalFolder, Stamp, stamp_of, unreadable

# Python keeps a descriptor for each mapping, to be able to resize it, unless it is told not to.
_MAPPED: dict[str, Any] = {"access": mmap.ACCESS_READ}
if sys.version_info >= (3, 13):
    _MAPPED["trackfd"] = False


class _Shard(NamedTuple):
    """A mapped shard: the mapping, all its bytes, and ``(chunks, 2)`` offset and length of each chunk."""

    mapping: mmap.mmap | None
    data: NDArray[np.uint8]
    entries: NDArray[np.uint64]


class ChunkMap:
    """One array of a local store. Threads may share it, and a forked process keeps it.

    Nothing is locked: two threads that touch a chunk at once both check it and find the same.

    Args:
        folder: The store.
        grid: The array's cut; its chunks have to be plain.
        stamps: The objects as they were when the store was opened.
    """

    def __init__(self, folder: LocalFolder, grid: ChunkGrid, stamps: Mapping[str, Stamp]) -> None:
        self._grid = grid
        self._name = folder.name
        self._dtype = np.dtype(grid.data_type)
        self._chunk_rows = grid.chunk_rows
        self._chunks_per_shard = grid.chunks_per_shard
        shards, views = range(grid.num_shards), range(grid.num_views)
        self._paths = [[grid.object_path(view, shard) for shard in shards] for view in views]
        self._files = [[folder.file(path) for path in paths] for paths in self._paths]
        self._facts = [[_facts(stamps[path]) for path in paths] for paths in self._paths]
        self._shards: list[list[_Shard | None]] = [[None for _ in shards] for _ in views]
        # The array of a chunk is here once its checksum was compared, and not before.
        num_chunks = grid.num_shards * grid.chunks_per_shard
        self._chunks: list[list[NDArray[Any] | None]] = [[None] * num_chunks for _ in views]

    def read(self, start: int, stop: int, view: int | None) -> NDArray[Any]:
        """Rows ``[start, stop)``, in an array of their own.

        Args:
            start: First row.
            stop: The row after the last.
            view: One view; all by default.

        Returns:
            ``(rows, ...)`` of one view, with the views before where there are views and none is chosen.

        Raises:
            DamagedChunkError: A checksum does not fit.
            ChangedObjectError: A shard is gone, or was written again since the store was opened.
            UnreadableObjectError: The system refuses it, for example for want of file descriptors.
        """
        grid, size = self._grid, self._chunk_rows
        if view is None and grid.row_axis:
            if grid.num_views == 1:
                return self.read(start, stop, 0)[np.newaxis]
            every = np.empty((*grid.shape[: grid.row_axis], stop - start, *grid.row_shape), self._dtype)
            self.read_into(every, start, None)
            return every
        view = view or 0
        first = start // size
        if stop > start and (stop - 1) // size == first:
            self._check_shard(view, first // self._chunks_per_shard)
            chunk = self._chunks[view][first]
            if chunk is None:
                chunk = self._checked_chunk(view, first)
            return chunk[start - first * size : stop - first * size].copy()
        out = np.empty((stop - start, *grid.row_shape), self._dtype)
        self.read_into(out, start, view)
        return out

    def read_into(
        self,
        out: NDArray[Any],
        start: int,
        view: int | None,
        progress: Callable[[int], object] | None = None,
    ) -> None:
        """Fill an array with the rows from `start` on; errors as for `read`.

        Args:
            out: Shaped as `read` would return it.
            start: First row.
            view: As for `read`.
            progress: Called with the number of bytes, chunk by chunk.
        """
        if view is None and self._grid.row_axis:
            for each, of_view in enumerate(out):
                self.read_into(of_view, start, each, progress)
            return
        view, size, stop = view or 0, self._chunk_rows, start + len(out)
        row, shard = start, -1
        while row < stop:
            index, offset = divmod(row, size)
            if index // self._chunks_per_shard != shard:
                shard = index // self._chunks_per_shard
                self._check_shard(view, shard)
            chunk = self._chunks[view][index]
            if chunk is None:
                chunk = self._checked_chunk(view, index)
            taken = min(size - offset, stop - row)
            block = out[row - start : row - start + taken]
            block[...] = chunk[offset : offset + taken]
            row += taken
            if progress is not None:
                progress(block.nbytes)

    def release_pages(self) -> None:
        """Take what was touched of the shards out of the process's memory; it is read again when needed.

        Mapped pages count as memory of the process. The system's page cache may keep them all the same, and
        what was compared with its checksum is not compared again.
        """
        for shard in chain.from_iterable(self._shards):
            if shard is not None and shard.mapping is not None:
                shard.mapping.madvise(mmap.MADV_DONTNEED)

    def _check_shard(self, view: int, shard: int) -> None:
        """A file that was cut short would end the process, one that was written over give unchecked rows."""
        try:
            found = os.stat(self._files[view][shard])
        except MISSING as error:
            raise ChangedObjectError(self._name, self._paths[view][shard]) from error
        except OSError as error:
            raise unreadable(self._name, self._paths[view][shard], error) from error
        if (found.st_size, found.st_dev, found.st_ino, found.st_mtime_ns) != self._facts[view][shard]:
            raise ChangedObjectError(self._name, self._paths[view][shard])

    def _checked_chunk(self, view: int, index: int) -> NDArray[Any]:
        """Compare a chunk with its checksum, and keep it."""
        grid = self._grid
        shard, place = divmod(index, self._chunks_per_shard)
        path, rows = self._paths[view][shard], grid.rows_of_chunk(index)
        mapped = self._shards[view][shard]
        if mapped is None:
            mapped = self._shards[view][shard] = self._map(view, shard)
        if is_absent(mapped.entries[place]):
            raise DamagedChunkError(path, place, rows, "its index says that it was never written")
        offset, length = map(int, mapped.entries[place])
        if length != grid.chunk_bytes + CHECKSUM_BYTES or offset + length > len(mapped.data):
            reason = f"its index gives it {length} bytes at {offset}, where it cannot be"
            raise DamagedChunkError(path, place, rows, reason)
        stored = mapped.data[offset : offset + length]
        wanted, got = checksum_at_end(stored), google_crc32c.value(stored[:-CHECKSUM_BYTES])
        if got != wanted:
            reason = f"it does not fit its CRC32C checksum: expected {wanted:08x}, got {got:08x}"
            raise DamagedChunkError(path, place, rows, reason)
        values = np.frombuffer(stored, self._dtype, grid.chunk_bytes // self._dtype.itemsize)
        chunk = values.reshape(grid.chunk_rows, *grid.row_shape)
        self._chunks[view][index] = chunk
        return chunk

    def _map(self, view: int, shard: int) -> _Shard:
        """Map a shard and read its index."""
        grid, path = self._grid, self._paths[view][shard]
        rows = grid.rows_of_shard(shard)
        try:
            with open(self._files[view][shard], "rb") as file:
                facts = _facts(stamp_of(os.fstat(file.fileno())))
                if facts != self._facts[view][shard]:
                    raise ChangedObjectError(self._name, path)
                is_empty = facts[0] == 0  # which cannot be mapped
                mapping = None if is_empty else mmap.mmap(file.fileno(), 0, **_MAPPED)
        except MISSING as error:
            raise ChangedObjectError(self._name, path) from error
        except OSError as error:
            raise unreadable(self._name, path, error) from error
        data = np.frombuffer(b"" if mapping is None else mapping, np.uint8)
        return _Shard(mapping, data, read_index(grid, path, rows, data[-grid.index_bytes :]))


def _facts(stamp: Stamp) -> tuple[int, ...]:
    """A local file's stamp as one flat tuple, which is quicker to compare."""
    token: Any = stamp.token
    return (stamp.size_bytes, *token)
