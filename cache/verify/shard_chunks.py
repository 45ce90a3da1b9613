"""The chunks of one shard, each compared with its checksum, while the shard passes by.

A shard of numbers is read once, from front to end, a chunk in memory: chunk i has to lie at
i * (chunk_bytes + 4), and the index, which comes last, has to say so. Strings vary in length, so their
shards, which are small, are read whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from cache.chunk_grid import ChunkGrid, DamagedChunkError, checksum_at_end, read_index
from cache.layout import ABSENT, CHECKSUM_BYTES
from cache.location import Location
from cache.record import StoredObject
from cache.verify.object_stream import ObjectStream
from cache.verify.report import Findings

_ABSENT = (ABSENT, ABSENT)
_OTHER_CHECKSUM = "its bytes do not fit their CRC32C checksum"
_OTHER_BYTES = "is not what was written: its SHA-256 is another"


@dataclass(frozen=True, kw_only=True, eq=False)
class ShardPlace:
    """One shard of a store.

    Attributes:
        array: The array.
        path: The shard's object, relative to the store.
        rows: Rows of the array that it holds.
        wanted: Size and digest of the object.
    """

    array: ChunkGrid
    path: str
    rows: slice
    wanted: StoredObject

    @property
    def along(self) -> str:
        """The dimension of its rows: ``frame``, ``clip``, or that of a coordinate."""
        return self.array.dimensions[self.array.row_axis]

    @property
    def num_chunks(self) -> int:
        """Chunks that hold rows."""
        num_rows: int = self.rows.stop - self.rows.start
        return -(-num_rows // self.array.chunk_rows)

    def chunk_slice(self, chunk: int) -> slice:
        """Rows of the array that a chunk holds."""
        start = self.rows.start + chunk * self.array.chunk_rows
        return slice(start, min(start + self.array.chunk_rows, self.rows.stop))

    def chunk_length(self, chunk: int) -> int:
        """Number of rows that a chunk holds."""
        rows = self.chunk_slice(chunk)
        return int(rows.stop - rows.start)

    def note(self, findings: Findings, what: str, chunk: int | None = None) -> None:
        """Note a problem of the shard, or of one chunk of it."""
        findings.add(
            what,
            object=self.path,
            array=self.array.name,
            chunk=chunk,
            rows=self.rows if chunk is None else self.chunk_slice(chunk),
            along=self.along,
        )


def number_chunks(
    location: Location, shard: ShardPlace, findings: Findings, progress: Callable[[int], object]
) -> Iterator[NDArray[Any] | None]:
    """The rows of each chunk of numbers in turn, None for one that is damaged; to be exhausted.

    Args:
        location: The store.
        shard: Of an array of numbers that lie plainly.
        findings: What is wrong goes there.
        progress: Called with numbers of bytes that were read.

    Yields:
        ``(n, ...)`` rows of the array's dtype, valid until the next ones are asked for.
    """
    array = shard.array
    before = len(findings)
    stream = ObjectStream(location, shard.path, progress)
    piece = np.empty(array.chunk_bytes + CHECKSUM_BYTES, np.uint8)
    dtype = np.dtype(array.data_type).newbyteorder("<")
    for chunk in range(shard.num_chunks):
        if not stream.read_into(piece):
            yield None
        elif not _fits(piece):
            shard.note(findings, _OTHER_CHECKSUM, chunk)
            yield None
        else:
            rows = piece[:-CHECKSUM_BYTES].view(dtype).reshape(-1, *array.row_shape)
            yield rows[: shard.chunk_length(chunk)]
    index = np.empty(array.index_bytes, np.uint8)
    if stream.read_into(index):
        _check_index(index, len(piece), shard, findings)
    stream.skip_all()
    _check_whole(stream, shard, findings, before)


def string_chunks(
    location: Location, shard: ShardPlace, findings: Findings, progress: Callable[[int], object]
) -> Iterator[list[str] | None]:
    """The strings of each chunk in turn, None for one that is damaged; see `number_chunks`."""
    before = len(findings)
    stream = ObjectStream(location, shard.path, progress)
    data = np.frombuffer(stream.read_all(), np.uint8)
    index = data[-shard.array.index_bytes :]
    places = _places(index, shard, findings) if stream.failure is None else None
    for chunk in range(shard.num_chunks):
        if places is None:
            yield None
            continue
        if places[chunk] == _ABSENT:
            shard.note(findings, "its index says that it was never written", chunk)
            yield None
            continue
        offset, size = places[chunk]
        piece = data[offset : offset + size]
        if offset + size > len(data) - len(index) or not _fits(piece):
            shard.note(findings, _OTHER_CHECKSUM, chunk)
            yield None
            continue
        strings = _strings(bytes(piece[:-CHECKSUM_BYTES]))
        if strings is None or len(strings) != shard.array.chunk_rows:
            shard.note(findings, "does not hold the strings that it should", chunk)
            yield None
            continue
        yield strings[: shard.chunk_length(chunk)]
    if places is not None:
        _check_beyond(places, shard, findings)
    _check_whole(stream, shard, findings, before)


def check_digest(
    location: Location,
    path: str,
    wanted: StoredObject,
    findings: Findings,
    progress: Callable[[int], object],
    *,
    array: str | None = None,
) -> None:
    """Compare the digest of an object of whose inside nothing is known."""
    stream = ObjectStream(location, path, progress)
    stream.skip_all()
    if stream.failure is not None:
        findings.add(stream.failure, object=path, array=array)
    elif stream.sha256 != wanted.sha256:
        findings.add(_OTHER_BYTES, object=path, array=array)


def _fits(piece: NDArray[np.uint8]) -> bool:
    """Whether bytes fit the checksum behind them."""
    return len(piece) >= CHECKSUM_BYTES and (
        int(google_crc32c.value(piece[:-CHECKSUM_BYTES])) == checksum_at_end(piece)
    )


def _places(index: NDArray[np.uint8], shard: ShardPlace, findings: Findings) -> list[tuple[int, int]] | None:
    """Offset and length in bytes of each chunk, as the index tells; None where it is damaged."""
    try:
        entries = read_index(shard.array, shard.path, shard.rows, index)
        return [(int(offset), int(size)) for offset, size in entries]
    except DamagedChunkError as error:
        shard.note(findings, error.reason)
        return None


def _check_index(index: NDArray[np.uint8], piece_bytes: int, shard: ShardPlace, findings: Findings) -> None:
    """Whether an index is whole, tells of chunks of equal size what is so, and of no others."""
    places = _places(index, shard, findings)
    if places is None:
        return
    for chunk in range(shard.num_chunks):
        wanted = (chunk * piece_bytes, piece_bytes)
        if places[chunk] == _ABSENT:
            shard.note(findings, "its index says that it was never written", chunk)
        elif places[chunk] != wanted:
            shard.note(
                findings, f"its index gives it {places[chunk]} (offset, length), expected {wanted}", chunk
            )
    _check_beyond(places, shard, findings)


def _check_beyond(places: Sequence[tuple[int, int]], shard: ShardPlace, findings: Findings) -> None:
    for chunk in range(shard.num_chunks, len(places)):
        if places[chunk] != _ABSENT:
            shard.note(findings, f"its index tells of a chunk {chunk}, which lies beyond the array")


def _check_whole(stream: ObjectStream, shard: ShardPlace, findings: Findings, before: int) -> None:
    """Size and digest of a shard, once it has been read; its digest says nothing new where a chunk is bad."""
    if stream.failure is not None:
        shard.note(findings, stream.failure)
    elif stream.num_bytes != shard.wanted.size_bytes:
        shard.note(findings, f"has {stream.num_bytes} bytes, expected {shard.wanted.size_bytes}")
    elif stream.sha256 != shard.wanted.sha256 and len(findings) == before:
        shard.note(findings, f"{_OTHER_BYTES}, though every checksum fits")


def _strings(data: bytes) -> list[str] | None:
    """The strings of a chunk (codec ``vlen-utf8``), or None where that is something else."""
    count, offset = int.from_bytes(data[:4], "little"), 4
    strings = []
    try:
        for _ in range(count):
            size = int.from_bytes(data[offset : offset + 4], "little")
            offset += 4
            if offset + size > len(data):
                return None
            strings.append(data[offset : offset + size].decode())
            offset += size
    except UnicodeDecodeError:
        return None
    return strings if offset == len(data) else None
