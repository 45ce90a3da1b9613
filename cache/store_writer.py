"""A store from clips, wherever they come from: the same bytes for the same clips in the same order.

Rows pass in chunks, so that neither a clip nor a shard is ever in memory as a whole. Every clip is read once,
every byte is hashed while it is written. Nothing is compressed: embeddings hardly shrink, and raw shards can
be mapped into memory. Every inner chunk and every shard's index carries a CRC32C. Chunks of zeros are written
as well, since zarr would read one that is left out no differently from one that was lost.

How the new store takes the place of the previous one, and what happens when that is killed, is in
`cache.swap`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cache.block_queue import BlockQueue
from cache.canonical_json import Json, canonical_json
from cache.clip_table import ClipTable
from cache.destination import check_outside_stores
from cache.errors import CacheError, StaleFeatureError, StorageError, StoreFormatError
from cache.features import FRAME_ARRAYS, check_finite, check_rising
from cache.file_digest import file_digest
from cache.layout import CHUNK_ROWS, FORMAT_NAME, FORMAT_VERSION, ArrayLayout, frame_layouts
from cache.location import RECORD_PATH
from cache.metadata_writer import write_metadata
from cache.record import CompletionRecord, StoredObject
from cache.row_source import RowSource
from cache.shard_writer import ShardForm, ShardWriter
from cache.spec import FeatureSpec
from cache.swap import replacement_of_store

# Blocks of one size that wait for the threads that hash and write them: so many, but of the blocks of wide
# streams, which are one chunk however large that is, no more than take so much memory, and two in any case.
_BLOCKS_IN_FLIGHT = 6
_BYTES_IN_FLIGHT = 64 * 2**20


def write_store(
    sources: Iterable[RowSource],
    spec: FeatureSpec,
    destination: Path,
    *,
    attributes: Mapping[str, Json] | None = None,
    progress: Callable[[int], object] | None = None,
    chunk_rows: int = CHUNK_ROWS,
    shard_rows: int | None = None,
) -> CompletionRecord:
    """Write the store of some clips, in their order, in place of the store that lies there.

    Args:
        sources: The clips; each is closed when it has been read, before the next one is taken.
        spec: What they were extracted with.
        destination: The store, for example ``data/features.zarr``.
        attributes: Further attributes of the store's group.
        progress: Called with 1 after each clip.
        chunk_rows: Rows per inner chunk.
        shard_rows: Rows per shard of every array, a multiple of `chunk_rows`; by default those that
            `cache.layout.ArrayLayout.shard_rows` gives each array.

    Returns:
        What the new store consists of.

    Raises:
        CacheError: Two clips have one name.
        StaleFeatureError: A clip was extracted with another spec.
        CorruptFeatureError: What a clip comes from is damaged.
        StoreFormatError: A clip's times do not rise, or something else lies at `destination`.
        StorageError: The disk is full or not writable; the previous store is as it was, unless the message
            says otherwise.
    """
    if chunk_rows < 1 or (shard_rows is not None and (shard_rows < 1 or shard_rows % chunk_rows)):
        raise ValueError(f"shard_rows must be a multiple of chunk_rows, got {shard_rows} and {chunk_rows}")
    group_attributes = _group_attributes(spec, attributes or {})
    check_destination(destination)
    table = ClipTable()
    try:
        with replacement_of_store(destination) as directory:
            rows = _RowWriter(directory, spec, chunk_rows, shard_rows)
            objects = rows.write(sources, table, progress)
            write_metadata(
                directory, spec, table, group_attributes, chunk_rows=chunk_rows, shard_rows=shard_rows
            )
            objects |= _digests(directory, without=objects)
            record = CompletionRecord(
                fingerprint=spec.fingerprint,
                num_clips=len(table),
                num_frames=table.num_frames,
                objects=dict(sorted(objects.items())),
            )
            record.write(directory)
            _check_written(directory)
    except OSError as error:
        raise StorageError(
            f"cannot write the store {destination}: {error}; what lay there before is untouched, writing "
            f"needs room beside it in {destination.parent}"
        ) from error
    return record


def _check_written(directory: Path) -> None:
    """Whether everything still lies there: nothing else is to take the place of a good store."""
    try:
        CompletionRecord.read(directory).check_sizes(directory)
    except CacheError as error:
        raise OSError(
            "another process removed or changed what was written (where files cannot be locked, it may be "
            "writing the same store: write it again, alone)"
        ) from error


def check_destination(destination: Path) -> None:
    """Refuse to replace, and so to delete, what is no feature store, and to write into one.

    Raises:
        StoreFormatError: Something else lies there, or it is inside a store.
    """
    check_outside_stores(destination)
    if not destination.exists() or (destination.is_dir() and not any(destination.iterdir())):
        return
    for path in (destination / "zarr.json", destination / RECORD_PATH):
        try:
            if json.loads(path.read_bytes())["attributes"]["format"] == FORMAT_NAME:
                return
        except (OSError, ValueError, KeyError, TypeError):
            continue
    raise StoreFormatError(
        f"{destination}: expected a feature store or nothing, got something else; "
        "remove it or choose another place"
    )


def own_attributes(spec: FeatureSpec) -> dict[str, Any]:
    """Attributes that the group of every store has."""
    return {
        "format": FORMAT_NAME,
        "format_version": FORMAT_VERSION,
        "Conventions": "CF-1.12",
        "featureType": "timeSeries",
        "title": "Features of faces and sound, one row per frame, clip after clip",
        "fingerprint": spec.fingerprint,
        "streams": [stream.name for stream in spec.streams],
        "feature_spec": json.loads(spec.to_json()),
    }


def further_attributes(attributes: Mapping[str, Json], spec: FeatureSpec) -> dict[str, Json]:
    """Those attributes of a store's group that not every store has."""
    own = own_attributes(spec)
    return {name: value for name, value in attributes.items() if name not in own}


