"""Rows from mapped shards: equal to what zarr reads, checked at first touch, never of another file."""

from __future__ import annotations

import errno
import json
import mmap
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import pytest
import zarr
from zarr.codecs import BytesCodec, Crc32cCodec

from cache import CorruptFeatureError, IncompleteStoreError
from cache.chunk_grid import ChunkGrid, DamagedChunkError
from cache.chunk_map import ChunkMap
from cache.location import ChangedObjectError, LocalFolder, UnreadableObjectError

ROWS, CHUNK, SHARD = 23, 2, 6


def write(
    directory: Path, values: np.ndarray, *, chunk_rows: int = CHUNK, shard_rows: int = SHARD, **config: bool
) -> None:
    """An array of ``(V, N, D)`` or ``(N, ...)`` as zarr writes it."""
    views = (1,) if values.ndim == 3 else ()
    array = zarr.create_array(
        directory / "a",
        shape=values.shape,
        dtype=values.dtype,
        chunks=(*views, chunk_rows, *values.shape[len(views) + 1 :]),
        shards=(*views, shard_rows, *values.shape[len(views) + 1 :]),
        serializer=BytesCodec(endian="little"),
        compressors=[Crc32cCodec()],
        filters=None,
        fill_value=0,
        config={"write_empty_chunks": True} | config,
    )
    array[...] = values


def mapped(directory: Path) -> ChunkMap:
    metadata = (directory / "a" / "zarr.json").read_bytes()
    grid = ChunkGrid.from_metadata("a", metadata, row_axis=len(json.loads(metadata)["shape"]) == 3)
    assert grid.is_plain
    folder = LocalFolder(directory)
    return ChunkMap(folder, grid, folder.stamps())


def numbers(shape: tuple[int, ...], dtype: str = "float16") -> np.ndarray:
    return np.random.default_rng(1).uniform(1, 100, shape).astype(dtype)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int64", "bool"])
@pytest.mark.parametrize("shape", [(2, ROWS, 3), (ROWS, 5), (ROWS,), (1, 1, 1), (6,)])
def test_every_range_of_rows(tmp_path: Path, shape: tuple[int, ...], dtype: str) -> None:
    values = numbers(shape, dtype)
    write(tmp_path, values)
    chunks = mapped(tmp_path)
    views = [None, 0, 1] if shape[0] == 2 else [None]
    num_rows = shape[1] if len(shape) == 3 else shape[0]
    for view in views:
        wanted = values if view is None else values[view]
        rows_first = np.moveaxis(wanted, 1, 0) if wanted.ndim == 3 else wanted
        for start in range(num_rows + 1):
            for stop in range(start, num_rows + 1):
                found = chunks.read(start, stop, view)
                found = np.moveaxis(found, 1, 0) if wanted.ndim == 3 else found
                np.testing.assert_array_equal(found, rows_first[start:stop])


def test_rows_are_aligned_and_ours(tmp_path: Path) -> None:
    values = numbers((ROWS,), "float64")
    write(tmp_path, values)
    chunks = mapped(tmp_path)
    for start, stop in [(0, 1), (2, 4), (3, 4), (0, ROWS)]:  # chunks lie at multiples of 20 bytes
        rows = chunks.read(start, stop, None)
        assert rows.flags.aligned
        assert rows.flags.writeable
        assert rows.flags.owndata
        rows[:] = 0
        np.testing.assert_array_equal(chunks.read(start, stop, None), values[start:stop])


def test_a_hundred_thousand_rows_of_zeros(tmp_path: Path) -> None:
    values = np.zeros((1, 102_400, 4), np.float16)
    values[:, :700] = values[:, 101_900:] = 1
    write(tmp_path, values, chunk_rows=1024, shard_rows=32_768)
    chunks = mapped(tmp_path)
    assert not chunks.read(700, 101_900, 0).any()
    assert chunks.read(0, 700, 0).all()
    np.testing.assert_array_equal(chunks.read(0, 102_400, None), values)


