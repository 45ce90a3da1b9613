"""How zarr says that an array is cut, and where its objects lie, compared with what zarr writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from zarr.codecs import BytesCodec, Crc32cCodec, ShardingCodec, TransposeCodec, ZstdCodec

from cache.chunk_grid import ChunkGrid, DamagedChunkError, is_absent, read_index

PLAIN_JSON = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}]
PLAIN = [BytesCodec(endian="little"), Crc32cCodec()]


def sharded(chunks: tuple[int, ...], codecs: Any = PLAIN, **options: Any) -> ShardingCodec:
    return ShardingCodec(chunk_shape=chunks, codecs=codecs, index_codecs=PLAIN, **options)


def write(
    directory: Path,
    *,
    shape: tuple[int, ...] = (2, 10, 3),
    chunks: tuple[int, ...] = (1, 6, 3),
    serializer: Any = None,
    dtype: str = "float16",
    **options: Any,
) -> tuple[Path, bytes]:
    """An array as zarr writes it, and its metadata."""
    array = zarr.create_array(
        directory / "a",
        shape=shape,
        dtype=dtype,
        chunks=chunks,
        filters=None,
        serializer=sharded((1, 2, 3)) if serializer is None else serializer,
        compressors=None,
        fill_value=0,
        config={"write_empty_chunks": True},
        **options,
    )
    array[...] = np.arange(1, 1 + np.prod(shape)).reshape(shape)
    return directory / "a", (directory / "a" / "zarr.json").read_bytes()


def test_our_own_layout(tmp_path: Path) -> None:
    path, metadata = write(tmp_path, dimension_names=("view", "frame", "f"))
    grid = ChunkGrid.from_metadata("a", metadata, row_axis=1)
    assert (grid.shape, grid.dimensions, grid.data_type) == ((2, 10, 3), ("view", "frame", "f"), "float16")
    assert (grid.shard_rows, grid.chunk_rows, grid.num_shards, grid.chunks_per_shard) == (6, 2, 2, 3)
    assert (grid.num_rows, grid.num_views, grid.row_shape) == (10, 2, (3,))
    assert (grid.has_default_names, grid.has_index, grid.is_plain) == (True, True, True)
    found = sorted(str(each.relative_to(tmp_path)) for each in path.rglob("c/**/*") if each.is_file())
    assert sorted(grid.objects(slice(0, 10))) == found
    assert found == [grid.object_path(view, shard) for view in range(2) for shard in range(2)]
    assert grid.objects(slice(6, 7), view=1) == ["a/c/1/1/0"]
    assert grid.objects(slice(5, 7), view=0) == ["a/c/0/0/0", "a/c/0/1/0"]
    assert grid.objects(slice(4, 4)) == []
    assert [grid.rows_of_shard(shard) for shard in range(2)] == [slice(0, 6), slice(6, 10)]
    assert grid.rows_of_chunk(4) == slice(8, 10)
    offsets = read_index(grid, "", slice(0, 6), tail(tmp_path / found[0], grid.index_bytes))
    assert offsets.tolist() == [[0, 16], [16, 16], [32, 16]]
    assert grid.chunk_bytes == 12


def tail(path: Path, num_bytes: int) -> np.ndarray:
    return np.frombuffer(path.read_bytes()[-num_bytes:], np.uint8)


def test_a_chunk_beyond_the_array_is_absent(tmp_path: Path) -> None:
    path, metadata = write(tmp_path)
    grid = ChunkGrid.from_metadata("a", metadata, row_axis=1)
    index = read_index(grid, "", slice(6, 10), tail(path / "c/1/1/0", grid.index_bytes))
    assert [is_absent(entry) for entry in index] == [False, False, True]


@pytest.mark.parametrize("place", range(52))
def test_no_damage_of_an_index_goes_unseen(tmp_path: Path, place: int) -> None:
    path, metadata = write(tmp_path)
    grid = ChunkGrid.from_metadata("a", metadata, row_axis=1)
    assert grid.index_bytes == 52
    data = tail(path / "c/0/0/0", 52).copy()
    data[place] ^= 1 << place % 8
    with pytest.raises(DamagedChunkError, match="object a/c/0/0/0: its index does not fit its CRC32C"):
        read_index(grid, "a/c/0/0/0", slice(0, 6), data)


def test_an_index_that_is_cut_short(tmp_path: Path) -> None:
    _, metadata = write(tmp_path)
    grid = ChunkGrid.from_metadata("a", metadata, row_axis=1)
    with pytest.raises(DamagedChunkError, match="its index is cut short: expected 52 bytes, got 3"):
        read_index(grid, "a/c/0", slice(0, 6), np.zeros(3, np.uint8))


@pytest.mark.parametrize(
    ("options", "has_index", "is_plain"),
    [
        ({"serializer": sharded((1, 2, 3), [*PLAIN[:1], ZstdCodec(), PLAIN[1]])}, True, False),
        ({"serializer": sharded((1, 2, 3), PLAIN[:1])}, True, False),  # nothing that tells damage
        ({"serializer": sharded((1, 2, 3), [BytesCodec(endian="big"), Crc32cCodec()])}, True, False),
        ({"serializer": sharded((1, 2, 3), [TransposeCodec(order=(2, 1, 0)), *PLAIN])}, True, False),
        ({"serializer": sharded((1, 2, 3), index_location="start")}, False, False),
        ({"serializer": sharded((1, 2, 1))}, False, False),  # features apart
        ({"chunks": (2, 6, 3)}, False, False),  # views together
        ({"serializer": BytesCodec(endian="little")}, False, False),  # no shards
        ({"dtype": "uint16"}, True, False),
        ({"dtype": "bool"}, True, True),
        ({"chunk_key_encoding": {"name": "v2", "separator": "."}}, False, False),
    ],
)
def test_other_layouts_are_not_taken_for_ours(
    tmp_path: Path, options: dict[str, Any], has_index: bool, is_plain: bool
) -> None:
    path, metadata = write(tmp_path, **options)
    grid = ChunkGrid.from_metadata("a", metadata, row_axis=1)
    assert (grid.has_index, grid.is_plain) == (has_index, is_plain)
    if grid.has_default_names:
        found = sorted(str(each.relative_to(tmp_path)) for each in path.rglob("c/**/*") if each.is_file())
        assert sorted(grid.objects(slice(0, 10))) == found


@pytest.mark.parametrize(
    ("serializer", "has_checksums"),
    [
        (sharded((1, 2, 3)), True),
        (sharded((1, 2, 3), PLAIN[:1]), False),
        (sharded((1, 2, 3), [*PLAIN, ZstdCodec()]), False),
        (BytesCodec(endian="little"), False),
    ],
)
def test_what_has_checksums(tmp_path: Path, serializer: Any, has_checksums: bool) -> None:
    _, metadata = write(tmp_path, serializer=serializer)
    assert ChunkGrid.from_metadata("a", metadata, row_axis=1).has_checksums is has_checksums


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"node_type": "group"}, "expected an array with a regular chunk grid"),
        ({"chunk_grid": {"name": "rectilinear"}}, "expected an array with a regular chunk grid"),
        ({"codecs": PLAIN_JSON}, None),
        ({"codecs": []}, "unexpected metadata"),
        ({"codecs": None}, "unexpected metadata"),
        ({"shape": None}, "unexpected metadata"),
        ({"chunk_grid": {"name": "regular", "configuration": {}}}, "unexpected metadata"),
    ],
)
def test_metadata_of_something_else(tmp_path: Path, change: dict[str, Any], message: str | None) -> None:
    _, metadata = write(tmp_path)
    changed = json.dumps(json.loads(metadata) | change).encode()
    if message is None:
        assert not ChunkGrid.from_metadata("a", changed, row_axis=1).is_plain
    else:
        with pytest.raises(ValueError, match=message):
            ChunkGrid.from_metadata("a", changed, row_axis=1)
    with pytest.raises(ValueError, match="Expecting"):
        ChunkGrid.from_metadata("a", b"", row_axis=1)