def _group_attributes(spec: FeatureSpec, further: Mapping[str, Json]) -> dict[str, Any]:
    own = own_attributes(spec)
    taken = sorted(own.keys() & further.keys())
    if taken:
        raise ValueError(f"attributes must not use the store's own names, got {', '.join(taken)}")
    own.update(json.loads(canonical_json(further)))
    return own


def _digests(store: Path, without: Mapping[str, StoredObject]) -> dict[str, StoredObject]:
    """Every object of a store but those that are known: metadata and the table of clips."""
    found = {}
    for path in store.rglob("*"):
        name = path.relative_to(store).as_posix()
        if path.is_file() and name not in without:
            found[name] = StoredObject(size_bytes=path.stat().st_size, sha256=file_digest(path))
    return found


class _RowWriter:
    """Writes every array with one row per frame."""

    def __init__(self, directory: Path, spec: FeatureSpec, chunk_rows: int, shard_rows: int | None) -> None:
        self._directory = directory
        self._spec = spec
        self._layouts = frame_layouts(spec, 0)
        self._forms = {
            layout.name: ShardForm.of(
                layout, chunk_rows=chunk_rows, shard_rows=shard_rows or layout.shard_rows(chunk_rows)
            )
            for layout in self._layouts
        }

    def write(
        self,
        sources: Iterable[RowSource],
        table: ClipTable,
        progress: Callable[[int], object] | None,
    ) -> dict[str, StoredObject]:
        """Write the rows of all clips, and note each clip in the table.

        Returns:
            Every object that was written.
        """
        with BlockQueue(self._directory, self._num_buffers()) as queue:
            writers = {layout.name: self._writers(layout, queue) for layout in self._layouts}
            for source in _opened(sources):
                with closing(source):
                    self._write_clip(source, writers, table)
                if progress is not None:
                    progress(1)
            for array in writers.values():
                for writer in array:
                    writer.finish()
        return {file.name: file.stored for file in queue.files}

    def _num_buffers(self) -> dict[int, int]:
        """Buffers by size: one for each series of rows, and those of the blocks in flight."""
        num_series: Counter[int] = Counter()
        for layout in self._layouts:
            num_series[self._forms[layout.name].buffer_bytes] += layout.num_views
        return {
            size_bytes: number + max(2, min(_BLOCKS_IN_FLIGHT, _BYTES_IN_FLIGHT // size_bytes))
            for size_bytes, number in num_series.items()
        }

    def _writers(self, layout: ArrayLayout, queue: BlockQueue) -> list[ShardWriter]:
        """A writer for each view of an array."""
        form = self._forms[layout.name]
        return [
            ShardWriter(queue, form, partial(layout.object_path, view)) for view in range(layout.num_views)
        ]

    def _write_clip(
        self, source: RowSource, writers: Mapping[str, list[ShardWriter]], table: ClipTable
    ) -> None:
        key, num_frames = source.key, source.num_frames
        if key.fingerprint != self._spec.fingerprint:
            raise StaleFeatureError(
                f"clip {key.clip_id!r} was extracted with spec {key.fingerprint}, the store asks for "
                f"{self._spec.fingerprint}; extract the clip again"
            )
        frame_arrays = _frame_arrays(source)
        table.add(key, source.facts, frame_arrays)
        for name, array in writers.items():
            for view, writer in enumerate(array):
                if name in frame_arrays:
                    writer.append(num_frames, _copying(frame_arrays[name]))
                else:
                    writer.append(num_frames, _reading_stream(source, name, view))


def _opened(sources: Iterable[RowSource]) -> Iterator[RowSource]:
    """The clips; to open one may fail, and that is no failure to write."""
    iterator = iter(sources)
    while True:
        with _reading("the next clip"):
            source = next(iterator, None)
        if source is None:
            return
        yield source


@contextmanager
def _reading(what: str) -> Iterator[None]:
    """Errors of the system in a block that reads are not to be taken for errors of the destination."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"cannot read {what}: {error}; no store was written") from error


def _frame_arrays(source: RowSource) -> dict[str, NDArray[Any]]:
    """The arrays beside the streams, whole and checked: all of them take 38 bytes per row.

    Raises:
        StoreFormatError: Times that do not rise, or a value that is not finite.
    """
    arrays: dict[str, NDArray[Any]] = {}
    num_frames = source.num_frames
    for name, (dtype, trailing) in FRAME_ARRAYS.items():
        arrays[name] = np.empty((num_frames, *trailing), dtype)
        if num_frames:
            with _reading(f"clip {source.key.clip_id!r}"):
                source.read_into(name, 0, 0, arrays[name])
    try:
        for name in ("time_s", "face_box", "face_score"):
            check_finite(name, arrays[name], axis=0)
        check_rising("time_s", arrays["time_s"])
    except ValueError as error:
        raise StoreFormatError(
            f"clip {source.key.clip_id!r} cannot be stored: {error}; extract the clip again"
        ) from error
    return arrays


def _copying(rows: NDArray[Any]) -> Callable[[int, NDArray[Any]], None]:
    def read(start: int, out: NDArray[Any]) -> None:
        out[...] = rows[start : start + len(out)]

    return read


def _reading_stream(source: RowSource, name: str, view: int) -> Callable[[int, NDArray[Any]], None]:
    def read(start: int, out: NDArray[Any]) -> None:
        with _reading(f"clip {source.key.clip_id!r}"):
            source.read_into(name, view, start, out)

    return read
