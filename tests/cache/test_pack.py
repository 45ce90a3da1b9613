"""Packing: what a plain dictionary of arrays would hold, in bytes that depend on parts and order alone."""

from __future__ import annotations

import errno
import json
import os
import resource
import tracemalloc
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from cache import (
    CacheError,
    ClipFeatures,
    CorruptFeatureError,
    FeatureSpec,
    FeatureStore,
    PartStore,
    StaleFeatureError,
    StorageError,
    StoreFormatError,
    StreamSpec,
    UnknownClipError,
    pack_store,
)


def test_bytes_depend_on_parts_and_order_alone(
    tmp_path: Path, spec: FeatureSpec, commit_clips: Any, objects_of: Any
) -> None:
    sources, _ = commit_clips(tmp_path / "a" / "parts", [5, 0, 9])
    again, _ = commit_clips(tmp_path / "elsewhere" / "work", [5, 0, 9])
    pack_store(sources, spec, tmp_path / "a" / "one.zarr", chunk_rows=2, shard_rows=4)
    pack_store(again, spec, tmp_path / "two.zarr", chunk_rows=2, shard_rows=4)
    pack_store(again[::-1], spec, tmp_path / "three.zarr", chunk_rows=2, shard_rows=4)
    one, two, three = (objects_of(tmp_path / name) for name in ("a/one.zarr", "two.zarr", "three.zarr"))
    assert one == two
    assert one.keys() == three.keys()
    assert one["audio/c/0/0"] != three["audio/c/0/0"]
    pack_store(sources, spec, tmp_path / "three.zarr", chunk_rows=2, shard_rows=4)
    assert objects_of(tmp_path / "three.zarr") == one


def test_defaults_and_metadata(tmp_path: Path, spec: FeatureSpec, commit_clips: Any) -> None:
    sources, _ = commit_clips(tmp_path / "parts", [3])
    seen: list[int] = []
    pack_store(sources, spec, tmp_path / "s", attributes={"corpus": "test"}, progress=seen.append)
    assert seen == [1]
    group = zarr.open_group(tmp_path / "s", mode="r")
    assert dict(group.attrs) == {
        "format": "tagf-feature-store",
        "format_version": 2,
        "Conventions": "CF-1.12",
        "featureType": "timeSeries",
        "title": group.attrs["title"],
        "fingerprint": spec.fingerprint,
        "streams": ["visual", "audio", "text"],
        "feature_spec": json.loads(spec.to_json()),
        "corpus": "test",
    }
    dimensions = {
        "visual": ("view", "frame", "visual_feature"),
        "audio": ("frame", "audio_feature"),
        "text": ("frame", "text_feature"),
        "time_s": ("frame",),
        "source_frame": ("frame",),
        "face_found": ("frame",),
        "audio_found": ("frame",),
        "face_box": ("frame", "box_edge"),
        "face_score": ("frame",),
        "clip_id": ("clip",),
        "row_size": ("clip",),
        "media_sha256": ("clip",),
        "face_share": ("clip",),
        "audio_s": ("clip",),
        "clip_facts": ("clip",),
        "view": ("view",),
        "box_edge": ("box_edge",),
    }
    # 256 MiB hold more rows of these than a shard may have; strings count as 4 KiB each
    shard_rows = {
        name: 65_536 if name in ("clip_id", "media_sha256", "clip_facts", "view", "box_edge") else 1_048_576
        for name in dimensions
    }
    arrays = dict(group.arrays())
    assert arrays.keys() == dimensions.keys()
    for name, wanted in dimensions.items():
        meta = json.loads((tmp_path / "s" / name / "zarr.json").read_text())
        axis = 1 if name == "visual" else 0
        assert tuple(meta["dimension_names"]) == wanted
        assert meta["chunk_grid"]["configuration"]["chunk_shape"][axis] == shard_rows[name]
        (sharding,) = meta["codecs"]
        assert sharding["configuration"]["chunk_shape"][axis] == 1024
        assert sharding["configuration"]["codecs"][-1] == {"name": "crc32c"}
        assert sharding["configuration"]["index_codecs"][-1] == {"name": "crc32c"}
        assert sharding["configuration"]["index_location"] == "end"
    assert arrays["visual"].shards == (1, 1_048_576, 5)
    assert "views" not in arrays["visual"].attrs


