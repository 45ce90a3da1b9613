"""One store at one place, opened and checked; rows come from mapped shards or from zarr.

What was lost or damaged never reads as numbers. Opening compares the store with its completion record; every
chunk is compared with its CRC32C before its rows are given out; and what a read touches has to be what lay
there when the store was opened.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from cache.canonical_json import Json
from cache.chunk_grid import ChunkGrid, DamagedChunkError
from cache.chunk_map import ChunkMap
from cache.errors import CacheError, CorruptFeatureError, IncompleteStoreError, StoreFormatError
from cache.layout import CLIP_ID, ROW_SIZE, ArrayLayout, clip_layouts, frame_layouts
from cache.location import ChangedObjectError, LocalFolder, Location, Stamp, location_of
from cache.record import RESTORE_HINT, CompletionRecord
from cache.spec import FeatureSpec
from cache.swap import heal
from cache.zarr_rows import ZarrRows

_METADATA = "zarr.json"


class PackedStore:
    """An opened store. Threads may share it, a forked process keeps it, and it pickles by its place.

    Attributes:
        location: Where it lies.
        record: What it consists of.
        spec: What its features are.
        attributes: Attributes of its group.
        grids: How each array is cut, by name.
        clip_ids: Its C clips.
        row_size: ``(C,)`` int64, rows of each clip, read-only.
        row_start: ``(C,)`` int64, first row of each clip, read-only.
    """

    def __init__(self, location: Location, identity: Stamp | None, *, memory_map: bool) -> None:
        """Use `open`, which tries again where a store was replaced meanwhile.

        Args:
            location: Where it lies.
            identity: `Location.identity` from before.
            memory_map: Whether to map shards of a local store into memory.
        """
        self.location = location
        self._identity = identity
        self._memory_map = memory_map
        self._columns: dict[str, NDArray[Any]] = {}
        self.record = CompletionRecord.read(location)
        self._stamps = location.stamps()
        sizes = {path: stamp.size_bytes for path, stamp in self._stamps.items()}
        self.record.check_sizes(location, sizes=sizes)
        metadata = self._read_metadata()
        self.attributes, self.spec = self._read_group(metadata)
        layouts = (*frame_layouts(self.spec, self.num_frames), *clip_layouts(self.num_clips))
        self.grids = {layout.name: self._read_grid(layout, metadata) for layout in layouts}
        self._rows = {name: self._row_reader(grid) for name, grid in self.grids.items()}
        self.row_start: NDArray[np.int64] = np.zeros(0, np.int64)  # until the clips are known
        self.clip_ids = tuple(str(clip) for clip in self.column(CLIP_ID))
        self.row_size: NDArray[np.int64] = self.column(ROW_SIZE)
        if (
            self.spec.fingerprint != self.record.fingerprint
            or len(set(self.clip_ids)) != self.num_clips
            or self.row_size.min(initial=0) < 0
            or self.row_size.sum() != self.num_frames
        ):
            raise StoreFormatError(
                f"{self.name}: its clips, its spec and its completion record contradict each other"
            )
        self.row_start = np.cumsum(self.row_size) - self.row_size
        self.row_start.flags.writeable = False

    @classmethod
    def open(
        cls,
        path: Path | str | Location,
        storage_options: Mapping[str, Any] | None = None,
        *,
        memory_map: bool = True,
    ) -> PackedStore:
        """Open a store, after a look at every object of its completion record.

        Metadata is compared with its digests, everything else with its size.

        Args:
            path: A path, or a URL that fsspec knows.
            storage_options: For fsspec's file system.
            memory_map: Whether to map shards of a local store into memory; zarr reads them otherwise, and
                files may then change their inodes.

        Raises:
            IncompleteStoreError: Nothing lies there, or the record or an object is missing.
            CorruptFeatureError: An object has another size, or metadata was changed.
            StoreFormatError: What lies there is no feature store that this program reads.
            CacheError: The place cannot be reached.
        """
        location = location_of(path, storage_options)
        if isinstance(location, LocalFolder):
            # A mapped file has to keep its inode; where files are not to be trusted so far, their bytes are
            # compared with a checksum each time.
            location = location.with_inodes(memory_map)
        while True:
            before = settled_identity(location)
            try:
                store = cls(location, before, memory_map=memory_map)
            except CacheError:
                # Another process may have replaced the store between two looks at it: look again.
                if location.identity() == before:
                    raise
            else:
                if location.identity() == before:
                    return store

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.location.name

    @property
    def num_clips(self) -> int:
        """Number of clips C."""
        return self.record.num_clips

    @property
    def num_frames(self) -> int:
        """Rows of all clips."""
        return self.record.num_frames

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the spec."""
        return self.record.fingerprint

    @property
    def digest(self) -> str:
        """SHA-256 over the store's bytes, as its completion record tells."""
        return self.record.digest

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (self.location, self.digest, self._memory_map)

    def __repr__(self) -> str:
        return f"PackedStore({self.name!r}, {self.num_clips} clips, {self.num_frames} frames)"

    def column(self, array: str) -> NDArray[Any]:
        """A whole column of the clip table, ``(C,)``, read-only; read once."""
        found = self._columns.get(array)
        if found is None:
            found = self.read(array, slice(0, self.num_clips))
            found.flags.writeable = False
            self._columns[array] = found
        return found

    def read(self, array: str, rows: slice, view: int | None = None) -> NDArray[Any]:
        """Rows of an array, in memory of their own.

        Args:
            array: A stream, an array with one row per frame, or a column of the clip table.
            rows: A range of rows, ``0 <= start <= stop`` and no further than the array.
            view: One view of the visual stream; all by default.

        Returns:
            ``(rows, ...)`` for one view and for an array without views, ``(V, rows, ...)`` for all views.

        Raises:
            CorruptFeatureError: A chunk is damaged; names array, object, chunk and the first clip concerned.
            IncompleteStoreError: An object has gone, or the store was replaced since it was opened.
            CacheError: The place cannot be reached.
        """
        start, stop = rows.start, rows.stop
        reader = self._checked(array, start, stop, view)
        try:
            return reader.read(start, stop, view)
        except (DamagedChunkError, ChangedObjectError) as error:
            self._explain(array, start, stop, error)

    def read_into(
        self,
        out: NDArray[Any],
        array: str,
        start: int,
        view: int | None = None,
        progress: Callable[[int], object] | None = None,
    ) -> None:
        """Fill an array with rows; errors as for `read`.

        Args:
            out: Shaped as `read` would return it.
            array: As for `read`.
            start: First row.
            view: As for `read`.
            progress: Called with the number of bytes, block by block.
        """
        stop = start + (out.shape[1] if view is None and self._grid(array).row_axis else out.shape[0])
        reader = self._checked(array, start, stop, view)
        try:
            reader.read_into(out, start, view, progress)
        except (DamagedChunkError, ChangedObjectError) as error:
            self._explain(array, start, stop, error)

    def release_pages(self) -> None:
        """See `cache.chunk_map.ChunkMap.release_pages`; nothing where zarr reads."""
        for reader in self._rows.values():
            if isinstance(reader, ChunkMap):
                reader.release_pages()

    def _grid(self, array: str) -> ChunkGrid:
        try:
            return self.grids[array]
        except KeyError:
            raise StoreFormatError(
                f"{self.name} has no array {array!r} (arrays: {', '.join(self.grids)})"
            ) from None

    def _checked(self, array: str, start: int, stop: int, view: int | None) -> ChunkMap | ZarrRows:
        """The reader of an array, once what is asked for is known to be in it."""
        grid = self._grid(array)
        if not 0 <= start <= stop <= grid.num_rows:
            raise ValueError(
                f"{self.name}: rows of {array} must lie in 0 to {grid.num_rows}, got {start} to {stop}"
            )
        if view is not None and not (grid.row_axis and 0 <= view < grid.num_views):
            views = f"0 to {grid.num_views - 1}" if grid.row_axis else "None, it has no views"
            raise ValueError(f"{self.name}: view of {array} must be {views}, got {view}")
        return self._rows[array]

    def _row_reader(self, grid: ChunkGrid) -> ChunkMap | ZarrRows:
        if self._memory_map and grid.is_plain and isinstance(self.location, LocalFolder):
            return ChunkMap(self.location, grid, self._stamps)
        return ZarrRows(self.location, self.record, grid, self._stamps)

    def _read_metadata(self) -> dict[str, bytes]:
        """Content of every ``zarr.json``, compared with its digest, by path."""
        paths = [path for path in self.record.objects if posixpath.basename(path) == _METADATA]
        try:
            metadata = self.location.read_many(paths)
        except FileNotFoundError as error:
            raise IncompleteStoreError(f"{error}; {RESTORE_HINT}") from error
        for path, content in metadata.items():
            self.record.check_content(self.location, path, content)
        return metadata

    def _read_group(self, metadata: Mapping[str, bytes]) -> tuple[Mapping[str, Json], FeatureSpec]:
        try:
            attributes: dict[str, Json] = json.loads(metadata[_METADATA])["attributes"]
            return attributes, FeatureSpec.from_json(json.dumps(attributes["feature_spec"]))
        except StoreFormatError as error:
            raise StoreFormatError(f"{self.name}: {error}") from error
        except (KeyError, TypeError, ValueError) as error:
            raise StoreFormatError(
                f"{self.name}: expected a feature store, got a group without its attributes ({error!r})"
            ) from error

    def _read_grid(self, layout: ArrayLayout, metadata: Mapping[str, bytes]) -> ChunkGrid:
        """How an array is cut; it has to be what the spec says, and wholly in the record."""
        path = f"{layout.name}/{_METADATA}"
        if path not in metadata:
            raise StoreFormatError(f"{self.name}: array {layout.name} is not in the completion record")
        try:
            grid = ChunkGrid.from_metadata(layout.name, metadata[path], layout.row_axis)
        except ValueError as error:
            raise StoreFormatError(f"{self.name}: array {layout.name} cannot be opened: {error}") from error
        wanted = (layout.dtype, layout.shape, layout.dimensions)
        found = (grid.data_type, grid.shape, grid.dimensions)
        if found != wanted:
            raise StoreFormatError(
                f"{self.name}: array {layout.name} must be {wanted[0]} with shape {wanted[1]} and dimensions "
                f"{wanted[2]}, got {found[0]}, {found[1]} and {found[2]}"
            )
        if not grid.has_checksums:
            raise StoreFormatError(
                f"{self.name}: array {layout.name} must end each chunk and each index in a CRC32C, or damage "
                "would read as numbers; pack the store again with 'tagf extract'"
            )
        every = grid.objects(slice(0, grid.num_rows)) if grid.has_default_names else []
        unlisted = [path for path in every if path not in self.record.objects]
        if unlisted:
            raise StoreFormatError(f"{self.name}: object {unlisted[0]} is not in the completion record")
        return grid

    def _explain(
        self, array: str, start: int, stop: int, error: DamagedChunkError | ChangedObjectError
    ) -> NoReturn:
        """Say what a failed read means for the user."""
        if isinstance(error, ChangedObjectError):
            self._explain_change(error)
        grid = self.grids[array]
        rows = slice(max(start, error.rows.start), min(stop, error.rows.stop))
        concerned = ""
        if len(self.row_start) and "frame" in grid.dimensions:
            # Clips without rows start where the next one does: the last that starts there has the row.
            clip = int(np.searchsorted(self.row_start, rows.start, side="right")) - 1
            concerned = f", first of clip {self.clip_ids[clip]!r}"
        place = "" if error.chunk is None else f"chunk {error.chunk} of "
        raise CorruptFeatureError(
            f"{self.name}: array {array} is damaged in {place}object {error.path} "
            f"(rows {error.rows.start} to {error.rows.stop - 1}{concerned}): {error.reason}; {RESTORE_HINT}"
        ) from error

    def _explain_change(self, error: ChangedObjectError) -> NoReturn:
        if self.location.identity() != self._identity:
            raise IncompleteStoreError(
                f"{self.name} was replaced or removed while it was open; open it again"
            ) from error
        self.record.check_sizes(self.location, [error.path])
        raise IncompleteStoreError(
            f"{self.name}: object {error.path} was written again while the store was open; open it again"
        ) from error


def settled_identity(location: Location) -> Stamp | None:
    """Identity of a store, once a replacement that was killed midway is finished.

    Args:
        location: Where it lies.

    Returns:
        `Location.identity`; None where there is no finished store.

    Raises:
        IncompleteStoreError: There is something to finish, but the directory is not ours to write.
        CacheError: The place cannot be reached.
    """
    identity = None
    # Where it is missing, a packer may stand between its two renames: healing waits for it, if it began
    # after the first look.
    for _ in range(2):
        if location.local is not None:
            heal(location.local)
        identity = location.identity()
        if identity is not None or location.local is None:
            break
    return identity


def _reopened(location: Location, digest: str, memory_map: bool) -> PackedStore:
    """The store of a pickle, in another process or at another time."""
    store = PackedStore.open(location, memory_map=memory_map)
    if store.digest != digest:
        raise IncompleteStoreError(
            f"{store.name} was replaced since this reference to it was made: expected digest {digest}, got "
            f"{store.digest}; open it again"
        )
    return store
