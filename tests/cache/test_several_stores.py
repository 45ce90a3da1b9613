"""Several stores as one: the same rows as if they had been packed together."""

from __future__ import annotations

import hashlib
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cache import (
    CacheError,
    ClipFeatures,
    FeatureSpec,
    FeatureStore,
    IncompleteStoreError,
    PartStore,
    StaleFeatureError,
    StoreFormatError,
    UnknownClipError,
    pack_store,
)
from cache.features import FRAME_ARRAYS

Packed = tuple[Path, dict[str, ClipFeatures]]


@pytest.fixture
def pair(
    tmp_path: Path, make_features: Any, make_key: Any, spec: FeatureSpec
) -> tuple[list[Path], dict[str, ClipFeatures]]:
    """Three stores of one spec, the middle one without a row, and the features by clip."""
    paths, features = [], {}
    for name, counts in (("a", [7, 0, 12]), ("b", [0]), ("c", [4, 5])):
        parts, sources = PartStore(tmp_path / name / "parts"), []
        for index, count in enumerate(counts):
            key = make_key(f"{name}_clip_{index}")
            features[key.clip_id] = make_features(count, seed=ord(name) + index)
            parts.commit(key, features[key.clip_id], {})
            sources.append((parts, key))
        pack_store(sources, spec, tmp_path / name / "s.zarr", chunk_rows=2, shard_rows=6)
        paths.append(tmp_path / name / "s.zarr")
    return paths, features


def test_several_stores_as_one(pair: tuple[list[Path], dict[str, ClipFeatures]]) -> None:
    paths, features = pair
    store = FeatureStore.open(*paths)
    assert store.clip_ids == tuple(features)
    assert (len(store), store.num_frames, store.row_size.tolist()) == (6, 28, [7, 0, 12, 0, 4, 5])
    assert store.paths == tuple(map(str, paths))
    assert store.where == ", ".join(map(str, paths))
    assert (
        FeatureStore.open(paths).clip_ids == FeatureStore.open(paths[:2], paths[2]).clip_ids == store.clip_ids
    )
    loaded = store.load()
    for name in FRAME_ARRAYS:
        wanted = np.concatenate([getattr(each, name) for each in features.values()])
        np.testing.assert_array_equal(getattr(loaded, name), wanted)
        for start in range(29):
            for stop in range(start, 29):
                np.testing.assert_array_equal(store.read(name, slice(start, stop)), wanted[start:stop])
    visual = np.concatenate([each.streams["visual"] for each in features.values()], axis=1)
    np.testing.assert_array_equal(loaded.streams["visual"], visual)
    np.testing.assert_array_equal(store.read("visual", slice(17, 22)), visual[:, 17:22])
    np.testing.assert_array_equal(store.read("visual", slice(17, 22), 1), visual[1, 17:22])
    batch = np.full((2, 2, 5, visual.shape[2]), 7, np.float16)
    store.read_into(batch[0], "visual", 17)
    store.read_into(batch[1, 1], "visual", 17, 1)
    np.testing.assert_array_equal(batch[0], visual[:, 17:22])
    np.testing.assert_array_equal(batch[1, 1], visual[1, 17:22])
    assert (batch[1, 0] == 7).all()
    assert store.read("clip_id", slice(1, 5)).tolist() == list(features)[1:5]
    assert store.read("row_size", slice(0, 6)).tolist() == [7, 0, 12, 0, 4, 5]
    for clip, each in features.items():
        np.testing.assert_array_equal(store[clip].visual, each.streams["visual"])
        assert store[clip].key.clip_id == clip
        assert store[clip].media_sha256 == "ab" * 32


def test_digest_of_several_stores(pair: tuple[list[Path], dict[str, ClipFeatures]]) -> None:
    paths, _ = pair
    digests = [FeatureStore.open(path).digest for path in paths]
    wanted = hashlib.sha256("\n".join(digests).encode()).hexdigest()
    assert FeatureStore.open(*paths).digest == wanted
    assert FeatureStore.open(*paths[::-1]).digest != wanted


def test_a_clip_that_two_stores_have(packed: Packed, tmp_path: Path) -> None:
    path, _ = packed
    shutil.copytree(path, tmp_path / "copy")
    with pytest.raises(
        CacheError, match=rf"^clip 'clip_0' is in {path} and in {tmp_path}/copy; .* share a clip"
    ):
        FeatureStore.open(path, tmp_path / "copy")
    with pytest.raises(ValueError, match="at least one path, got none"):
        FeatureStore.open()
    with pytest.raises(ValueError, match="at least one path, got none"):
        FeatureStore.open([])


