"""Rows that zarr reads: equal to what was written, and refused where zarr would fill them up."""

from __future__ import annotations

import json
import multiprocessing
import os
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import zarr
from zarr.codecs import BytesCodec, Crc32cCodec, ShardingCodec, ZstdCodec

from cache import CacheError, CompletionRecord, IncompleteStoreError
from cache.chunk_grid import ChunkGrid, DamagedChunkError
from cache.location import ChangedObjectError, UnreadableObjectError, location_of
from cache.record import StoredObject
from cache.zarr_rows import ZarrRows

ROWS = 23
PLAIN = [BytesCodec(endian="little"), Crc32cCodec()]
LAYOUTS: dict[str, dict[str, Any]] = {
    "ours": {"serializer": ShardingCodec(chunk_shape=(1, 2, 3), codecs=PLAIN, index_codecs=PLAIN)},
    "compressed": {
        "serializer": ShardingCodec(
            chunk_shape=(1, 2, 3), codecs=[PLAIN[0], ZstdCodec(), PLAIN[1]], index_codecs=PLAIN
        )
    },
    "index first": {
        "serializer": ShardingCodec(
            chunk_shape=(1, 2, 3), codecs=PLAIN, index_codecs=PLAIN, index_location="start"
        )
    },
    "no shards": {"serializer": PLAIN[0], "compressors": [PLAIN[1]]},
    "views together": {"chunks": (2, 6, 3), "serializer": PLAIN[0], "compressors": [PLAIN[1]]},
    "other names": {
        "serializer": PLAIN[0],
        "compressors": [PLAIN[1]],
        "chunk_key_encoding": {"name": "v2", "separator": "."},
    },
}


def values() -> np.ndarray:
    return np.random.default_rng(2).uniform(1, 9, (2, ROWS, 3)).astype(np.float16)


def write(directory: Path, layout: str, wanted: np.ndarray | None = None, **config: bool) -> None:
    wanted = values() if wanted is None else wanted
    options = {"chunks": (1, 6, 3), "compressors": None, **LAYOUTS[layout]}
    array = zarr.create_array(
        directory / "s" / "a",
        shape=wanted.shape,
        dtype=wanted.dtype,
        filters=None,
        fill_value=0,
        config={"write_empty_chunks": True} | config,
        **options,
    )
    array[...] = wanted


def opened(place: Path | str) -> ZarrRows:
    location = location_of(place)
    objects = {path: StoredObject(size_bytes=size, sha256="") for path, size in location.sizes().items()}
    record = CompletionRecord(fingerprint="", num_clips=0, num_frames=0, objects=objects)
    grid = ChunkGrid.from_metadata("a", location.read("a/zarr.json"), row_axis=1)
    return ZarrRows(location, record, grid, location.stamps())


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[tuple[Any, str]]:
    """A file system that is no directory, and the place in it where `tmp_path / "s"` is copied to."""
    system, root = fsspec.filesystem("memory"), f"/{uuid.uuid4()}"
    write(tmp_path, "ours")
    system.put(str(tmp_path / "s"), root, recursive=True)
    yield system, root
    system.rm(root, recursive=True)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_that_zarr_knows(tmp_path: Path, layout: str) -> None:
    write(tmp_path, layout)
    rows, wanted = opened(tmp_path / "s"), values()
    for start, stop in [(0, ROWS), (0, 0), (5, 7), (22, 23), (6, 12)]:
        np.testing.assert_array_equal(rows.read(start, stop, None), wanted[:, start:stop])
        np.testing.assert_array_equal(rows.read(start, stop, 1), wanted[1, start:stop])
    out = np.empty((2, 20, 3), np.float16)
    seen: list[int] = []
    rows.read_into(out, 2, None, seen.append)
    np.testing.assert_array_equal(out, wanted[:, 2:22])
    assert sum(seen) == out.nbytes


def test_a_remote_place(remote: tuple[Any, str]) -> None:
    system, root = remote
    rows, wanted = opened(f"memory:/{root}"), values()
    np.testing.assert_array_equal(rows.read(3, 21, None), wanted[:, 3:21])
    assert rows.read(3, 21, None).flags.writeable
    path = f"{root}/a/c/1/2/0"
    data = system.cat_file(path)
    system.pipe_file(path, data)  # the same bytes, but who knows
    with pytest.raises(ChangedObjectError):
        rows.read(12, 13, 1)
    system.pipe_file(path, data[:16] + b"x" + data[17:])
    with pytest.raises(DamagedChunkError, match="hecksum"):
        opened(f"memory:/{root}").read(12, 18, 1)
    system.rm(path)
    with pytest.raises(IncompleteStoreError, match="object a/c/1/2/0 is missing"):
        rows.read(12, 13, 1)
    np.testing.assert_array_equal(rows.read(12, 13, 0), wanted[0, 12:13])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_object_that_is_lost_is_no_zeros(tmp_path: Path, layout: str) -> None:
    write(tmp_path, layout)
    before = opened(tmp_path / "s")
    np.testing.assert_array_equal(before.read(0, ROWS, None), values())
    lost = sorted(
        path for path in (tmp_path / "s/a").rglob("*") if path.name != "zarr.json" and path.is_file()
    )
    lost[-1].unlink()
    with pytest.raises(IncompleteStoreError, match="is missing"):
        before.read(ROWS - 1, ROWS, None)
    with pytest.raises(IncompleteStoreError, match="is missing"):
        before.read_into(values(), 0, None)


