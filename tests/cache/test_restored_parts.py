"""Parts made again from a store: the same bytes as those that it was packed from."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from cache import ClipKey, CorruptFeatureError, FeatureStore, PartStore, pack_store, restored_parts
from cache.part_reader import PartReader
from cache.restored_parts import restore_parts


@pytest.mark.parametrize("block_bytes", [1, 100, 2**22])
def test_the_same_bytes(
    packed: Any, tmp_path: Path, objects_of: Any, monkeypatch: pytest.MonkeyPatch, block_bytes: int
) -> None:
    monkeypatch.setattr(restored_parts, "_BLOCK_BYTES", block_bytes)
    seen: list[int] = []
    parts = PartStore(tmp_path / "other")
    done = restore_parts(FeatureStore.open(packed[0]), parts, progress=seen.append)
    assert seen == [1] * 4
    assert [key.clip_id for key, _ in done.restored] == list(packed[1])
    assert [facts["index"] for _, facts in done.restored] == [0, 1, 2, 3]
    assert done.kept == ()
    found = objects_of(tmp_path / "other")
    spec = FeatureStore.open(packed[0]).spec
    assert found.pop(f"{spec.fingerprint}/spec.json") == spec.to_json().encode()
    assert found == objects_of(tmp_path / "parts")
    sources = [(parts, key) for key, _ in done.restored]
    record = pack_store(sources, spec, tmp_path / "again.zarr", chunk_rows=2, shard_rows=6)
    assert record.digest == FeatureStore.open(packed[0]).digest


def test_what_is_there_stays_unless_it_is_damaged(
    packed: Any, tmp_path: Path, make_features: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FeatureStore.open(packed[0])
    shutil.copytree(tmp_path / "parts", tmp_path / "other")
    parts = PartStore(tmp_path / "other")
    whole, newer, gone, damaged = (store[clip].key for clip in store)
    parts.commit(newer, make_features(5), {"code_digest": "newer"})
    parts.discard(gone)
    parts.path(damaged).write_bytes(parts.path(damaged).read_bytes()[:100])
    opened: list[ClipKey] = []
    real = PartStore.open

    def open_part(self: PartStore, key: ClipKey) -> PartReader:
        opened.append(key)
        return real(self, key)

    with monkeypatch.context() as patch:
        patch.setattr(PartStore, "open", open_part)
        done = restore_parts(store, parts)
    assert opened == [whole, newer, gone, damaged]
    assert [key for key, _ in done.restored] == [gone, damaged]
    assert [key for key, _ in done.kept] == [whole, newer]
    assert done.kept[1][1] == {"code_digest": "newer"}
    assert parts.facts(newer) == {"code_digest": "newer"}
    assert parts.read(damaged).features.num_frames == 4


def test_a_damaged_store_restores_no_wrong_part(packed: Any, tmp_path: Path) -> None:
    path, _ = packed
    shard = path / "audio" / "c" / "1" / "0"
    data = bytearray(shard.read_bytes())
    data[17] ^= 1  # chunk 1: rows 8 and 9, of clip_2
    shard.write_bytes(data)
    parts = PartStore(tmp_path / "other")
    with pytest.raises(CorruptFeatureError, match="audio/c/1/0"):
        restore_parts(FeatureStore.open(path), parts)
    found = sorted(file.name for file in (tmp_path / "other").rglob("*.npz"))
    assert found == sorted(
        parts.path(FeatureStore.open(path)[clip].key).name for clip in ("clip_0", "clip_1")
    )
