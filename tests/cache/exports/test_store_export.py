"""Stores written out, read by the libraries of each format, and made again."""

from __future__ import annotations

import errno
import json
import mmap
import os
import resource
import tracemalloc
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cache import (
    CacheError,
    ClipFeatures,
    CorruptFeatureError,
    FeatureSpec,
    FeaturesSource,
    FeatureStore,
    PartStore,
    StorageError,
    StreamSpec,
    pack_store,
    write_store,
)
from cache.chunk_map import ChunkMap
from cache.exports import EXPORT_FORMATS, export_store
from cache.features import FRAME_ARRAYS
from cache.imports import export_format, import_export

# What clips of the world may be called.
IDS = ["plain", "../up", "a/b", "ü ~", ".hidden", "PLAIN", "x" * 300]
LENGTHS = [7, 0, 12, 1, 4, 3, 2]


@pytest.fixture(params=[(2, 6), (4, None)], ids=["small shards", "usual shards"])
def named(
    request: Any, tmp_path: Path, spec: Any, make_features: Any, make_key: Any
) -> tuple[Path, dict[str, ClipFeatures]]:
    """A store of clips with awkward names, with attributes and facts of its own."""
    parts, sources, features = PartStore(tmp_path / "parts"), [], {}
    for index, (clip_id, length) in enumerate(zip(IDS, LENGTHS, strict=True)):
        features[clip_id] = make_features(length, index)
        parts.commit(make_key(clip_id), features[clip_id], {"fps": 29.97 / 3, "codec": None, "ü": [index]})
        sources.append((parts, make_key(clip_id)))
    chunk_rows, shard_rows = request.param
    pack_store(
        sources,
        spec,
        tmp_path / "s.zarr",
        attributes={"corpus": "ä", "share": 0.1},
        chunk_rows=chunk_rows,
        shard_rows=shard_rows,
    )
    return tmp_path / "s.zarr", features


@pytest.mark.parametrize("format", ["hdf5", "npy"])
def test_the_same_store_comes_back(named: Any, tmp_path: Path, format: str, objects_of: Any) -> None:
    store, _ = named
    seen: list[int] = []
    export_store(store, tmp_path / "out", format, progress=seen.append)
    assert sum(seen) == len(IDS)
    assert export_format(tmp_path / "out")
    seen.clear()
    record, exported = import_export(tmp_path / "out", tmp_path / "again.zarr", progress=seen.append)
    assert sum(seen) == len(IDS)
    assert record.digest == exported == FeatureStore.open(store).digest
    assert objects_of(tmp_path / "again.zarr") == objects_of(store)


def arrays_of(features: ClipFeatures) -> dict[str, np.ndarray]:
    return {**features.streams, **{name: getattr(features, name) for name in FRAME_ARRAYS}}


def test_hdf5_as_h5py_reads_it(named: Any, tmp_path: Path) -> None:
    store, features = named
    export_store(store, tmp_path / "new" / "out.h5", "hdf5")
    with h5py.File(tmp_path / "new" / "out.h5") as file:
        assert file.attrs["fingerprint"] == FeatureStore.open(store).fingerprint
        index = json.loads(file["index"].asstr()[()])
        names = {clip["key"]["clip_id"]: clip["name"] for clip in index["clips"]}
        assert list(names) == IDS
        assert names["plain"] == "plain"
        assert set(file["clips"]) == set(names.values())
        for clip_id, clip in features.items():
            group = file["clips"][names[clip_id]]
            assert set(group) == set(arrays_of(clip))
            for name, rows in arrays_of(clip).items():
                np.testing.assert_array_equal(group[name][()], rows, strict=True)
                assert group[name].chunks is None  # contiguous
                assert group[name].compression is None
                assert group[name].attrs["long_name"]
        assert file["clips"]["plain"]["time_s"].attrs["units"] == "s"


