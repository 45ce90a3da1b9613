"""Rows of one array as zarr-python reads them: from remote stores, and where a layout is not our own."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from itertools import product
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from cache.chunk_grid import ChunkGrid, DamagedChunkError, is_absent, read_index
from cache.errors import CacheError
from cache.location import ChangedObjectError, Location, Stamp, unreadable
from cache.record import CompletionRecord


class ZarrRows:
    """One array of a store, with the methods of `cache.chunk_map.ChunkMap`.

    zarr compares each chunk with its CRC32C. What it takes for zeros is refused here: objects that are gone,
    and chunks that an index says were never written.

    Args:
        location: Where the store lies.
        record: What it consists of.
        grid: The array's cut.
        stamps: The objects as they were when the store was opened.
    """

    def __init__(
        self, location: Location, record: CompletionRecord, grid: ChunkGrid, stamps: Mapping[str, Stamp]
    ) -> None:
        self._location = location
        self._record = record
        self._grid = grid
        self._stamps = stamps
        self._handle: tuple[int, Any] = (0, None)  # of which process, and the array
        self._whole: set[str] = set()  # objects whose index was looked at

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
            ChangedObjectError: An object is gone, or was written again since the store was opened.
            CacheError: The place cannot be reached, or what failed once does not fail again.
        """
        rows = slice(start, stop)
        objects = self._objects(rows, view)
        try:
            self._check_indices(objects)
            block = self._decode(rows, view)
        except (ChangedObjectError, MemoryError):
            raise
        except CacheError:
            self._location.require(self._stamps, objects)
            raise
        except Exception as error:
            self._location.require(self._stamps, objects)
            raise self._what_failed(rows, view, error) from error
        # Afterwards, since it might have happened meanwhile.
        self._location.require(self._stamps, objects)
        return block

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
            progress: Called with the number of bytes, shard by shard.
        """
        if view is None and self._grid.row_axis:
            for each, of_view in enumerate(out):
                self.read_into(of_view, start, each, progress)
            return
        # One shard at a time: zarr would decode them all at once, and hold them twice.
        size, stop = self._grid.shard_rows, start + len(out)
        for first in range(start - start % size, stop, size):
            rows = slice(max(first, start), min(first + size, stop))
            block = self.read(rows.start, rows.stop, view)
            out[rows.start - start : rows.stop - start] = block
            if progress is not None:
                progress(block.nbytes)

    def _decode(self, rows: slice, view: int | None) -> NDArray[Any]:
        leading = (slice(None) if view is None else view,) * self._grid.row_axis
        return np.asarray(self._array()[(*leading, rows)])

    def _array(self) -> Any:
        """The array as zarr opens it; a forked process opens its own, since zarr's threads do not fork."""
        process, array = self._handle
        if process != os.getpid():
            import zarr  # a quarter of a second, for those who need it

            store = self._location.zarr_store(self._record)
            array = zarr.open_array(store, path=self._grid.name, mode="r", zarr_format=3)
            self._handle = (os.getpid(), array)
        return array

    def _objects(self, rows: slice, view: int | None) -> list[str]:
        """Objects that hold a range of rows; all of the array's where their names are unusual."""
        if rows.stop <= rows.start:
            return []
        if self._grid.has_default_names:
            return self._grid.objects(rows, view)
        return [path for path in self._record.objects if path.startswith(f"{self._grid.name}/")]

    def _check_indices(self, objects: list[str]) -> None:
        """Refuse chunks that were never written, which zarr would fill with zeros; once per object."""
        grid = self._grid
        if not grid.has_index:
            return
        for path in objects:
            if path in self._whole:
                continue
            shard = int(path.split("/")[2 + grid.row_axis])
            try:
                tail = self._location.tail(path, grid.index_bytes)
            except FileNotFoundError as error:
                raise ChangedObjectError(self._location.name, path) from error
            index = read_index(grid, path, grid.rows_of_shard(shard), np.frombuffer(tail, np.uint8))
            for place, entry in enumerate(index):
                rows = grid.rows_of_chunk(shard * grid.chunks_per_shard + place)
                if is_absent(entry) and rows.start < grid.num_rows:
                    raise DamagedChunkError(path, place, rows, "its index says that it was never written")
            self._whole.add(path)

    def _what_failed(self, rows: slice, view: int | None, cause: Exception) -> CacheError:
        """The first chunk that cannot be read alone, or something else than a chunk."""
        grid = self._grid
        if _is_of_the_system(cause):
            return self._refused(rows, view, cause)
        views = range(grid.num_views) if view is None else [view]
        size = grid.chunk_rows
        for each, chunk in product(views, range(rows.start // size, -(-rows.stop // size))):
            wanted = grid.rows_of_chunk(chunk)
            try:
                self._decode(slice(max(wanted.start, rows.start), min(wanted.stop, rows.stop)), each)
            except (CacheError, MemoryError):
                raise
            except Exception as error:
                if _is_of_the_system(error):
                    return self._refused(wanted, each, error)
                shard, place = divmod(chunk, grid.chunks_per_shard)
                return DamagedChunkError(grid.object_path(each, shard), place, wanted, _reason(error))
        return CacheError(
            f"{self._location.name}: rows {rows.start} to {rows.stop - 1} of array {grid.name} could not be "
            f"read: {_reason(cause)}, though each of their chunks can; try again"
        )

    def _refused(self, rows: slice, view: int | None, error: OSError) -> CacheError:
        path = next(iter(self._objects(rows, view)), self._grid.name)
        return unreadable(self._location.name, path, error)


def _is_of_the_system(error: Exception) -> TypeGuard[OSError]:
    """Whether it is the system that refuses something, and not a codec that cannot make sense of bytes."""
    return isinstance(error, OSError) and error.errno is not None


def _reason(error: Exception) -> str:
    """What went wrong, on one line."""
    return " ".join(str(error).split()) or type(error).__name__
