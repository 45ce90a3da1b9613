"""Opening one store: what has to fit, what may differ from our own layout, and what happens meanwhile."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from zarr.codecs import BytesCodec, Crc32cCodec, ShardingCodec, ZstdCodec

from cache import (
    ClipFeatures,
    CompletionRecord,
    CorruptFeatureError,
    FeatureSpec,
    IncompleteStoreError,
    StoreFormatError,
    pack_store,
)
from cache.location import LocalFolder
from cache.packed_store import PackedStore
from cache.record import StoredObject

Packed = tuple[Path, dict[str, ClipFeatures]]
PLAIN = [BytesCodec(endian="little"), Crc32cCodec()]


def record_again(path: Path, **changed: Any) -> None:
    """A completion record of what lies there now, so that nothing but the test's change is wrong."""
    record = CompletionRecord.read(path)
    (path / "completion/zarr.json").unlink()
    objects = {
        each.relative_to(path).as_posix(): StoredObject(
            size_bytes=each.stat().st_size, sha256=hashlib.sha256(each.read_bytes()).hexdigest()
        )
        for each in path.rglob("*")
        if each.is_file()
    }
    facts = {
        "fingerprint": record.fingerprint,
        "num_clips": record.num_clips,
        "num_frames": record.num_frames,
        "objects": objects,
    }
    CompletionRecord(**(facts | changed)).write(path)


def replace_array(path: Path, name: str, **options: Any) -> None:
    """Write an array again in another layout."""
    before = zarr.open_array(path / name, mode="r")
    values, dimensions = before[...], before.metadata.dimension_names
    shutil.rmtree(path / name)
    options = {
        "shape": values.shape,
        "dtype": values.dtype,
        "filters": None,
        "fill_value": 0,
        "compressors": None,
        "config": {"write_empty_chunks": True},
        "dimension_names": dimensions,
        **options,
    }
    zarr.create_array(path / name, **options)[...] = values
    record_again(path)


@pytest.mark.parametrize(
    "options",
    [
        {"chunks": (1, 5, 5), "serializer": PLAIN[0], "compressors": [PLAIN[1]]},
        {"chunks": (2, 30, 2), "serializer": PLAIN[0], "compressors": [PLAIN[1]]},
        {
            "chunks": (1, 8, 5),
            "serializer": ShardingCodec(
                chunk_shape=(1, 4, 5), codecs=[PLAIN[0], ZstdCodec(), PLAIN[1]], index_codecs=PLAIN
            ),
        },
        {
            "chunks": (1, 8, 5),
            "serializer": ShardingCodec(
                chunk_shape=(1, 4, 5), codecs=PLAIN, index_codecs=PLAIN, index_location="start"
            ),
        },
    ],
)
def test_another_layout_is_read_by_zarr(packed: Packed, options: dict[str, Any]) -> None:
    path, features = packed
    replace_array(path, "visual", **options)
    store = PackedStore.open(path)
    assert not store.grids["visual"].is_plain
    assert store.grids["audio"].is_plain
    wanted = np.concatenate([each.streams["visual"] for each in features.values()], axis=1)
    np.testing.assert_array_equal(store.read("visual", slice(0, 23)), wanted)
    np.testing.assert_array_equal(store.read("visual", slice(9, 11), 1), wanted[1, 9:11])
    lost = next(each for each in sorted((path / "visual/c").rglob("*")) if each.is_file())
    lost.unlink()
    with pytest.raises(IncompleteStoreError, match=rf"object {lost.relative_to(path)} is missing"):
        store.read("visual", slice(0, 23))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"compressors": None}, "array audio must end each chunk in a CRC32C"),
        ({"dtype": "float32"}, "array audio must be float16 with shape .*, got float32"),
        ({"dimension_names": ("frame", "x")}, r"array audio must .* 'audio_feature'\), got .* 'x'\)"),
    ],
)
def test_what_does_not_fit_the_format(packed: Packed, options: dict[str, Any], message: str) -> None:
    path, _ = packed
    layout = {"chunks": (6, 3), "serializer": PLAIN[0], "compressors": [PLAIN[1]]}
    replace_array(path, "audio", **layout | options)
    with pytest.raises(StoreFormatError, match=f"^{path}: {message}"):
        PackedStore.open(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: shutil.rmtree(path / "audio"), "array audio is not in the completion record"),
        (lambda path: (path / "audio/c/0/0").unlink(), "object audio/c/0/0 is not in the completion record"),
        (
            lambda path: (path / "audio/zarr.json").write_text("{}"),
            "array audio cannot be opened: unexpected",
        ),
        (lambda path: (path / "audio/zarr.json").write_text("{"), "array audio cannot be opened: Expecting"),
        (lambda path: (path / "zarr.json").write_text("{}"), "a group without its attributes"),
        (lambda path: (path / "zarr.json").write_text('{"attributes": []}'), "without its attributes"),
        (
            lambda path: (path / "zarr.json").write_text('{"attributes": {"feature_spec": {}}}'),
            "feature spec: expected JSON with 'streams'",
        ),
    ],
)
def test_a_record_of_something_that_is_no_store(
    packed: Packed, change: Callable[[Path], object], message: str
) -> None:
    path, _ = packed
    change(path)
    record_again(path)
    with pytest.raises(StoreFormatError, match=f"^{path}: .*{message}"):
        PackedStore.open(path)


