"""Shards of our own writer: byte for byte those that zarr's own writer makes."""

from __future__ import annotations

import itertools
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from zarr.codecs import BytesCodec, Crc32cCodec
from zarr.storage import LocalStore

from cache import shard_writer
from cache.block_queue import BlockQueue
from cache.layout import ArrayLayout
from cache.shard_writer import ShardForm, ShardWriter

DTYPES = ["float16", "float32", "float64", "int64", "bool"]


def layout_of(rows: np.ndarray, name: str = "array") -> ArrayLayout:
    return ArrayLayout(
        name=name,
        dtype=rows.dtype.name,
        dimensions=tuple("abc"[: rows.ndim]),
        shape=rows.shape,
        row_axis=1 if rows.ndim == 3 else 0,
        attributes={},
    )


def write(
    directory: Path, rows: np.ndarray, cuts: list[int], chunk_rows: int, shard_rows: int
) -> dict[str, bytes]:
    """Write `(V, N, D)` or `(N, ...)` rows clip by clip; gives the shards by path."""
    layout = layout_of(rows)
    form = ShardForm.of(layout, chunk_rows=chunk_rows, shard_rows=shard_rows)
    views = rows if layout.row_axis else rows[np.newaxis]
    edges = [0, *sorted(cuts), views.shape[1]]
    directory.mkdir(exist_ok=True)
    with BlockQueue(directory, {form.buffer_bytes: len(views) + 1}) as queue:
        writers = [ShardWriter(queue, form, partial(layout.object_path, view)) for view in range(len(views))]
        for first, last in itertools.pairwise(edges):
            for writer, view in zip(writers, views, strict=True):

                def read(start: int, out: np.ndarray, view: np.ndarray = view, first: int = first) -> None:
                    assert out.flags.c_contiguous
                    out[...] = view[first + start : first + start + len(out)]

                writer.append(last - first, read)
        for writer in writers:
            writer.finish()
    return {file.name: (directory / file.name).read_bytes() for file in queue.files}


def zarr_shards(directory: Path, rows: np.ndarray, chunk_rows: int, shard_rows: int) -> dict[str, bytes]:
    layout = layout_of(rows)
    array = zarr.create_group(LocalStore(directory)).create_array(
        "array",
        shape=rows.shape,
        dtype=rows.dtype,
        chunks=layout.block_of(chunk_rows),
        shards=layout.block_of(shard_rows),
        filters=None,
        serializer=BytesCodec(endian="little"),
        compressors=[Crc32cCodec()],
        fill_value=0,
        config={"write_empty_chunks": True},
    )
    array[...] = rows
    found = (path for path in (directory / "array" / "c").rglob("*") if path.is_file())
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in found}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    dtype=st.sampled_from(DTYPES),
    views=st.sampled_from([None, 1, 3]),
    num_rows=st.integers(0, 40),
    cuts=st.lists(st.integers(0, 40), max_size=6),
    chunk_rows=st.integers(1, 5),
    chunks_per_shard=st.integers(1, 5),
    block_bytes=st.sampled_from([1, 40, 100, 2**18]),
    zeros=st.booleans(),
)
@example(  # the last shard has chunks that are absent, the one before it none
    dtype="float16",
    views=2,
    num_rows=17,
    cuts=[3],
    chunk_rows=2,
    chunks_per_shard=4,
    block_bytes=40,
    zeros=True,
)
def test_bytes_are_those_of_zarr(
    tmp_path_factory: pytest.TempPathFactory,
    dtype: str,
    views: int | None,
    num_rows: int,
    cuts: list[int],
    chunk_rows: int,
    chunks_per_shard: int,
    block_bytes: int,
    zeros: bool,
) -> None:
    rng = np.random.default_rng(num_rows)
    shape = (num_rows, 3) if views is None else (views, num_rows, 3)
    rows = (rng.integers(-100, 100, shape) * (not zeros)).astype(dtype)
    shard_rows = chunk_rows * chunks_per_shard
    cuts = [min(cut, num_rows) for cut in cuts]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shard_writer, "_BLOCK_BYTES", block_bytes)
        ours = write(tmp_path_factory.mktemp("ours"), rows, cuts, chunk_rows, shard_rows)
    assert ours == zarr_shards(tmp_path_factory.mktemp("zarr"), rows, chunk_rows, shard_rows)


def test_a_buffer_holds_an_index_that_is_longer_than_a_block(tmp_path: Path) -> None:
    rows = np.arange(5, dtype=np.float16)[:, np.newaxis]
    ours = write(tmp_path / "ours", rows, [], 1, 4096)
    assert ours == zarr_shards(tmp_path / "zarr", rows, 1, 4096)


def test_rows_are_read_straight_into_chunks(tmp_path: Path) -> None:
    """What is asked for never crosses a chunk, and lies in the buffer that is written."""
    form = ShardForm(dtype=np.dtype(np.float16), chunk_shape=(4, 3), chunks_per_shard=2)
    asked: list[tuple[int, int]] = []

    def read(start: int, out: np.ndarray) -> None:
        asked.append((start, len(out)))
        assert not out.flags.owndata
        out[...] = 7

    with BlockQueue(tmp_path, {form.buffer_bytes: 2}) as queue:
        writer = ShardWriter(queue, form, str)
        writer.append(3, read)
        writer.append(0, read)
        writer.append(10, read)
        writer.finish()
    assert asked == [(0, 3), (0, 1), (1, 4), (5, 4), (9, 1)]


def test_no_rows_are_no_shards(tmp_path: Path) -> None:
    assert write(tmp_path, np.zeros((2, 0, 3), np.float16), [0, 0], 2, 4) == {}


def test_an_error_while_rows_are_read_comes_out(tmp_path: Path) -> None:
    form = ShardForm(dtype=np.dtype(np.float16), chunk_shape=(4, 3), chunks_per_shard=2)

    def read(start: int, out: Any) -> None:
        raise EOFError(start)

    with pytest.raises(EOFError), BlockQueue(tmp_path, {form.buffer_bytes: 2}) as queue:
        ShardWriter(queue, form, str).append(3, read)
    assert list(tmp_path.iterdir()) == []