def test_chunks_of_zeros_are_written(
    tmp_path: Path, spec: FeatureSpec, make_features: Any, make_key: Any
) -> None:
    features = make_features(8)
    zeros = {name: np.zeros_like(rows) for name, rows in features.streams.items()}
    parts = PartStore(tmp_path / "parts")
    parts.commit(make_key("v1"), ClipFeatures(**{**vars(features), "streams": zeros}), {})
    pack_store([(parts, make_key("v1"))], spec, tmp_path / "s", chunk_rows=2, shard_rows=4)
    sizes = {path.stat().st_size for path in (tmp_path / "s" / "visual" / "c").rglob("0") if path.is_file()}
    chunk_bytes = 2 * 5 * 2 + 4  # 2 rows of 5 float16, the CRC
    assert sizes == {2 * chunk_bytes + 2 * 16 + 4}


def test_memory_holds_a_few_chunks(tmp_path: Path, make_features: Any, make_key: Any) -> None:
    """Neither a part of 8 MB nor a shard is ever whole in memory."""
    spec = FeatureSpec(streams=(StreamSpec(name="audio", num_features=2048),), settings={})
    parts = PartStore(tmp_path / "parts")
    sources = [(parts, make_key(name, spec)) for name in ("a", "b")]
    for seed, (_, key) in enumerate(sources):
        parts.commit(key, make_features(2000, seed, spec), {})
    pack_store(sources[:1], spec, tmp_path / "first", chunk_rows=32, shard_rows=8192)  # imports zarr
    tracemalloc.start()
    pack_store(sources, spec, tmp_path / "s", chunk_rows=32, shard_rows=8192)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    chunk_bytes = 32 * 2048 * 2
    assert (tmp_path / "s" / "audio" / "c" / "0" / "0").stat().st_size > 120 * chunk_bytes
    assert peak < 40 * chunk_bytes  # 13 buffers of two chunks, and a clip's arrays beside its streams