def test_stores_of_two_specs_are_not_mixed(
    packed: Packed, tmp_path: Path, spec: FeatureSpec, commit_clips: Any
) -> None:
    path, _ = packed
    other = FeatureSpec(streams=spec.streams, settings={**spec.settings, "audio.anchor": "end"})
    sources, _ = commit_clips(tmp_path / "other", [3], spec=other)
    pack_store(sources, other, tmp_path / "other.zarr")
    with pytest.raises(StaleFeatureError) as caught:
        FeatureStore.open(path, tmp_path / "other.zarr")
    assert str(caught.value) == (
        f"{path} was extracted with spec {spec.fingerprint}, {tmp_path}/other.zarr with {other.fingerprint}; "
        f"audio.anchor: 'center' in {path}, 'end' in {tmp_path}/other.zarr; stores that are opened as one, "
        "or merged, must have one spec: extract one of them again"
    )


def test_rows_that_are_not_there(packed: Packed, pair: tuple[list[Path], dict[str, ClipFeatures]]) -> None:
    for store in (FeatureStore.open(packed[0]), FeatureStore.open(*pair[0])):
        total = store.num_frames
        for start, stop in [(-1, 2), (3, 2), (0, total + 1), (total + 1, total + 1)]:
            with pytest.raises(
                ValueError, match=f"rows of audio must lie in 0 to {total}, got {start} to {stop}"
            ):
                store.read("audio", slice(start, stop))
        with pytest.raises(StoreFormatError, match=r"no array 'pose' \(arrays: visual, audio, text, time_s"):
            store.read("pose", slice(0, 1))
        with pytest.raises(ValueError, match="view of visual must be 0 to 1, got 2"):
            store.read("visual", slice(0, 1), 2)
        with pytest.raises(ValueError, match="view of audio must be None, it has no views, got 0"):
            store.read("audio", slice(0, 1), 0)


@pytest.mark.parametrize("memory_map", [True, False])
def test_loading_some_clips(pair: tuple[list[Path], dict[str, ClipFeatures]], memory_map: bool) -> None:
    paths, features = pair
    store = FeatureStore.open(*paths, memory_map=memory_map)
    chosen = ("c_clip_1", "a_clip_0", "a_clip_1", "a_clip_2", "b_clip_0")
    loaded = store.load(chosen, ["text", "visual"])
    assert loaded.clip_ids == chosen
    assert loaded.row_size.tolist() == [5, 7, 0, 12, 0]
    assert loaded.row_start.tolist() == [0, 5, 12, 12, 24]
    assert list(loaded.streams) == ["text", "visual"]
    wanted = [features[clip] for clip in chosen]
    np.testing.assert_array_equal(
        loaded.streams["visual"], np.concatenate([each.streams["visual"] for each in wanted], axis=1)
    )
    np.testing.assert_array_equal(
        loaded.streams["text"], np.concatenate([each.streams["text"] for each in wanted])
    )
    for name in FRAME_ARRAYS:
        np.testing.assert_array_equal(
            getattr(loaded, name), np.concatenate([getattr(each, name) for each in wanted])
        )
    nothing = store.load([])
    assert nothing.clip_ids == ()
    assert nothing.streams["visual"].shape == (2, 0, 5)
    with pytest.raises(UnknownClipError, match="has no clip 'd'"):
        store.load(["a_clip_0", "d"])
    with pytest.raises(StoreFormatError, match="has no stream 'pose'"):
        store.load(streams=["pose"])
    with pytest.raises(ValueError, match="named once each, got 'c_clip_1' twice"):
        store.load(["c_clip_1", "a_clip_0", "c_clip_1"])


def test_it_pickles_by_its_paths(
    pair: tuple[list[Path], dict[str, ClipFeatures]], tmp_path: Path, commit_clips: Any, spec: FeatureSpec
) -> None:
    paths, features = pair
    store = FeatureStore.open(*paths)
    pickled = pickle.dumps((store, store["c_clip_0"].window(1, 3)))
    assert len(pickled) < 5000  # places, no rows
    again, window = pickle.loads(pickled)
    assert (again.clip_ids, again.digest) == (store.clip_ids, store.digest)
    np.testing.assert_array_equal(again["a_clip_2"].audio, features["a_clip_2"].streams["audio"])
    np.testing.assert_array_equal(window.audio, features["c_clip_0"].streams["audio"][1:3])
    sources, _ = commit_clips(tmp_path / "new", [3])
    pack_store(sources, spec, paths[2])
    with pytest.raises(IncompleteStoreError, match=f"^{paths[2]} was replaced since this reference"):
        pickle.loads(pickled)
