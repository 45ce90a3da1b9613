"""Every byte of a store: digests, the checksum of each chunk, and what the rows say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cache.chunk_grid import ChunkGrid
from cache.location import Location
from cache.record import CompletionRecord
from cache.verify.clip_columns import ClipColumns
from cache.verify.metadata import StoreMetadata
from cache.verify.report import Findings
from cache.verify.row_summaries import RowSummaries
from cache.verify.shard_chunks import ShardPlace, check_digest, number_chunks, string_chunks

_TIME = "time_s"
_SUMMARISED = (_TIME, "face_found", "audio_found")


@dataclass(kw_only=True, eq=False)
class ByteCheck:
    """Reads every object of a store once.

    Attributes:
        location: The store.
        record: Its completion record.
        metadata: What its metadata says.
        whole: Objects that are there and of their size; others are not read.
        findings: What is wrong goes there.
        progress: Called with numbers of bytes that were read.
    """

    location: Location
    record: CompletionRecord
    metadata: StoreMetadata
    whole: set[str]
    findings: Findings
    progress: Callable[[int], object]
    _seen: set[str] = field(default_factory=set, init=False)

    def run(self) -> None:
        """Check everything; the table of clips first, so that what follows can be named by its clips."""
        self._seen.update(self.metadata.objects)
        table = self._clip_columns()
        row_size = table.row_size
        self.findings.set_clips(table.clip_ids, row_size)
        table.check(self.findings)
        frames = [name for name in self.metadata.arrays if name in self.metadata.frame_arrays]
        summaries = self._summarise([name for name in _SUMMARISED if name in frames], row_size)
        if summaries is not None:
            table.check_summaries(self.findings, summaries)
        for name in frames:
            if name not in _SUMMARISED:
                for view in range(self.metadata.arrays[name].num_views):
                    for _ in self._chunks(name, view):
                        pass
        for path in self.record.objects:
            if path in self.whole and path not in self._seen:
                self._check_digest(path)

    def _clip_columns(self) -> ClipColumns:
        """The table of clips; the names of views and edges are checked on the way."""
        columns = {}
        for name, array in self.metadata.arrays.items():
            is_text = array.data_type == "string"
            if name in self.metadata.frame_arrays:
                continue
            if not (array.has_index if is_text else array.is_plain):
                self._note_other_layout(name)
                continue
            values: list[Any] = []
            for shard in self._shards(array, 0):
                read = string_chunks if is_text else number_chunks
                for chunk in read(self.location, shard, self.findings, self.progress):
                    values.extend([] if chunk is None else list(chunk))
            if len(values) == array.num_rows:
                columns[name] = values
        return ClipColumns(columns, self.record)

    def _summarise(self, names: list[str], row_size: NDArray[np.int64] | None) -> RowSummaries | None:
        """Go through times and marks together: each clip's are needed side by side."""
        summaries = (
            RowSummaries(row_size) if row_size is not None and len(names) == len(_SUMMARISED) else None
        )
        for together in zip_longest(*(self._chunks(name, 0) for name in names)):
            # Only a store of another writer has chunks that do not fit together.
            if summaries is None or None in together or len({rows.start for rows, _ in together}) > 1:
                summaries = None
                continue
            pieces = {name: values for name, (_, values) in zip(names, together, strict=True)}
            rows = together[0][0]
            summaries.add(
                rows.start,
                rows.stop - rows.start,
                self.findings,
                time_s=pieces[_TIME],
                face_found=pieces["face_found"],
                audio_found=pieces["audio_found"],
            )
        return summaries

    def _chunks(self, name: str, view: int) -> Iterator[tuple[slice, NDArray[Any] | None]]:
        """Rows of each chunk of an array, and their values, None where these are damaged or lost."""
        array = self.metadata.arrays[name]
        if not array.is_plain:
            self._note_other_layout(name)
            return
        row = 0
        for shard in self._shards(array, view):
            yield from _lost(array, row, shard.rows.start)
            chunks = number_chunks(self.location, shard, self.findings, self.progress)
            for chunk, values in enumerate(chunks):
                if values is not None:
                    _check_finite(values, shard, chunk, self.findings)
                yield shard.chunk_slice(chunk), values
            row = shard.rows.stop
        yield from _lost(array, row, array.num_rows)

    def _shards(self, array: ChunkGrid, view: int) -> Iterator[ShardPlace]:
        """The shards of one view that are there."""
        for start in range(0, array.num_rows, array.shard_rows):
            path = array.object_path(view, start // array.shard_rows)
            self._seen.add(path)
            rows = slice(start, min(start + array.shard_rows, array.num_rows))
            along = array.dimensions[array.row_axis]
            if path in self.whole:
                stored = self.record.objects[path]
                yield ShardPlace(array=array, path=path, rows=rows, wanted=stored)
            elif path in self.record.objects:
                self.findings.locate(path, rows, along=along)
            else:
                self.findings.add(
                    "is not in the completion record, so its rows are lost",
                    object=path,
                    array=array.name,
                    rows=rows,
                    along=along,
                )

    def _note_other_layout(self, name: str) -> None:
        self.findings.notes.append(
            f"array {name} does not lie in plain chunks: its digests were compared, its values were not"
        )

    def _check_digest(self, path: str) -> None:
        check_digest(self.location, path, self.record.objects[path], self.findings, self.progress)


def _lost(array: ChunkGrid, start: int, stop: int) -> Iterator[tuple[slice, None]]:
    """Chunks of rows whose shards are not there."""
    for first in range(start, stop, array.chunk_rows):
        yield slice(first, min(first + array.chunk_rows, stop)), None


def _check_finite(values: NDArray[Any], shard: ShardPlace, chunk: int, findings: Findings) -> None:
    if values.dtype.kind != "f":
        return
    # numpy's own test of float16 is slow: not finite are those whose exponent's bits are all set.
    is_half = values.dtype.itemsize == 2
    finite = (values.view("<u2") & 0x7C00) != 0x7C00 if is_half else np.isfinite(values)
    if not finite.all():
        row = shard.chunk_slice(chunk).start + int(np.argwhere(~finite)[0][0])
        findings.add(
            f"values must be finite, got {values[~finite][0]}",
            object=shard.path,
            array=shard.array.name,
            chunk=chunk,
            rows=slice(row, row + 1),
            along=shard.along,
        )
