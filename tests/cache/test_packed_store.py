"""Opening one store: what has to fit, what may differ from our own layout, and what happens meanwhile."""

from __future__ import annotations

import hashlib
import json
import pickle
import re
import shutil
import subprocess
import sys
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
    packed_store,
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
        ({"compressors": None}, "array audio must end each chunk and each index in a CRC32C"),
        (
            {
                "compressors": None,
                "serializer": ShardingCodec(chunk_shape=(2, 3), codecs=PLAIN, index_codecs=PLAIN[:1]),
            },
            "array audio must end each chunk and each index in a CRC32C",
        ),
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
    assert store.row_start.tolist() == [0, 7, 7, 19]
    assert not store.row_start.flags.writeable


def test_a_store_that_is_replaced_while_it_is_opened(
    packed: Packed, tmp_path: Path, spec: FeatureSpec, commit_clips: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = packed
    sources, features = commit_clips(tmp_path / "other", [3, 5], seed=9)
    stamps = LocalFolder.stamps
    calls: list[int] = []

    def replaced(location: LocalFolder) -> dict[str, Any]:
        if location.local == path:  # and not what is packed
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


def test_a_reader_between_the_two_renames_of_a_replacement(
    packed: Packed, tmp_path: Path, spec: FeatureSpec, commit_clips: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = packed
    sources, _ = commit_clips(tmp_path / "other", [3, 5], seed=9)
    new, old = path.with_name(f".{path.name}.new-{'a' * 16}"), path.with_name(f".{path.name}.old-{'a' * 16}")
    pack_store(sources, spec, new, chunk_rows=2, shard_rows=6)
    heal = packed_store.heal
    looks: list[int] = []

    def healed(store: Path) -> None:
        heal(store)
        looks.append(1)
        if len(looks) == 1:  # the store was there, and then the first rename came
            path.rename(old)

    monkeypatch.setattr(packed_store, "heal", healed)
    store = PackedStore.open(path)
    assert (store.num_clips, len(looks), new.exists()) == (2, 2, False)


def test_where_there_is_no_store_the_second_look_is_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[Path] = []
    monkeypatch.setattr(packed_store, "heal", looks.append)
    with pytest.raises(IncompleteStoreError, match="no feature store there"):
        PackedStore.open(tmp_path / "nowhere")
    assert looks == [tmp_path / "nowhere"] * 2


def test_files_may_change_their_inodes_where_they_are_not_mapped(packed: Packed) -> None:
    path, features = packed
    mapped, plain = PackedStore.open(path), PackedStore.open(path, memory_map=False)
    for file in [each for each in path.rglob("*") if each.is_file()]:
        shutil.copy2(file, file.with_name("again"))  # with its times
        file.with_name("again").replace(file)
    wanted = np.concatenate([each.streams["audio"] for each in features.values()])
    np.testing.assert_array_equal(plain.read("audio", slice(0, 23)), wanted)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(plain)).read("audio", slice(0, 23)), wanted)
    with pytest.raises(IncompleteStoreError, match="was replaced or removed while it was open"):
        mapped.read("audio", slice(0, 23))
    (path / "audio/c/0/0").touch()
    with pytest.raises(IncompleteStoreError, match="was written again"):
        plain.read("audio", slice(0, 23))


_FEW_DESCRIPTORS = """
import os, resource, sys
from cache import CacheError, CompletionRecord, CorruptFeatureError
from cache.packed_store import PackedStore

path, memory_map = sys.argv[1], sys.argv[2] == "mapped"
store = PackedStore.open(path, memory_map=memory_map)
store.read("text", slice(0, 1))  # loads what is loaded late
free = os.open(path, os.O_RDONLY)
os.close(free)
limits = resource.getrlimit(resource.RLIMIT_NOFILE)
for left in (0, 1) if memory_map else (0,):  # zarr's threads take one or several
    resource.setrlimit(resource.RLIMIT_NOFILE, (free + left, limits[1]))
    for read in (lambda: store.read("audio", slice(0, 23)), lambda: CompletionRecord.read(path)):
        try:
            read()
        except CorruptFeatureError:
            raise
        except CacheError as error:
            print(error)
        else:
            print("read")
resource.setrlimit(resource.RLIMIT_NOFILE, limits)
print(len(store.read("audio", slice(0, 23))))
"""


@pytest.mark.parametrize("way", ["mapped", "zarr"])
def test_too_few_file_descriptors_are_no_damage(packed: Packed, way: str) -> None:
    path, _ = packed
    said = subprocess.run(
        [sys.executable, "-c", _FEW_DESCRIPTORS, str(path), way],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 0, said.stderr
    *lines, last = said.stdout.splitlines()
    rows = [
        re.sub("audio/c/[0-3]/0", "ROWS", line) for line in lines
    ]  # zarr's threads: whichever comes first
    told = (
        f"{path}: object {{}} cannot be read: Too many open files; raise this process's limit of open files"
    )
    assert rows[0].startswith(told.format("ROWS"))
    assert rows[0].endswith("with 'ulimit -n'")
    assert rows[1].startswith(told.format("completion/zarr.json"))
    if way == "mapped":
        # A mapping takes a descriptor of its own before Python 3.13.
        assert rows[2] == "read" if sys.version_info >= (3, 13) else rows[2].startswith(told.format("ROWS"))
        assert rows[3] == "read"
    assert last == "23"


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
