"""How one array of a store is cut into objects and chunks, as its own metadata says."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from cache.errors import CorruptFeatureError
from cache.layout import ABSENT, CHECKSUM_BYTES, object_path

_DEFAULT_NAMES = {"name": "default", "configuration": {"separator": "/"}}
_PLAIN_TYPES = ("float16", "float32", "float64", "int64", "bool")


class DamagedChunkError(CorruptFeatureError):
    """A chunk, or the index of an object, is not what was written.

    Attributes:
        path: The object, relative to the store.
        chunk: Number of the chunk in the object; None for the index, or the object as a whole.
        rows: The rows of the array that are concerned.
        reason: What does not fit.
    """

    def __init__(self, path: str, chunk: int | None, rows: slice, reason: str) -> None:
        super().__init__(f"object {path}: {reason}")
        self.path = path
        self.chunk = chunk
        self.rows = rows
        self.reason = reason


@dataclass(frozen=True, kw_only=True)
class ChunkGrid:
    """The cut of one array.

    Attributes:
        name: The array.
        data_type: Zarr's name of its type.
        shape: Its shape.
        dimensions: Names of its dimensions.
        row_axis: The dimension of rows; 0, or 1 behind the views.
        object_shape: Shape of what lies in one object: a shard, or a chunk where there are no shards.
        chunk_shape: Shape of what one checksum covers.
        has_default_names: Whether objects are named as Zarr v3 does by default.
        has_checksums: Whether each chunk ends in a CRC32C, and so does each shard's index.
        has_index: Whether objects are shards of whole rows of one view that end in an index, (offset, length)
            of each chunk, with a CRC32C.
        is_plain: Whether chunks are plain rows in the order and bytes of this machine with a CRC32C each, so
            that they can be read without zarr.
    """

    name: str
    data_type: str
    shape: tuple[int, ...]
    dimensions: tuple[str, ...]
    row_axis: int
    object_shape: tuple[int, ...]
    chunk_shape: tuple[int, ...]
    has_default_names: bool
    has_checksums: bool
    has_index: bool
    is_plain: bool

    @classmethod
    def from_metadata(cls, name: str, metadata: bytes, row_axis: int) -> ChunkGrid:
        """Read an array's ``zarr.json``.

        Args:
            name: The array.
            metadata: Content of its ``zarr.json``.
            row_axis: Its dimension of rows.

        Raises:
            ValueError: It is not the metadata of an array with a regular grid.
        """
        try:
            content: dict[str, Any] = json.loads(metadata)
            if content["node_type"] != "array" or content["chunk_grid"]["name"] != "regular":
                raise ValueError("expected an array with a regular chunk grid")
            object_shape = tuple(map(int, content["chunk_grid"]["configuration"]["chunk_shape"]))
            codecs = content["codecs"]
            is_sharded = len(codecs) == 1 and codecs[0]["name"] == "sharding_indexed"
            sharding = codecs[0]["configuration"] if is_sharded else {}
            chunk_shape = tuple(map(int, sharding["chunk_shape"])) if is_sharded else object_shape
            chunk_codecs = sharding["codecs"] if is_sharded else codecs
            data_type = str(content["data_type"])
            shape = tuple(map(int, content["shape"]))
            has_default_names = content["chunk_key_encoding"] == _DEFAULT_NAMES
            has_index = (
                is_sharded
                and has_default_names
                and not content.get("storage_transformers")
                and sharding.get("index_location", "end") == "end"
                and _are_plain(sharding["index_codecs"], item_bytes=8)
                and _are_rows(shape, object_shape, row_axis)
                and _are_rows(shape, chunk_shape, row_axis)
                and object_shape[row_axis] % chunk_shape[row_axis] == 0
            )
            return cls(
                name=name,
                data_type=data_type,
                shape=shape,
                dimensions=tuple(content.get("dimension_names") or ()),
                row_axis=row_axis,
                object_shape=object_shape,
                chunk_shape=chunk_shape,
                has_default_names=has_default_names,
                has_checksums=_end_in_checksum(chunk_codecs)
                and (not is_sharded or _end_in_checksum(sharding["index_codecs"])),
                has_index=has_index,
                is_plain=has_index
                and data_type in _PLAIN_TYPES
                and _are_plain(chunk_codecs, item_bytes=np.dtype(data_type).itemsize),
            )
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            raise ValueError(f"unexpected metadata ({type(error).__name__}: {error})") from error

    @property
    def num_rows(self) -> int:
        """Length of the dimension of rows."""
        return self.shape[self.row_axis]

    @property
    def num_views(self) -> int:
        """Number of views; 1 for an array without."""
        return math.prod(self.shape[: self.row_axis])

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Shape of one row of one view."""
        return self.shape[self.row_axis + 1 :]

    @property
    def shard_rows(self) -> int:
        """Rows per object."""
        return self.object_shape[self.row_axis]

    @property
    def chunk_rows(self) -> int:
        """Rows per chunk."""
        return self.chunk_shape[self.row_axis]

    @property
    def chunk_bytes(self) -> int:
        """Bytes of a plain chunk without its checksum."""
        return math.prod(self.chunk_shape) * np.dtype(self.data_type).itemsize

    @property
    def num_shards(self) -> int:
        """Objects of one view."""
        return math.ceil(self.num_rows / self.shard_rows)

    @property
    def chunks_per_shard(self) -> int:
        """Chunks along the rows of one object."""
        return self.shard_rows // self.chunk_rows

    @property
    def index_bytes(self) -> int:
        """Bytes of the index at an object's end, with its checksum."""
        return 16 * self.chunks_per_shard + CHECKSUM_BYTES

    def rows_of_shard(self, shard: int) -> slice:
        """Rows of one shard; the last one may be cut short by the end of the array."""
        return slice(shard * self.shard_rows, min((shard + 1) * self.shard_rows, self.num_rows))

    def rows_of_chunk(self, chunk: int) -> slice:
        """Rows of one chunk, chunks counted over all shards."""
        return slice(chunk * self.chunk_rows, min((chunk + 1) * self.chunk_rows, self.num_rows))

    def object_path(self, view: int, shard: int) -> str:
        """Path, relative to the store, of one shard of one view of an array that is cut along rows alone."""
        return object_path(self.name, self.row_axis, len(self.shape), view, shard)

    def objects(self, rows: slice, view: int | None = None) -> list[str]:
        """Paths, relative to the store, of all objects that hold a range of rows, of one view or of all."""
        if rows.stop <= rows.start:
            return []
        places = [
            range(math.ceil(size / part)) for size, part in zip(self.shape, self.object_shape, strict=True)
        ]
        places[self.row_axis] = range(rows.start // self.shard_rows, (rows.stop - 1) // self.shard_rows + 1)
        if view is not None and self.row_axis and self.object_shape[0] == 1:
            places[0] = range(view, view + 1)
        return ["/".join([self.name, "c", *map(str, place)]) for place in product(*places)]


def read_index(grid: ChunkGrid, path: str, rows: slice, tail: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """The index of an object.

    Args:
        grid: The array's; it has to have indices.
        path: The object.
        rows: Its rows.
        tail: Its last `ChunkGrid.index_bytes` bytes, or fewer where it is shorter.

    Returns:
        ``(chunks, 2)``, offset and length in bytes of each chunk.

    Raises:
        DamagedChunkError: The index is cut short or damaged.
    """
    if len(tail) != grid.index_bytes:
        reason = f"its index is cut short: expected {grid.index_bytes} bytes, got {len(tail)}"
        raise DamagedChunkError(path, None, rows, reason)
    wanted, got = checksum_at_end(tail), google_crc32c.value(tail[:-CHECKSUM_BYTES])
    if got != wanted:
        reason = f"its index does not fit its CRC32C checksum: expected {wanted:08x}, got {got:08x}"
        raise DamagedChunkError(path, None, rows, reason)
    return np.frombuffer(tail[:-CHECKSUM_BYTES].tobytes(), "<u8").reshape(-1, 2)


def is_absent(entry: NDArray[np.uint64]) -> bool:
    """Whether an index says that a chunk was never written."""
    return bool((entry == ABSENT).all())


def checksum_at_end(data: NDArray[np.uint8]) -> int:
    """The CRC32C that is stored behind some bytes."""
    return int.from_bytes(data[-CHECKSUM_BYTES:].tobytes(), "little")


def _end_in_checksum(codecs: list[Mapping[str, Any]]) -> bool:
    return bool(codecs[-1]["name"] == "crc32c")


def _are_plain(codecs: list[Mapping[str, Any]], item_bytes: int) -> bool:
    """Whether codecs are this machine's own bytes with a checksum behind them, and nothing else."""
    if len(codecs) != 2 or codecs[0].get("name") != "bytes" or codecs[1].get("name") != "crc32c":
        return False
    return item_bytes == 1 or codecs[0].get("configuration", {}).get("endian") == sys.byteorder


def _are_rows(shape: tuple[int, ...], part: tuple[int, ...], row_axis: int) -> bool:
    """Whether a part has some rows of one view with all their features."""
    return all(size == 1 for size in part[:row_axis]) and part[row_axis + 1 :] == shape[row_axis + 1 :]