def test_a_chunk_that_was_never_written_is_damage(tmp_path: Path) -> None:
    values = numbers((ROWS, 3))
    values[8:10] = 0
    write(tmp_path, values, write_empty_chunks=False)  # which zarr reads as zeros
    chunks = mapped(tmp_path)
    np.testing.assert_array_equal(chunks.read(0, 8, None), values[:8])
    np.testing.assert_array_equal(chunks.read(10, ROWS, None), values[10:])
    with pytest.raises(DamagedChunkError, match="object a/c/1/0: its index says that it was never") as caught:
        chunks.read(7, 11, None)
    assert (caught.value.chunk, caught.value.rows) == (1, slice(8, 10))


def flip(path: Path, place: int, bit: int) -> None:
    """Flip one bit, and keep the time of change: as a disk would, and no writer."""
    data = bytearray(path.read_bytes())
    data[place] ^= 1 << bit
    times = os.stat(path)
    path.write_bytes(data)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_every_flipped_bit_is_seen(tmp_path: Path) -> None:
    values = numbers((ROWS, 3))
    write(tmp_path, values)
    path = tmp_path / "a/c/1/0"
    size = path.stat().st_size
    for place in range(size):
        flip(path, place, place % 8)
        chunks = mapped(tmp_path)
        np.testing.assert_array_equal(chunks.read(0, 6, None), values[:6])
        with pytest.raises(CorruptFeatureError) as caught:
            chunks.read(6, 12, None)
        assert isinstance(caught.value, DamagedChunkError)
        assert caught.value.path == "a/c/1/0"
        assert caught.value.chunk == (place // 16 if place < 48 else None)
        flip(path, place, place % 8)
    np.testing.assert_array_equal(mapped(tmp_path).read(0, ROWS, None), values)


def test_an_index_that_fits_its_checksum_and_nothing_else(tmp_path: Path) -> None:
    values = numbers((ROWS, 3))
    write(tmp_path, values)
    path = tmp_path / "a/c/0/0"
    good = path.read_bytes()
    for offset, length in [(1000, 16), (0, 12), (0, 2**63), (2**64 - 1, 16)]:
        index = np.frombuffer(good[-52:-4], "<u8").copy()
        index[:2] = offset, length
        table = index.tobytes()
        path.write_bytes(good[:-52] + table + google_crc32c.value(table).to_bytes(4, "little"))
        with pytest.raises(DamagedChunkError, match="where it cannot be"):
            mapped(tmp_path).read(0, 1, None)
        np.testing.assert_array_equal(mapped(tmp_path).read(2, ROWS, None), values[2:])


@pytest.mark.parametrize("size", [0, 1, 4, 51, 52, 53, 99])
def test_a_shard_that_was_cut_short_before_it_was_opened(tmp_path: Path, size: int) -> None:
    write(tmp_path, numbers((ROWS, 3)))
    os.truncate(tmp_path / "a/c/2/0", size)
    with pytest.raises(DamagedChunkError, match="object a/c/2/0"):
        mapped(tmp_path).read(12, 18, None)


@pytest.mark.parametrize("touched", [False, True])
@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.unlink(),
        lambda path: os.truncate(path, 10),
        lambda path: os.truncate(path, 0),
        lambda path: path.write_bytes(path.read_bytes()[::-1]),
        lambda path: (
            path.rename(path.with_name("old")),
            path.write_bytes(path.with_name("old").read_bytes()),
        ),
    ],
)
def test_a_shard_that_changed_since_it_was_opened(
    tmp_path: Path, change: Callable[[Path], object], touched: bool
) -> None:
    values = numbers((ROWS, 3))
    write(tmp_path, values)
    path = tmp_path / "a/c/2/0"
    os.utime(path, ns=(0, 0))  # the clock of a file system may be too coarse to tell two writes apart
    chunks = mapped(tmp_path)
    if touched:
        chunks.read(0, ROWS, None)
    change(path)
    for start, stop in [(12, 13), (11, 13), (0, ROWS)]:
        with pytest.raises(IncompleteStoreError) as caught:
            chunks.read(start, stop, None)
        assert isinstance(caught.value, ChangedObjectError)
        assert caught.value.path == "a/c/2/0"
    np.testing.assert_array_equal(chunks.read(0, 12, None), values[:12])


def test_a_shard_that_is_replaced_between_the_look_and_the_mapping(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, numbers((ROWS, 3)))
    chunks = mapped(tmp_path)
    another, shard = tmp_path / "a/c/1/0", tmp_path / "a/c/0/0"  # of one size, and each fits its checksums
    monkeypatch.setattr(ChunkMap, "_check_shard", lambda *_: another.replace(shard))
    with pytest.raises(ChangedObjectError, match="object a/c/0/0"):
        chunks.read(0, 1, None)