def test_each_part_is_opened_once(
    tmp_path: Path, spec: FeatureSpec, commit_clips: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources, _ = commit_clips(tmp_path / "parts", [5, 0, 9])
    opened: list[Path] = []
    real = Path.open

    def spy(self: Path, *arguments: Any, **options: Any) -> Any:
        if self.suffix == ".npz":
            opened.append(self)
        return real(self, *arguments, **options)

    monkeypatch.setattr(Path, "open", spy)
    pack_store(sources, spec, tmp_path / "s", chunk_rows=2, shard_rows=4)
    assert opened == [store.path(key) for store, key in sources]


def test_provenance_is_in_the_store(tmp_path: Path, spec: FeatureSpec, commit_clips: Any) -> None:
    sources, _ = commit_clips(tmp_path / "parts", [2, 3])
    pack_store(sources, spec, tmp_path / "s")
    texts = zarr.open_group(tmp_path / "s", mode="r")["clip_facts"][:]
    assert [json.loads(text) for text in texts] == [
        {"key": asdict(key), "facts": {"codec": "h264", "index": index}}
        for index, (_, key) in enumerate(sources)
    ]
    rows = FeatureStore.open(tmp_path / "s")["clip_1"]
    assert rows.key == sources[1][1]
    assert rows.facts == {"codec": "h264", "index": 1}


def test_stale_parts_are_refused_with_what_differs(
    tmp_path: Path, spec: FeatureSpec, commit_clips: Any
) -> None:
    sources, _ = commit_clips(tmp_path / "parts", [2])
    asked = FeatureSpec(streams=spec.streams, settings={**spec.settings, "audio.anchor": "end"})
    message = f"clip 'clip_0' in .* was extracted with spec {spec.fingerprint}, "
    message += f"the store asks for {asked.fingerprint}"
    with pytest.raises(StaleFeatureError, match=message + "; extract the clip again"):
        pack_store(sources, asked, tmp_path / "s")
    sources[0][0].write_spec(spec)
    message += "; audio.anchor: 'center' in the part, 'end' asked for; extract the clip again"
    with pytest.raises(StaleFeatureError, match=message):
        pack_store(sources, asked, tmp_path / "s")


def test_what_cannot_be_packed(tmp_path: Path, spec: FeatureSpec, commit_clips: Any, make_key: Any) -> None:
    sources, _ = commit_clips(tmp_path / "parts", [2, 3])
    parts = sources[0][0]
    with pytest.raises(CacheError, match="clip 'clip_0' is listed twice"):
        pack_store([*sources, sources[0]], spec, tmp_path / "s")
    with pytest.raises(UnknownClipError, match="clip 'other' has no part"):
        pack_store([*sources, (parts, make_key("other"))], spec, tmp_path / "s")
    with pytest.raises(ValueError, match="attributes must not use the store's own names, got fingerprint"):
        pack_store(sources, spec, tmp_path / "s", attributes={"fingerprint": "mine"})
    with pytest.raises(ValueError, match="shard_rows must be a multiple of chunk_rows, got 5 and 2"):
        pack_store(sources, spec, tmp_path / "s", chunk_rows=2, shard_rows=5)
    assert os.listdir(tmp_path) == ["parts"]


def test_parts_without_the_specs_streams(tmp_path: Path, make_features: Any, make_key: Any) -> None:
    spec = FeatureSpec(streams=(StreamSpec(name="audio", num_features=4),), settings={})
    parts = PartStore(tmp_path / "parts")
    parts.commit(make_key("v1", spec), make_features(2), {})
    with pytest.raises(
        StoreFormatError, match=r"clip 'v1' does not have the streams of spec .*'audio': \(2, 4\)"
    ):
        pack_store([(parts, make_key("v1", spec))], spec, tmp_path / "s")
    assert os.listdir(tmp_path) == ["parts"]


def test_a_damaged_part_leaves_the_previous_store(
    packed: Any, tmp_path: Path, spec: FeatureSpec, objects_of: Any, commit_clips: Any
) -> None:
    path, _ = packed
    before = objects_of(path)
    sources, features = commit_clips(tmp_path / "more", [5, 5])
    damaged = sources[1][0].path(sources[1][1])
    data = bytearray(damaged.read_bytes())
    data[data.index(features["clip_1"].streams["visual"].tobytes()) + 7] ^= 1
    damaged.write_bytes(data)
    with pytest.raises(CorruptFeatureError, match="clip 'clip_1'"):
        pack_store(sources, spec, path)
    assert objects_of(path) == before
    assert sorted(os.listdir(tmp_path)) == ["features.zarr", "more", "parts"]


def test_a_file_that_grows_too_large_leaves_the_previous_store(
    packed: Any, tmp_path: Path, spec: FeatureSpec, objects_of: Any, commit_clips: Any
) -> None:
    path, _ = packed
    before = objects_of(path)
    sources, _ = commit_clips(tmp_path / "more", [5000])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(
            StorageError, match=f"cannot write the store {path}: .*File too large.*; what lay there"
        ):
            pack_store(sources, spec, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert objects_of(path) == before
    assert sorted(os.listdir(tmp_path)) == ["features.zarr", "more", "parts"]


@pytest.mark.parametrize("call", range(0, 60, 7))
def test_a_disk_that_fills_up_at_any_point_leaves_the_previous_store(
    packed: Any,
    tmp_path: Path,
    spec: FeatureSpec,
    objects_of: Any,
    monkeypatch: pytest.MonkeyPatch,
    call: int,
    commit_clips: Any,
) -> None:
    path, _ = packed
    before = objects_of(path)
    sources, _ = commit_clips(tmp_path / "more", [5])
    calls = iter(range(10_000))
    real_replace, real_fsync = os.replace, os.fsync

    def failing(real: Callable[..., None]) -> Callable[..., None]:
        def function(*arguments: Any) -> None:
            if next(calls) == call:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            real(*arguments)

        return function

    monkeypatch.setattr(os, "replace", failing(real_replace))
    monkeypatch.setattr(os, "fsync", failing(real_fsync))
    with pytest.raises(StorageError, match="No space left on device"):
        pack_store(sources, spec, path)
    assert objects_of(path) == before
    assert sorted(os.listdir(tmp_path)) == ["features.zarr", "more", "parts"]


def test_only_stores_are_replaced(tmp_path: Path, spec: FeatureSpec, commit_clips: Any) -> None:
    sources, _ = commit_clips(tmp_path / "parts", [2])
    home = tmp_path / "home"
    home.mkdir()
    (home / "thesis.txt").write_text("years of work")
    file = tmp_path / "file"
    file.write_text("x")
    for path in (home, file):
        with pytest.raises(StoreFormatError, match="expected a feature store or nothing, got something else"):
            pack_store(sources, spec, path)
    assert (home / "thesis.txt").read_text() == "years of work"
    (home / "thesis.txt").unlink()
    pack_store(sources, spec, home)  # an empty directory is nothing
    (home / "zarr.json").write_text("damaged")
    pack_store(sources, spec, home)  # a damaged store still is one
    assert FeatureStore.open(home).num_frames == 2


def test_a_link_to_a_store_stays_a_link(
    packed: Any, tmp_path: Path, spec: FeatureSpec, commit_clips: Any
) -> None:
    link = tmp_path / "link"
    link.symlink_to(packed[0])
    sources, _ = commit_clips(tmp_path / "parts", [2])
    pack_store(sources, spec, link)
    assert link.is_symlink()
    assert FeatureStore.open(packed[0]).num_frames == 2


def test_an_empty_store(tmp_path: Path, spec: FeatureSpec) -> None:
    pack_store([], spec, tmp_path / "new" / "s")
    store = FeatureStore.open(tmp_path / "new" / "s")
    assert (store.clip_ids, store.num_frames) == ((), 0)
    assert store.load().streams["visual"].shape == (2, 0, 5)
