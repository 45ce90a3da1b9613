"""What a store says of itself, against sums over the features that went into it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cache import ClipFeatures, FeatureStore, IncompleteStoreError, PartStore, pack_store
from cache import store_info as store_info_module
from cache.store_info import store_info


def test_sums(packed: tuple[Path, dict[str, ClipFeatures]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_info_module, "_BLOCK_ROWS", 5)  # clips go across blocks
    path, features = packed
    info = store_info(path)
    clips = list(features.values())
    assert (info.num_clips, info.num_frames) == (4, 23)
    assert info.frames_per_clip == (0, 7, 12)
    wanted_s = sum(
        clip.time_s[-1] - clip.time_s[0] + clip.time_s[-1] - clip.time_s[-2]
        for clip in clips
        if clip.num_frames
    )
    assert info.duration_s == pytest.approx(wanted_s, rel=1e-12)
    assert info.face_share == pytest.approx(sum(int(clip.face_found.sum()) for clip in clips) / 23)
    sound_s = 0.0
    for clip in clips:
        for row in range(clip.num_frames):
            begin = min(row, clip.num_frames - 2)
            sound_s += float(clip.time_s[begin + 1] - clip.time_s[begin]) * clip.audio_found[row]
    assert info.audio_s == pytest.approx(sound_s, rel=1e-12)
    files = [file for file in path.rglob("*") if file.is_file()]
    assert info.num_objects == len(files) - 1
    assert info.num_bytes == sum(file.stat().st_size for file in files if "completion" not in file.parts)
    store = FeatureStore.open(path)
    assert (info.digest, info.spec) == (store.digest, store.spec)
    assert set(info.chunk_rows.values()) == {2}
    assert set(info.shard_rows.values()) == {6}
    assert info.code_digests == {"": 4}


def test_provenance_and_attributes(tmp_path: Path, spec: Any, make_features: Any, make_key: Any) -> None:
    parts = PartStore(tmp_path / "parts")
    sources = []
    for name, code in (("a", "c1"), ("b", "c2"), ("c", "c2")):
        parts.commit(make_key(name), make_features(1), {"code_digest": code, "machine": "cpu"})
        sources.append((parts, make_key(name)))
    pack_store(sources, spec, tmp_path / "s.zarr", attributes={"corpus": "mine"})
    info = store_info(tmp_path / "s.zarr")
    assert list(info.code_digests.items()) == [("c2", 2), ("c1", 1)]
    assert info.machines == {"cpu": 3}
    assert info.attributes == {"corpus": "mine"}
    assert info.duration_s == 0.0  # of a single row nobody knows how long it lasts
    mapping = json.loads(json.dumps(info.to_mapping()))
    assert mapping["fingerprint"] == spec.fingerprint
    assert mapping["feature_spec"] == json.loads(spec.to_json())
    assert mapping["frames_per_clip"] == {"shortest": 1, "median": 1, "longest": 1}


def test_a_store_without_clips(tmp_path: Path, spec: Any) -> None:
    pack_store([], spec, tmp_path / "s.zarr")
    info = store_info(tmp_path / "s.zarr")
    assert (info.num_clips, info.duration_s, info.face_share, info.audio_s) == (0, 0.0, 0.0, 0.0)


def test_no_store(tmp_path: Path) -> None:
    with pytest.raises(IncompleteStoreError, match="no feature store there"):
        store_info(tmp_path / "s.zarr")