@pytest.mark.parametrize("call", ["stat", "open", "mmap"])
@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO, errno.ENOMEM])
def test_what_the_system_refuses_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    values = numbers((ROWS, 3))
    write(tmp_path, values)
    chunks = mapped(tmp_path)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        if call == "open":
            patch.setattr("cache.chunk_map.open", refuse, raising=False)
        else:
            patch.setattr(os if call == "stat" else mmap, call, refuse)
        message = f"^{tmp_path}: object a/c/0/0 cannot be read: {os.strerror(code)}; "
        with pytest.raises(UnreadableObjectError, match=message):
            chunks.read(0, 1, None)
    np.testing.assert_array_equal(chunks.read(0, ROWS, None), values)


def test_a_chunk_is_checked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, numbers((ROWS, 3)))
    chunks = mapped(tmp_path)
    checked = []
    value = google_crc32c.value
    monkeypatch.setattr(google_crc32c, "value", lambda data: checked.append(len(data)) or value(data))
    for _ in range(3):
        chunks.read(1, 5, None)
    assert checked == [48, 12, 12, 12]  # the index, then three chunks
    chunks.read(0, 6, None)
    assert len(checked) == 4
    chunks.read(0, 7, None)
    assert len(checked) == 6


def resident_kb(directory: Path) -> int:
    """Memory that mapped files below a directory take of this process."""
    total, is_counted = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if not line[0].isupper():  # a mapping's addresses and file, before lines like "Rss: 4 kB"
            is_counted = str(directory) in line
        elif is_counted and line.startswith("Rss:"):
            total += int(line.split()[1])
    return total


def test_released_pages_take_no_memory_and_are_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = numbers((2, 4000, 64))
    write(tmp_path, values, chunk_rows=500, shard_rows=1000)
    chunks = mapped(tmp_path)
    chunks.release_pages()  # of nothing
    np.testing.assert_array_equal(chunks.read(0, 2500, None), values[:, :2500])
    assert resident_kb(tmp_path) >= 2 * 2500 * 64 * 2 // 1024
    chunks.release_pages()
    assert resident_kb(tmp_path) == 0
    monkeypatch.setattr(google_crc32c, "value", lambda data: 1 / 0)
    np.testing.assert_array_equal(chunks.read(0, 2500, None), values[:, :2500])


def test_threads_share_it(tmp_path: Path) -> None:
    values = numbers((2, 500, 3))
    write(tmp_path, values)
    for _ in range(5):
        chunks = mapped(tmp_path)
        ranges = [(start, min(start + 37, 500)) for start in range(0, 500, 3)] * 2
        with ThreadPoolExecutor(8) as threads:
            futures = [threads.submit(chunks.read, start, stop, None) for start, stop in ranges]
            found = [future.result() for future in futures]
        for (start, stop), rows in zip(ranges, found, strict=True):
            np.testing.assert_array_equal(rows, values[:, start:stop])


def _read_in_child(chunks: ChunkMap, pipe: Any) -> None:
    pipe.send((chunks.read(0, 12, None), chunks.read(0, ROWS, None)))
    pipe.close()


def test_a_forked_process_keeps_it(tmp_path: Path) -> None:
    values = numbers((ROWS, 3))
    write(tmp_path, values)
    chunks = mapped(tmp_path)
    chunks.read(0, 12, None)  # touched before the fork; the rest after it
    fork = multiprocessing.get_context("fork")
    ours, theirs = fork.Pipe(duplex=False)
    child = fork.Process(target=_read_in_child, args=(chunks, theirs))
    child.start()
    theirs.close()
    some, every = ours.recv()
    child.join()
    np.testing.assert_array_equal(some, values[:12])
    np.testing.assert_array_equal(every, values)


def test_progress_counts_the_bytes(tmp_path: Path) -> None:
    values = numbers((2, ROWS, 3))
    write(tmp_path, values)
    seen: list[int] = []
    out = np.empty((2, 20, 3), np.float16)
    mapped(tmp_path).read_into(out, 1, None, seen.append)
    np.testing.assert_array_equal(out, values[:, 1:21])
    assert sum(seen) == out.nbytes
    assert len(seen) > 2