@pytest.mark.parametrize("changed", [{"fingerprint": "0" * 16}])
def test_a_record_that_contradicts_the_store(packed: Packed, changed: dict[str, Any]) -> None:
    path, _ = packed
    record_again(path, **changed)
    with pytest.raises(StoreFormatError, match="contradict each other"):
        PackedStore.open(path)


@pytest.mark.parametrize(
    ("name", "values"),
    [("row_size", [7, 0, 12, 5]), ("row_size", [7, -1, 13, 4]), ("clip_id", ["a", "b", "c", "a"])],
)
def test_a_table_that_contradicts_the_record(packed: Packed, name: str, values: list[Any]) -> None:
    path, _ = packed
    zarr.open_array(path / name, mode="r+")[:] = np.array(values)
    record_again(path)
    with pytest.raises(StoreFormatError, match="contradict each other"):
        PackedStore.open(path)


def test_metadata_is_compared_with_its_digest(packed: Packed) -> None:
    path, _ = packed
    text = (path / "audio/zarr.json").read_text()
    (path / "audio/zarr.json").write_text(text.replace("raw audio", "RAW audio"))
    with pytest.raises(CorruptFeatureError, match=r"object audio/zarr\.json is not what was written"):
        PackedStore.open(path)


def test_columns_are_read_once_and_kept_from_harm(packed: Packed) -> None:
    store = PackedStore.open(packed[0])
    sizes = store.column("row_size")
    assert sizes.tolist() == [7, 0, 12, 4]
    assert store.column("row_size") is sizes is store.row_size
    with pytest.raises(ValueError, match="read-only"):
        sizes[0] = 1
    store.read("row_size", slice(0, 4))[0] = 1
    assert store.row_size[0] == 7


def test_a_store_that_is_replaced_while_it_is_opened(
    packed: Packed, tmp_path: Path, spec: FeatureSpec, commit_clips: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = packed
    sources, features = commit_clips(tmp_path / "other", [3, 5], seed=9)
    stamps = LocalFolder.stamps
    calls: list[int] = []

    def replaced(location: LocalFolder) -> dict[str, Any]:
        calls.append(1)
        if len(calls) == 1:  # after the record was read
            pack_store(sources, spec, path, chunk_rows=2, shard_rows=6)
        return stamps(location)

    monkeypatch.setattr(LocalFolder, "stamps", replaced)
    store = PackedStore.open(path)
    assert len(calls) == 2
    np.testing.assert_array_equal(
        store.read("audio", slice(0, 8)),
        np.concatenate([each.streams["audio"] for each in features.values()]),
    )


def test_a_store_that_is_whole_again_but_another_after_opening(
    packed: Packed, tmp_path: Path, spec: FeatureSpec, commit_clips: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = packed
    sources, _ = commit_clips(tmp_path / "other", [7, 0, 12, 4], seed=9)
    column = PackedStore.column
    calls: list[str] = []

    def replaced(store: PackedStore, name: str) -> Any:
        found = column(store, name)
        calls.append(name)
        if len(calls) == 2:  # the last that opening reads
            pack_store(sources, spec, path, chunk_rows=2, shard_rows=6)
        return found

    monkeypatch.setattr(PackedStore, "column", replaced)
    store = PackedStore.open(path)
    assert store.digest == CompletionRecord.read(path).digest
    assert calls == ["clip_id", "row_size"] * 2


def test_it_pickles_by_its_place_and_its_digest(packed: Packed, tmp_path: Path) -> None:
    path, _ = packed
    store = PackedStore.open(path, memory_map=False)
    again = pickle.loads(pickle.dumps(store))
    assert (again.name, again.digest) == (store.name, store.digest)
    np.testing.assert_array_equal(again.read("audio", slice(0, 23)), store.read("audio", slice(0, 23)))
    shutil.rmtree(path)
    with pytest.raises(IncompleteStoreError, match="no feature store there"):
        pickle.loads(pickle.dumps(store))


def test_attributes_are_those_of_the_group(packed: Packed) -> None:
    path, _ = packed
    store = PackedStore.open(path)
    assert store.attributes == json.loads((path / "zarr.json").read_text())["attributes"]
    assert repr(store) == f"PackedStore('{path}', 4 clips, 23 frames)"
