"""Stores put together: what packing all their parts at once would have given."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any

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
    StoreFormatError,
    merge_stores,
    pack_store,
)

SMALL = {"chunk_rows": 2, "shard_rows": 6}


@pytest.fixture
def sources(tmp_path: Path, commit_clips: Any) -> list[Any]:
    """Parts of five clips, two without a row."""
    found, _ = commit_clips(tmp_path / "parts", [7, 0, 12, 0, 3])
    return list(found)


def pack(sources: list[Any], spec: FeatureSpec, path: Path, **options: Any) -> FeatureStore:
    pack_store(sources, spec, path, **{**SMALL, **options})
    return FeatureStore.open(path)


@pytest.mark.parametrize("cuts", [[], [2], [1, 2, 4]])
def test_bytes_are_those_of_packing_all_at_once(
    tmp_path: Path, spec: FeatureSpec, sources: list[Any], objects_of: Any, cuts: list[int]
) -> None:
    edges = [0, *cuts, len(sources)]
    stores = [
        pack(sources[first:last], spec, tmp_path / f"{first}") for first, last in itertools.pairwise(edges)
    ]
    whole = pack(sources, spec, tmp_path / "whole")
    seen: list[int] = []
    record = merge_stores(stores, tmp_path / "merged", progress=seen.append)
    assert objects_of(tmp_path / "merged") == objects_of(tmp_path / "whole")
    assert record.digest == whole.digest
    assert len(seen) == len(sources)


def test_stores_opened_as_one_and_in_another_order(
    tmp_path: Path, spec: FeatureSpec, sources: list[Any], objects_of: Any
) -> None:
    for name, parts in (("a", sources[:2]), ("b", sources[2:]), ("ba", sources[2:] + sources[:2])):
        pack(parts, spec, tmp_path / name)
    merge_stores([FeatureStore.open(tmp_path / "b", tmp_path / "a")], tmp_path / "merged")
    assert objects_of(tmp_path / "merged") == objects_of(tmp_path / "ba")


@pytest.mark.parametrize(
    "options", [{}, {"chunk_rows": 1024, "shard_rows": None}, {"chunk_rows": 3, "shard_rows": None}]
)
def test_a_store_alone_is_copied(
    tmp_path: Path, spec: FeatureSpec, sources: list[Any], objects_of: Any, options: dict[str, Any]
) -> None:
    store = pack(sources, spec, tmp_path / "a", attributes={"corpus": {"name": "x"}}, **options)
    merge_stores([store], tmp_path / "merged")
    assert objects_of(tmp_path / "merged") == objects_of(tmp_path / "a")
    merge_stores([store], tmp_path / "a")  # over itself, too
    assert objects_of(tmp_path / "merged") == objects_of(tmp_path / "a")


def test_stores_of_different_chunks_get_the_usual_ones(
    tmp_path: Path, spec: FeatureSpec, sources: list[Any], objects_of: Any
) -> None:
    usual: dict[str, Any] = {"chunk_rows": 1024, "shard_rows": None}
    stores = [pack(sources[:2], spec, tmp_path / "a"), pack(sources[2:], spec, tmp_path / "b", **usual)]
    pack(sources, spec, tmp_path / "whole", **usual)
    merge_stores(stores, tmp_path / "merged")
    assert objects_of(tmp_path / "merged") == objects_of(tmp_path / "whole")


def test_attributes_stay_where_all_agree(tmp_path: Path, spec: FeatureSpec, sources: list[Any]) -> None:
    stores = [
        pack(sources[:1], spec, tmp_path / "a", attributes={"x": [1], "y": 1, "z": 1}),
        pack(sources[1:], spec, tmp_path / "b", attributes={"x": [1], "y": 1.0}),
    ]
    merge_stores(stores, tmp_path / "merged")
    attributes = dict(zarr.open_group(tmp_path / "merged", mode="r").attrs)
    assert {name: attributes[name] for name in "xyz" if name in attributes} == {"x": [1]}


def test_another_spec(tmp_path: Path, spec: FeatureSpec, sources: list[Any], commit_clips: Any) -> None:
    other = FeatureSpec(streams=spec.streams, settings={**spec.settings, "audio.anchor": "end"})
    more, _ = commit_clips(tmp_path / "more", [3], spec=other)
    stores = [pack(sources, spec, tmp_path / "a"), pack(more, other, tmp_path / "b")]
    message = f"/a was extracted with spec {spec.fingerprint}, .*/b with {other.fingerprint}; audio.anchor: "
    with pytest.raises(StaleFeatureError, match=message + "'center' in .*/a, 'end' in .*/b; stores"):
        merge_stores(stores, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_a_clip_twice(tmp_path: Path, spec: FeatureSpec, sources: list[Any]) -> None:
    stores = [pack(sources[:3], spec, tmp_path / "a"), pack(sources[2:], spec, tmp_path / "b")]
    with pytest.raises(
        CacheError, match=r"clip 'clip_2' is in .*/a and in .*/b; stores that are opened as one, or merged"
    ):
        merge_stores(stores, tmp_path / "merged")
    with pytest.raises(CacheError, match=r"clip 'clip_0' is in .*/a and in .*/a"):
        merge_stores([stores[0], stores[0]], tmp_path / "merged")
    with pytest.raises(CacheError, match="at least one store"):
        merge_stores([], tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_damage_is_not_merged(tmp_path: Path, spec: FeatureSpec, sources: list[Any], objects_of: Any) -> None:
    stores = [pack(sources[:2], spec, tmp_path / "a"), pack(sources[2:], spec, tmp_path / "b")]
    shard = tmp_path / "b" / "visual" / "c" / "1" / "1" / "0"
    data = bytearray(shard.read_bytes())
    data[5] ^= 1
    shard.write_bytes(data)
    pack(sources[:1], spec, tmp_path / "merged")
    before = objects_of(tmp_path / "merged")
    store = FeatureStore.open(tmp_path / "b")
    with pytest.raises(
        CorruptFeatureError, match=r"array visual is damaged .*visual/c/1/1/0.* clip 'clip_2'"
    ):
        merge_stores([stores[0], store], tmp_path / "merged")
    assert objects_of(tmp_path / "merged") == before
    assert sorted(os.listdir(tmp_path)) == ["a", "b", "merged", "parts"]


def test_clips_that_do_not_say_what_they_were_made_from(
    tmp_path: Path, spec: FeatureSpec, make_features: Any, make_key: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    features: ClipFeatures = make_features(2)
    parts = PartStore(tmp_path / "parts")
    parts.commit(make_key("a"), features, {})
    monkeypatch.setattr("cache.clip_table.canonical_json", lambda value: "{}")
    store = pack([(parts, make_key("a"))], spec, tmp_path / "a")
    with pytest.raises(StoreFormatError, match="/a: clip 'a': clip_facts does not say what it was made from"):
        merge_stores([store], tmp_path / "merged")
    with pytest.raises(StoreFormatError, match="clip 'a': clip_facts does not say what it was made from"):
        _ = store["a"].key