def test_npy_as_numpy_reads_it(named: Any, tmp_path: Path) -> None:
    store, features = named
    export_store(store, tmp_path / "out", "npy")
    index = json.loads((tmp_path / "out" / "index.json").read_text())
    assert index["clips"][0]["facts"] == {"fps": 29.97 / 3, "codec": None, "ü": [0]}
    found = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.npy")}
    wanted = set()
    for clip, facts in zip(features.values(), index["clips"], strict=True):
        for name, rows in arrays_of(clip).items():
            wanted.add(f"{name}/{facts['name']}.npy")
            np.testing.assert_array_equal(np.load(tmp_path / "out" / name / f"{facts['name']}.npy"), rows)
    assert found == wanted
    assert "visual/plain.npy" in found


def test_parquet_as_pyarrow_reads_it(named: Any, tmp_path: Path, monkeypatch: Any) -> None:
    from cache.exports import parquet_file

    monkeypatch.setattr(parquet_file, "_ROW_GROUP_BYTES", 500)
    store, features = named
    seen: list[int] = []
    export_store(store, tmp_path / "out.parquet", "parquet", progress=seen.append)
    assert sum(seen) == len(IDS)
    table = pq.read_table(tmp_path / "out.parquet")
    ids = [clip for clip, length in zip(IDS, LENGTHS, strict=True) for _ in range(length)]
    assert table["clip_id"].to_pylist() == ids
    assert table["frame"].to_pylist() == [frame for length in LENGTHS for frame in range(length)]

    def column(name: str) -> np.ndarray:
        flat = table[name].combine_chunks()
        if pa.types.is_fixed_size_list(flat.type):
            return flat.flatten().to_numpy(zero_copy_only=False).reshape(len(flat), -1)
        return flat.to_numpy(zero_copy_only=False)

    for name in (*FRAME_ARRAYS, "audio", "text"):
        rows = np.concatenate([arrays_of(clip)[name] for clip in features.values()])
        np.testing.assert_array_equal(column(name), rows, strict=True)
    for view, name in enumerate(("visual_center", "visual_flip")):
        rows = np.concatenate([clip.streams["visual"][view] for clip in features.values()])
        np.testing.assert_array_equal(column(name), rows, strict=True)
    assert table.num_columns == 2 + len(FRAME_ARRAYS) + 2 + 2
    file = pq.ParquetFile(tmp_path / "out.parquet")
    row_bytes = 8 + 8 + 1 + 1 + 16 + 4 + 2 * (5 + 5 + 3 + 2)
    assert file.num_row_groups == -(-sum(LENGTHS) // (500 // row_bytes))
    index = json.loads(file.schema_arrow.metadata[b"tagf"])
    assert [clip["num_frames"] for clip in index["clips"]] == LENGTHS


def test_a_store_without_rows(tmp_path: Path, spec: Any, commit_clips: Any) -> None:
    sources, _ = commit_clips(tmp_path / "parts", [0])
    pack_store(sources, spec, tmp_path / "s.zarr")
    for format in ("hdf5", "npy"):
        export_store(tmp_path / "s.zarr", tmp_path / format, format)
        record, exported = import_export(tmp_path / format, tmp_path / f"{format}.zarr")
        assert record.digest == exported
    export_store(tmp_path / "s.zarr", tmp_path / "table", "parquet")
    assert pq.read_table(tmp_path / "table").num_rows == 0


def test_a_view_named_like_another_column(tmp_path: Path, make_features: Any, make_key: Any) -> None:
    streams = (
        StreamSpec(name="visual", num_features=2, views=("flip",)),
        StreamSpec(name="visual_flip", num_features=2),
    )
    spec = FeatureSpec(streams=streams, settings={})
    parts = PartStore(tmp_path / "parts")
    parts.commit(make_key("a", spec), make_features(2, spec=spec), {})
    pack_store([(parts, make_key("a", spec))], spec, tmp_path / "s.zarr")
    with pytest.raises(CacheError, match="share the column 'visual_flip'; choose another format"):
        export_store(tmp_path / "s.zarr", tmp_path / "out", "parquet")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("format", EXPORT_FORMATS)
def test_what_lies_there_stays(packed: Any, tmp_path: Path, format: str) -> None:
    (tmp_path / "out").write_text("years of work")
    with pytest.raises(CacheError, match="expected nothing there, got something"):
        export_store(packed[0], tmp_path / "out", format)
    assert (tmp_path / "out").read_text() == "years of work"


@pytest.mark.parametrize("format", EXPORT_FORMATS)
def test_a_damaged_store_leaves_nothing(packed: Any, tmp_path: Path, format: str) -> None:
    path, _ = packed
    shard = path / "visual" / "c" / "1" / "3" / "0"
    data = bytearray(shard.read_bytes())
    data[5] ^= 1
    shard.write_bytes(data)
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(CorruptFeatureError, match="visual/c/1/3/0"):
        export_store(path, tmp_path / "out", format)
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize("format", EXPORT_FORMATS)
def test_a_file_that_grows_too_large_leaves_nothing(
    tmp_path: Path, spec: Any, commit_clips: Any, format: str
) -> None:
    sources, _ = commit_clips(tmp_path / "parts", [3000, 3000])
    pack_store(sources, spec, tmp_path / "s.zarr")
    export_store(tmp_path / "s.zarr", tmp_path / "whole", format)
    files = [tmp_path / "whole", *(tmp_path / "whole").rglob("*")]
    largest = max(path.stat().st_size for path in files if path.is_file())
    before = sorted(os.listdir(tmp_path))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit in (0, 1000, 10_000, largest // 2, largest - 1):
        seen: list[int] = []
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            with pytest.raises(StorageError, match=r"cannot write the export .*; nothing was left there"):
                export_store(tmp_path / "s.zarr", tmp_path / "out", format, progress=seen.append)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert sorted(os.listdir(tmp_path)) == before
        # The first clip's rows take half of an HDF5 file: nothing goes on after the first failure.
        assert format != "hdf5" or sum(seen) == (2 if limit == largest - 1 else 0)


@pytest.mark.parametrize("format", ["hdf5", "npy"])
def test_blocks_of_a_clip_are_in_memory_and_no_more(
    tmp_path: Path, make_features: Any, make_key: Any, format: str
) -> None:
    spec = FeatureSpec(streams=(StreamSpec(name="audio", num_features=2000),), settings={})
    source = FeaturesSource(make_key("a", spec), make_features(9000, spec=spec), {})
    write_store([source], spec, tmp_path / "s.zarr", chunk_rows=64)  # its writer holds some chunks
    del source
    clip_bytes = 9000 * 2000 * 2
    tracemalloc.start()
    export_store(tmp_path / "s.zarr", tmp_path / "out", format)
    export_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    record, exported = import_export(tmp_path / "out", tmp_path / "again.zarr")
    import_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert record.digest == exported
    assert export_bytes < clip_bytes // 2
    assert import_bytes < clip_bytes // 2


@pytest.mark.parametrize("format", EXPORT_FORMATS)
def test_a_store_that_cannot_be_read_is_not_a_full_disk(
    packed: Any, tmp_path: Path, format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = packed
    before = sorted(os.listdir(tmp_path))

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    check_shard = ChunkMap._check_shard
    looks: list[int] = []

    def check(self: ChunkMap, view: int, shard: int) -> None:
        looks.append(shard)
        if len(looks) == 8:  # rows of streams by then, and no more the table of clips
            monkeypatch.setattr(mmap, "mmap", refuse)
        check_shard(self, view, shard)

    monkeypatch.setattr(ChunkMap, "_check_shard", check)
    with pytest.raises(CacheError, match=f"^{path}: object .* cannot be read: Input/output error") as caught:
        export_store(path, tmp_path / "out", format)
    assert not isinstance(caught.value, StorageError)
    assert sorted(os.listdir(tmp_path)) == before


def test_no_such_format(packed: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="format must be one of hdf5, npy, parquet, got 'csv'"):
        export_store(packed[0], tmp_path / "out", "csv")
