"""A long span without a face, whose chunks are all zeros: read as such, and missed when they are lost."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import pytest
import zarr

from cache import (
    ClipFeatures,
    CorruptFeatureError,
    FeatureSpec,
    FeatureStore,
    PartStore,
    pack_store,
)
from cache.features import FRAME_ARRAYS


@pytest.fixture(scope="module")
def long_clip(make_features: Any) -> ClipFeatures:
    """104,000 rows, of which 100,000 in a row have no face."""
    rows = np.concatenate([np.arange(2_000), np.full(100_000, -1), np.arange(2_000, 4_000)])
    ends, found = make_features(4_000, seed=1), rows >= 0
    streams = {name: each.take(rows, axis=-2) for name, each in ends.streams.items()}
    streams["visual"][:, ~found] = 0
    arrays = {name: getattr(ends, name)[rows] for name in FRAME_ARRAYS}
    arrays["face_found"] &= found
    return ClipFeatures(streams=streams, **arrays | {"time_s": np.arange(104_000) / 25})


@pytest.fixture(scope="module")
def faceless(
    tmp_path_factory: pytest.TempPathFactory, long_clip: ClipFeatures, make_key: Any, spec: FeatureSpec
) -> Path:
    """The long clip, in the chunks and shards that every store has."""
    directory = tmp_path_factory.mktemp("faceless")
    parts = PartStore(directory / "parts")
    parts.commit(make_key("clip"), long_clip, {})
    pack_store([(parts, make_key("clip"))], spec, directory / "s.zarr")
    return directory / "s.zarr"


@pytest.mark.parametrize("memory_map", [True, False])
def test_a_hundred_thousand_rows_without_a_face(
    faceless: Path, long_clip: ClipFeatures, memory_map: bool
) -> None:
    wanted = long_clip.streams["visual"]
    store = FeatureStore.open(faceless, memory_map=memory_map)
    np.testing.assert_array_equal(store.load(streams=["visual"]).streams["visual"], wanted)
    assert not store["clip"].window(50_000, 50_300).visual.any()
    np.testing.assert_array_equal(store["clip"].window(101_900, 102_200).visual, wanted[:, 101_900:102_200])


@pytest.mark.parametrize("memory_map", [True, False])
def test_a_lost_chunk_of_zeros_is_damage(faceless: Path, tmp_path: Path, memory_map: bool) -> None:
    path = tmp_path / "s.zarr"
    shutil.copytree(faceless, path)
    shard = path / "visual/c/1/0/0"
    data = bytearray(shard.read_bytes())
    chunks = json.loads((path / "visual/zarr.json").read_text())["chunk_grid"]["configuration"][
        "chunk_shape"
    ][1]
    index = len(data) - 4 - 16 * (chunks // 1024)
    data[index + 16 * 50 : index + 16 * 51] = b"\xff" * 16  # chunk 50, rows 51,200 to 52,223
    data[-4:] = google_crc32c.value(bytes(data[index:-4])).to_bytes(4, "little")
    shard.write_bytes(data)
    assert not zarr.open_array(path / "visual", mode="r")[1, 51_200:52_224].any()  # silently, says zarr
    store = FeatureStore.open(path, memory_map=memory_map)
    message = (
        f"^{path}: array visual is damaged in chunk 50 of object visual/c/1/0/0 \\(rows 51200 to 52223, "
        "first of clip 'clip'\\): its index says that it was never written"
    )
    with pytest.raises(CorruptFeatureError, match=message):
        store.read("visual", slice(51_200, 51_201), 1)
    with pytest.raises(CorruptFeatureError, match=message):
        store.load()