def test_a_chunk_that_was_never_written_is_damage(tmp_path: Path) -> None:
    wanted = values()
    wanted[1, 8:10] = 0
    write(tmp_path, "ours", wanted, write_empty_chunks=False)
    assert not zarr.open_array(tmp_path / "s/a", mode="r")[1, 8:10].any()
    rows = opened(tmp_path / "s")
    with pytest.raises(
        DamagedChunkError, match="object a/c/1/1/0: its index says that it was never"
    ) as caught:
        rows.read(6, 7, 1)
    assert (caught.value.chunk, caught.value.rows) == (1, slice(8, 10))
    np.testing.assert_array_equal(rows.read(6, 12, 0), wanted[0, 6:12])


@pytest.mark.parametrize("layout", ["ours", "compressed", "no shards"])
def test_damage_is_found_in_its_chunk(tmp_path: Path, layout: str) -> None:
    write(tmp_path, layout)
    path = tmp_path / "s/a/c/1/2/0"  # rows 12 to 17 of the second view
    data = bytearray(path.read_bytes())
    data[18] ^= 8
    path.write_bytes(data)
    rows = opened(tmp_path / "s")
    np.testing.assert_array_equal(rows.read(0, ROWS, 0), values()[0])
    with pytest.raises(DamagedChunkError, match="hecksum") as caught:
        rows.read(0, ROWS, None)
    assert caught.value.path == "a/c/1/2/0"
    if layout == "ours":
        assert (caught.value.chunk, caught.value.rows) == (1, slice(14, 16))
        np.testing.assert_array_equal(rows.read(16, ROWS, None), values()[:, 16:])


def test_a_disk_that_does_not_answer_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "ours")
    rows = opened(tmp_path / "s")
    rows.read(0, 1, 0)

    async def refuse(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("zarr.storage.LocalStore.get", refuse)
    with pytest.raises(CacheError, match=r"object a/c/0/0/0 cannot be read: .*Input/output error") as caught:
        rows.read(0, 1, 0)
    assert not isinstance(caught.value, DamagedChunkError)


@pytest.mark.parametrize("alone", [False, True], ids=["at once", "chunk by chunk"])
@pytest.mark.parametrize(
    ("cause", "expected", "message"),
    [
        (MemoryError(), MemoryError, "^$"),
        (OSError(24, "Too many open files"), UnreadableObjectError, "a/c/1/0/0 cannot .* 'ulimit -n'"),
    ],
)
def test_what_the_system_lacks_is_no_damage(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cause: Exception,
    expected: type[Exception],
    message: str,
    alone: bool,
) -> None:
    write(tmp_path, "ours")
    rows = opened(tmp_path / "s")
    causes = iter([ValueError("a codec stumbled"), cause] if alone else [cause])

    def refuse(*_: object) -> None:
        raise next(causes)

    monkeypatch.setattr(ZarrRows, "_decode", refuse)
    with pytest.raises(expected, match=message):
        rows.read(0, 6, 1)


def test_what_failed_once_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "ours")
    rows = opened(tmp_path / "s")
    decode = ZarrRows._decode
    calls: list[int] = []

    def stumble(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("can't start new thread")
        return decode(*arguments)

    monkeypatch.setattr(ZarrRows, "_decode", stumble)
    message = "rows 1 to 5 of array a could not be read: can't start new thread, though"
    with pytest.raises(CacheError, match=f"^{tmp_path / 's'}: {message}") as caught:
        rows.read(1, 6, None)
    assert not isinstance(caught.value, DamagedChunkError)
    assert len(calls) == 7  # three chunks of two views
    np.testing.assert_array_equal(rows.read(1, 6, None), values()[:, 1:6])


def test_want_of_memory_in_a_store_of_zarr(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "ours")
    rows = opened(tmp_path / "s")
    rows.read(0, 1, 0)

    async def refuse(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("zarr.storage.LocalStore.get", refuse)
    with pytest.raises(MemoryError):
        rows.read(0, 1, 0)


def test_threads_share_it(tmp_path: Path) -> None:
    write(tmp_path, "ours")
    rows, wanted = opened(tmp_path / "s"), values()
    ranges = [(start, start + 3) for start in range(20)]
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda each: rows.read(*each, None), ranges))
    for (start, stop), each in zip(ranges, found, strict=True):
        np.testing.assert_array_equal(each, wanted[:, start:stop])


def _read_in_child(rows: ZarrRows, pipe: Any) -> None:
    pipe.send((os.getpid(), rows.read(0, ROWS, None)))
    pipe.close()


def test_a_forked_process_opens_its_own(tmp_path: Path) -> None:
    write(tmp_path, "ours")
    rows = opened(tmp_path / "s")
    rows.read(0, 1, 0)  # zarr's threads run by now, in this process alone
    fork = multiprocessing.get_context("fork")
    ours, theirs = fork.Pipe(duplex=False)
    child = fork.Process(target=_read_in_child, args=(rows, theirs))
    child.start()
    theirs.close()
    process, found = ours.recv()
    child.join()
    assert process != os.getpid()
    np.testing.assert_array_equal(found, values())


def test_metadata_alone_does_not_open_an_array(tmp_path: Path) -> None:
    write(tmp_path, "ours")
    rows = opened(tmp_path / "s")
    metadata = tmp_path / "s/a/zarr.json"
    content = json.loads(metadata.read_text())
    metadata.unlink()
    with pytest.raises(IncompleteStoreError, match=r"object a/zarr\.json is missing"):
        rows.read(0, 1, 0)
    assert content["node_type"] == "array"
