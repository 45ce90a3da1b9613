"""The shards of a new store, written as they fill.

The bytes are those that zarr's own writer makes, which holds whole shards in memory, several times over. A
shard is its chunks one after another, each followed by its CRC32C, then an index of their offsets and lengths
with a CRC32C of its own. The last chunk of an array is padded with zeros; chunks beyond it are absent.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from cache.block_queue import BlockQueue, Buffer
from cache.layout import ABSENT, CHECKSUM_BYTES, ArrayLayout
from cache.output_file import OutputFile

# Chunks of narrow arrays are a few kilobytes: so much of them goes to the disk at once.
_BLOCK_BYTES = 256 * 2**10


@dataclass(frozen=True, kw_only=True)
class ShardForm:
    """How the shards of an array are made up.

    Attributes:
        dtype: Of its values.
        chunk_shape: Rows of a chunk, and what follows the rows.
        chunks_per_shard: Chunks of a full shard, and entries of every index.
    """

    dtype: np.dtype[Any]
    chunk_shape: tuple[int, ...]
    chunks_per_shard: int

    @classmethod
    def of(cls, layout: ArrayLayout, *, chunk_rows: int, shard_rows: int) -> ShardForm:
        """The form of one view of an array."""
        return cls(
            dtype=np.dtype(layout.dtype),
            chunk_shape=layout.block_of(chunk_rows)[layout.row_axis :],
            chunks_per_shard=shard_rows // chunk_rows,
        )

    @property
    def chunk_rows(self) -> int:
        """Rows of a chunk."""
        return self.chunk_shape[0]

    @cached_property
    def chunk_bytes(self) -> int:
        """Bytes of a chunk's values."""
        return self.dtype.itemsize * math.prod(self.chunk_shape)

    @cached_property
    def stride(self) -> int:
        """Bytes from one chunk to the next."""
        return self.chunk_bytes + CHECKSUM_BYTES

    @cached_property
    def chunks_per_block(self) -> int:
        """How many chunks go to the disk at once."""
        return max(1, min(_BLOCK_BYTES // self.stride, self.chunks_per_shard))

    @cached_property
    def buffer_bytes(self) -> int:
        """What a buffer has to hold: a block, or an index. One size for all narrow arrays, to share."""
        index_bytes = 16 * self.chunks_per_shard + CHECKSUM_BYTES
        return max(self.chunks_per_block * self.stride, index_bytes, _BLOCK_BYTES)

    def index(self, num_chunks: int) -> Buffer:
        """The index of a shard whose first `num_chunks` chunks are there."""
        places = np.full((self.chunks_per_shard, 2), ABSENT, "<u8")
        places[:num_chunks, 0] = np.arange(num_chunks) * self.stride
        places[:num_chunks, 1] = self.stride
        table = places.reshape(-1).view(np.uint8)
        return np.concatenate((table, checksum(table)))


class ShardWriter:
    """Writes the rows of one array, or of one view of it, shard after shard.

    Args:
        queue: Where the bytes go.
        form: How a shard is made up.
        path_of: Path of the shard of a number, relative to the queue's directory.
    """

    def __init__(self, queue: BlockQueue, form: ShardForm, path_of: Callable[[int], str]) -> None:
        self._queue = queue
        self._form = form
        self._path_of = path_of
        self._num_shards = 0
        self._file: OutputFile | None = None  # of the shard at hand
        self._num_rows = 0  # of the shard at hand
        self._buffer: Buffer | None = None

    def append(self, num_rows: int, read: Callable[[int, NDArray[Any]], object]) -> None:
        """Further rows.

        Args:
            num_rows: How many.
            read: Called with the number, among these, of the first row that is wanted, and what to fill with
                it and those after it: ``(n, ...)``, C-contiguous, not necessarily aligned to its dtype.

        Raises:
            OSError: The disk is full or not writable.
        """
        start = 0
        while start < num_rows:
            filled = self._num_rows % self._form.chunk_rows
            out = self._chunk()[filled : filled + num_rows - start]
            read(start, out)
            start += len(out)
            self._add(len(out))

    def finish(self) -> None:
        """Write what is left.

        Raises:
            OSError: The disk is full or not writable.
        """
        filled = self._num_rows % self._form.chunk_rows
        if filled:
            padding = self._chunk()[filled:]
            padding[...] = 0
            self._add(len(padding))
        if self._num_rows:
            self._end_shard()

    def _chunk(self) -> NDArray[Any]:
        """The chunk that is not yet full, in its buffer."""
        if self._buffer is None:
            self._buffer = self._queue.buffer(self._form.buffer_bytes)
        form = self._form
        offset = self._num_rows // form.chunk_rows % form.chunks_per_block * form.stride
        return self._buffer[offset : offset + form.chunk_bytes].view(form.dtype).reshape(form.chunk_shape)

    def _add(self, num_rows: int) -> None:
        """Count rows, and pass on what is complete with them."""
        form = self._form
        self._num_rows += num_rows
        num_chunks, filled = divmod(self._num_rows, form.chunk_rows)
        if filled:
            return
        assert self._buffer is not None
        end = ((num_chunks - 1) % form.chunks_per_block + 1) * form.stride
        edge = end - CHECKSUM_BYTES
        self._buffer[edge:end] = checksum(self._buffer[end - form.stride : edge])
        if end == form.chunks_per_block * form.stride:
            self._put_block(end)
        if num_chunks == form.chunks_per_shard:
            self._end_shard()

    def _end_shard(self) -> None:
        """Write the rest of the chunks, and the index."""
        form = self._form
        num_chunks = self._num_rows // form.chunk_rows
        self._put_block(num_chunks % form.chunks_per_block * form.stride)
        index = form.index(num_chunks)
        self._buffer = self._queue.buffer(form.buffer_bytes)
        self._buffer[: len(index)] = index
        self._put_block(len(index), last=True)
        self._num_shards, self._file, self._num_rows = self._num_shards + 1, None, 0

    def _put_block(self, num_bytes: int, *, last: bool = False) -> None:
        if not num_bytes:
            return
        assert self._buffer is not None
        if self._file is None:
            self._file = self._queue.open(self._path_of(self._num_shards))
        self._queue.put(self._file, self._buffer, num_bytes, last=last)
        self._buffer = None


def checksum(values: Buffer) -> Buffer:
    """CRC32C of some bytes, as Zarr's codec stores it: 4 bytes, little-endian."""
    return np.array([google_crc32c.value(values)], "<u4").view(np.uint8)
