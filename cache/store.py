"""Reading features: one store, or several of one fingerprint as one.

The rows of all members lie one after another, as if they had been packed together. What was lost or damaged
never reads as numbers: see `cache.packed_store`.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cache.chunk_grid import ChunkGrid
from cache.errors import CacheError, StaleFeatureError, StoreFormatError, UnknownClipError
from cache.features import FRAME_ARRAYS
from cache.location import Location
from cache.packed_store import PackedStore
from cache.row_runs import RowRun, load_arrays
from cache.rows import ClipRows, LoadedFeatures
from cache.spec import IMPORTED_PREFIX, FeatureSpec

StorePath = Path | str | Location


class FeatureStore:
    """Opened features; iterates over clip ids, in the order of the manifest.

    Threads may share it and forked processes keep it. It pickles by its paths: another process opens them
    again, and refuses a store that was replaced meanwhile.

    Attributes:
        members: The stores, in the order in which they were given.
        clip_ids: All C clips.
        row_size: ``(C,)`` int64, rows of each clip, read-only.
        num_frames: Rows of all clips.
    """

    def __init__(self, members: Sequence[PackedStore]) -> None:
        """Use `open`.

        Args:
            members: One store or several.

        Raises:
            StaleFeatureError: They were extracted with different settings.
            CacheError: Two of them have a clip of the same name.
        """
        if not members:
            raise ValueError("a feature store must have at least one path, got none")
        self.members = tuple(members)
        for other in self.members[1:]:
            _check_one_spec(self.members[0], other)
        self.clip_ids = tuple(clip for member in self.members for clip in member.clip_ids)
        self.row_size: NDArray[np.int64] = np.concatenate([member.row_size for member in self.members])
        self.row_size.flags.writeable = False
        self.num_frames = sum(member.num_frames for member in self.members)
        self._stream_names = tuple(stream.name for stream in self.spec.streams)
        stops = [0, *np.cumsum(self.row_size).tolist()]
        self._rows = {clip: slice(*stops[index : index + 2]) for index, clip in enumerate(self.clip_ids)}
        self._place = {
            clip: (member, index)
            for member, store in enumerate(self.members)
            for index, clip in enumerate(store.clip_ids)
        }
        if len(self._place) != len(self.clip_ids):
            raise CacheError(self._name_clip_twice())
        self._first_frame = [0, *accumulate(member.num_frames for member in self.members)][:-1]
        self._first_clip = [0, *accumulate(member.num_clips for member in self.members)][:-1]

    @classmethod
    def open(
        cls,
        *paths: StorePath | Sequence[StorePath],
        storage_options: Mapping[str, Any] | None = None,
        memory_map: bool = True,
    ) -> FeatureStore:
        """Open one store, or several as one, after a look at every object of their completion records.

        Args:
            paths: Paths, or URLs that fsspec knows (``s3://bucket/features.zarr``); a sequence of them counts
                as its items.
            storage_options: For fsspec's file system of every URL.
            memory_map: Whether to map shards of local stores into memory. zarr reads them otherwise, which
                takes some fifty times longer: for file systems on which a mapping is not to be trusted. Where
                the disk fails below a mapping, or a file is cut short in the instant between the look at it
                and the copy of its rows, the system ends the process (SIGBUS); no error can be raised.

        Raises:
            IncompleteStoreError: Nothing lies there, or the record or an object is missing.
            CorruptFeatureError: An object has another size, or metadata was changed.
            StoreFormatError: What lies there is no feature store that this program reads.
            StaleFeatureError: Several stores that were extracted with different settings.
            CacheError: A clip is in two of the stores, or a place cannot be reached.
        """
        flat: list[StorePath] = []
        for path in paths:
            flat += [path] if isinstance(path, (str, Path, Location)) else path
        return cls([PackedStore.open(path, storage_options, memory_map=memory_map) for path in flat])

    @property
    def paths(self) -> tuple[str, ...]:
        """The members' paths or URLs."""
        return tuple(member.name for member in self.members)

    @property
    def where(self) -> str:
        """The paths as one text, for messages."""
        return ", ".join(self.paths)

    @property
    def spec(self) -> FeatureSpec:
        """What the features are."""
        return self.members[0].spec

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the spec."""
        return self.spec.fingerprint

    @property
    def digest(self) -> str:
        """What tells these bytes from others, 64 hexadecimal digits.

        One store's is that of its completion record; several stores' is the SHA-256 over theirs, one per
        line.
        """
        digests = [member.digest for member in self.members]
        return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()

    def __getitem__(self, clip: str) -> ClipRows:
        return ClipRows(self, clip, self.row_range(clip), self._stream_names)

    def __iter__(self) -> Iterator[str]:
        return iter(self.clip_ids)

    def __len__(self) -> int:
        return len(self.clip_ids)

    def __contains__(self, clip: object) -> bool:
        return clip in self._rows

    def __repr__(self) -> str:
        return f"FeatureStore({self.where!r}, {len(self)} clips, {self.num_frames} frames)"

    def __reduce__(self) -> tuple[Any, ...]:
        return FeatureStore, (self.members,)

    def row_range(self, clip: str) -> slice:
        """Rows of one clip among those of all members.

        Raises:
            UnknownClipError: No such clip.
        """
        try:
            return self._rows[clip]
        except KeyError:
            raise UnknownClipError(
                f"{self.where} has no clip {clip!r}, only {len(self)} others; clip_ids lists them"
            ) from None

    def entry(self, clip_id: str, column: str) -> Any:
        """A clip's entry in a column of the clip table.

        Raises:
            UnknownClipError: No such clip.
            StoreFormatError: No such column.
        """
        self.row_range(clip_id)  # names a clip that is not there
        if not self._is_column(column):
            raise StoreFormatError(f"{self.where} has no column {column!r} in its clip table")
        member, index = self._place[clip_id]
        return self.members[member].column(column)[index]

    def read(self, array: str, rows: slice, view: int | None = None) -> NDArray[Any]:
        """Rows of an array, those of all members one after another, in memory of their own.

        Args:
            array: A stream, an array with one row per frame, or a column of the clip table.
            rows: A range, ``0 <= start <= stop`` and no further than the array.
            view: One view of the visual stream; all by default.

        Returns:
            ``(rows, ...)`` for one view and for an array without views, ``(V, rows, ...)`` for all views.

        Raises:
            CorruptFeatureError: A chunk is damaged; names store, array, object, chunk and first clip.
            IncompleteStoreError: An object has gone, or the store was replaced since it was opened.
            StoreFormatError: No such array.
            ValueError: Rows or a view that are not there.
        """
        if len(self.members) == 1:
            return self.members[0].read(array, rows, view)
        pieces = self._pieces(array, rows.start, rows.stop)
        blocks = [self.members[member].read(array, of_member, view) for member, of_member in pieces]
        axis = self.members[0].grids[array].row_axis if view is None else 0
        return blocks[0] if len(blocks) == 1 else np.concatenate(blocks, axis=axis)

    def read_into(self, out: NDArray[Any], array: str, start: int, view: int | None = None) -> None:
        """Fill an array with rows: a batch's memory is used again and again, where `read` takes new one.

        Args:
            out: ``(n, ...)`` for one view and for an array without views, ``(V, n, ...)`` for all views, of
                the array's dtype.
            array: As for `read`.
            start: First row.
            view: As for `read`.

        Raises:
            CacheError: As for `read`.
            ValueError: Rows or a view that are not there, or `out` is not made for them.
        """
        grid = self._grid(array)
        axis = grid.row_axis if view is None else 0
        leading = grid.shape[:axis]
        num_rows = out.shape[axis] if out.ndim > axis else 0
        if out.shape != (*leading, num_rows, *grid.row_shape) or out.dtype != grid.data_type:
            raise ValueError(
                f"{self.where}: rows of {array} need an array of {grid.data_type} with shape "
                f"{(*leading, 'rows', *grid.row_shape)}, got {out.dtype} with {out.shape}"
            )
        if len(self.members) == 1:
            self.members[0].read_into(out, array, start, view)
            return
        done = 0
        for member, rows in self._pieces(array, start, start + num_rows):
            piece = out[(slice(None),) * axis + (slice(done, done + rows.stop - rows.start),)]
            self.members[member].read_into(piece, array, rows.start, view)
            done += rows.stop - rows.start

    def release_pages(self) -> None:
        """Take what was read of mapped shards out of the process's memory; it is read again when needed.

        Mapped pages count as memory of the process, so without this it grows to the size of the store.
        """
        for member in self.members:
            member.release_pages()

    def load(
        self,
        clip_ids: Sequence[str] | None = None,
        streams: Sequence[str] | None = None,
        progress: bool = False,
    ) -> LoadedFeatures:
        """Clips in memory, every chunk compared with its checksum.

        Args:
            clip_ids: Clips to load, in the order that they are to have; all by default.
            streams: Streams to load; all by default.
            progress: Show a progress bar.

        Raises:
            UnknownClipError: No such clip.
            StoreFormatError: No such stream.
            ValueError: A clip is asked for twice.
            CorruptFeatureError: A chunk is damaged; names store, array, object, chunk and first clip.
            IncompleteStoreError: An object has gone, or the store was replaced since it was opened.
        """
        chosen = self.clip_ids if clip_ids is None else tuple(clip_ids)
        names = self._stream_names if streams is None else tuple(streams)
        for name in names:
            if name not in self._stream_names:
                raise StoreFormatError(
                    f"{self.where} has no stream {name!r} (streams: {', '.join(self._stream_names)})"
                )
        if len(set(chosen)) != len(chosen):
            twice = next(clip for index, clip in enumerate(chosen) if clip in chosen[:index])
            raise ValueError(f"clips to load must be named once each, got {twice!r} twice")
        runs = [run for clip in chosen if (run := self._run(clip)).num_rows]
        row_size = np.array(
            [self.row_range(clip).stop - self.row_range(clip).start for clip in chosen], np.int64
        )
        arrays = load_arrays(self.members[0], runs, (*names, *FRAME_ARRAYS), progress)
        return LoadedFeatures(
            clip_ids=chosen,
            row_size=row_size,
            row_start=np.cumsum(row_size) - row_size,
            streams={name: arrays.pop(name) for name in names},
            **arrays,
        )

    def require_spec(self, spec: FeatureSpec, *, where: str) -> None:
        """Refuse features that were extracted with other settings.

        Args:
            spec: The spec that is asked for.
            where: Who asks, for example ``params.yaml`` or a checkpoint's path.

        Raises:
            StaleFeatureError: The specs differ; names each setting that does.
        """
        if spec.fingerprint != self.fingerprint:
            differences = self.spec.differences(spec, here="in the store", there=f"in {where}")
            raise StaleFeatureError(
                f"{self.where} was extracted with spec {self.fingerprint}, {where} asks for "
                f"{spec.fingerprint}{''.join(f'; {line}' for line in differences)}; run 'dvc repro extract' "
                "or 'tagf extract'"
            )

    def _run(self, clip: str) -> RowRun:
        """Where a clip's rows lie."""
        rows, member = self.row_range(clip), self._place[clip][0]
        first = self._first_frame[member]
        return RowRun(self.members[member], rows.start - first, rows.stop - first)

    def _pieces(self, array: str, start: int, stop: int) -> list[tuple[int, slice]]:
        """Which members hold a range of rows, and where in them; one member at least, for no rows too."""
        starts = self._first_clip if self._is_column(array) else self._first_frame
        total = len(self) if self._is_column(array) else self.num_frames
        if not 0 <= start <= stop <= total:
            raise ValueError(f"{self.where}: rows of {array} must lie in 0 to {total}, got {start} to {stop}")
        pieces: list[tuple[int, slice]] = []
        member = max(bisect_right(starts, start) - 1, 0)
        while not pieces or start < stop:
            end = min(stop, [*starts, total][member + 1])
            pieces.append((member, slice(start - starts[member], end - starts[member])))
            start, member = end, member + 1
        return pieces

    def _grid(self, array: str) -> ChunkGrid:
        """How the array is cut; the same in all members but for the number of rows."""
        try:
            return self.members[0].grids[array]
        except KeyError:
            raise StoreFormatError(
                f"{self.where} has no array {array!r} (arrays: {', '.join(self.members[0].grids)})"
            ) from None

    def _is_column(self, array: str) -> bool:
        return "frame" not in self._grid(array).dimensions

    def _name_clip_twice(self) -> str:
        """What to say of the first clip that two members have."""
        seen: dict[str, str] = {}
        for member in self.members:
            for clip in member.clip_ids:
                if clip in seen:
                    return (
                        f"clip {clip!r} is in {seen[clip]} and in {member.name}; stores that are opened as "
                        "one, or merged, must not share a clip: pack one of them again without it"
                    )
                seen[clip] = member.name
        raise AssertionError("no clip is in two members")


def _check_one_spec(first: PackedStore, other: PackedStore) -> None:
    if other.fingerprint != first.fingerprint:
        differences = first.spec.differences(other.spec, here=f"in {first.name}", there=f"in {other.name}")
        is_import = all(line.startswith(IMPORTED_PREFIX) for line in differences)
        remedy = (
            "import both again, read the same way, with one --origin"
            if is_import
            else "extract one of them again"
        )
        raise StaleFeatureError(
            f"{first.name} was extracted with spec {first.fingerprint}, {other.name} with "
            f"{other.fingerprint}{''.join(f'; {line}' for line in differences)}; stores that are opened as "
            f"one, or merged, must have one spec: {remedy}"
        )
