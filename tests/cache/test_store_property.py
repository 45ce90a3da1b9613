"""Any clips, in any order and any chunks: a store is what a plain dict of numpy arrays is.

Read in three ways that share nothing: from the bytes alone by the format's description, by zarr itself, and
by `FeatureStore`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cache import ClipFeatures, FeatureSpec, FeatureStore, StreamSpec, merge_stores, pack_store
from cache.features import FRAME_ARRAYS

AUDIO = StreamSpec(name="audio", num_features=3)
STREAMS = [
    (StreamSpec(name="visual", num_features=2, views=("center",)), AUDIO),
    (
        AUDIO,
        StreamSpec(name="visual", num_features=2, views=("a", "b", "c")),
        StreamSpec(name="text", num_features=1),
    ),
    (AUDIO,),
]


def flat(features: dict[str, ClipFeatures], name: str) -> np.ndarray:
    """What an array of the store has to hold: all clips' rows, one after another."""
    if name in FRAME_ARRAYS:
        return np.concatenate([getattr(clip, name) for clip in features.values()])
    return np.concatenate([clip.streams[name] for clip in features.values()], axis=-2)


def assert_same(got: np.ndarray, wanted: np.ndarray) -> None:
    """Equal in type, shape and every bit."""
    assert (got.dtype, got.shape) == (wanted.dtype, wanted.shape)
    assert got.tobytes() == wanted.tobytes()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_store_is_what_a_dict_of_arrays_is(
    tmp_path_factory: pytest.TempPathFactory,
    commit_clips: Any,
    read_raw: Callable[[Path, str], np.ndarray],
    data: st.DataObject,
) -> None:
    chunk_rows = data.draw(st.integers(1, 4), "rows per chunk")
    shard_rows = chunk_rows * data.draw(st.integers(1, 4), "chunks per shard")
    around_an_edge = st.sampled_from([0, 1, chunk_rows, shard_rows - 1, shard_rows, shard_rows + 1])
    lengths = st.one_of(around_an_edge, st.integers(0, 3 * shard_rows + 1))
    num_frames = data.draw(st.lists(lengths, min_size=1, max_size=6), "rows of the clips")
    streams = data.draw(st.sampled_from(STREAMS), "streams")
    order = data.draw(st.permutations(range(len(num_frames))), "order of the clips")
    in_one = data.draw(st.integers(0, len(num_frames)), "clips of the first of two stores")

    directory = tmp_path_factory.mktemp("property")
    spec = FeatureSpec(streams=streams, settings={})
    sources, unordered = commit_clips(directory / "parts", num_frames, spec=spec)
    sources = [sources[index] for index in order]
    features: dict[str, ClipFeatures] = {key.clip_id: unordered[key.clip_id] for _, key in sources}
    path, halves = directory / "store", (directory / "first", directory / "second")
    sizes = {"chunk_rows": chunk_rows, "shard_rows": shard_rows}
    pack_store(sources, spec, path, **sizes)
    pack_store(sources[:in_one], spec, halves[0], **sizes)
    pack_store(sources[in_one:], spec, halves[1], **sizes)

    names = [stream.name for stream in streams]
    group = zarr.open_group(path, mode="r")
    assert group["clip_id"][:].tolist() == list(features)
    assert group["row_size"][:].tolist() == [clip.num_frames for clip in features.values()]
    for name in (*names, *FRAME_ARRAYS):
        assert_same(read_raw(path, name), flat(features, name))
        assert_same(np.asarray(group[name][...]), flat(features, name))
    one, two = FeatureStore.open(path), FeatureStore.open(*halves)
    for store in (one, two):
        check_store(store, features, names)
        row = data.draw(st.integers(0, store.num_frames), "a row")
        rows = slice(row, data.draw(st.integers(row, store.num_frames), "a row after it"))
        for name in (*names, *FRAME_ARRAYS):
            wanted = flat(features, name)
            assert_same(store.read(name, rows), wanted[:, rows] if wanted.ndim == 3 else wanted[rows])
    assert merge_stores([two], directory / "merged").digest == one.digest


def check_store(store: FeatureStore, features: dict[str, ClipFeatures], names: list[str]) -> None:
    """Clips, and the rows of each and of all."""
    loaded = store.load()
    assert store.clip_ids == loaded.clip_ids == tuple(features) == tuple(store)
    assert loaded.row_size.tolist() == [clip.num_frames for clip in features.values()]
    assert loaded.row_start.tolist() == [sum(loaded.row_size[:index]) for index in range(len(features))]
    assert list(loaded.streams) == names
    for name in (*names, *FRAME_ARRAYS):
        is_stream = name in names
        assert_same(loaded.streams[name] if is_stream else getattr(loaded, name), flat(features, name))
        for clip_id, clip in features.items():
            rows = store[clip_id]
            assert_same(
                rows.stream(name) if is_stream else getattr(rows, name),
                clip.streams[name] if is_stream else getattr(clip, name),
            )
