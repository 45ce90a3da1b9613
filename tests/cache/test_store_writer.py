"""A store from any source of rows: checked, in bounded memory, and whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import threading
import tracemalloc
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray
import zarr

from cache import (
    CacheError,
    ClipFeatures,
    ClipKey,
    CompletionRecord,
    FeatureSpec,
    FeaturesSource,
    StaleFeatureError,
    StorageError,
    StoreFormatError,
    StreamSpec,
    pack_store,
    write_store,
)
from cache.features import FRAME_ARRAYS

SMALL = {"chunk_rows": 2, "shard_rows": 6}


class Clip:
    """A source that counts what is asked of it; rows are numbered, through arrays and views."""

    open_clips = 0

    def __init__(self, key: ClipKey, num_frames: int, **arrays: np.ndarray) -> None:
        self.key, self.num_frames, self.facts = key, num_frames, {}
        self.asked: list[tuple[str, int, int, int]] = []
        self._arrays = arrays
        Clip.open_clips += 1

    def read_into(self, array: str, view: int, start: int, out: np.ndarray) -> None:
        self.asked.append((array, view, start, len(out)))
        assert out.flags.c_contiguous
        rows = self._arrays.get(array, np.arange(self.num_frames))
        if out.dtype != np.bool_:
            rows = rows + 100 * view
        out[...] = rows[start : start + len(out)].reshape(-1, *[1] * (out.ndim - 1))

    def close(self) -> None:
        Clip.open_clips -= 1


@pytest.fixture(autouse=True)
def every_clip_is_closed() -> Iterator[None]:
    yield
    assert Clip.open_clips == 0
    # zarr has threads of its own, which stay
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("store-")]


def test_what_is_asked_of_a_source(tmp_path: Path, spec: FeatureSpec, make_key: Any) -> None:
    """Array by array, view by view, rising, each row once, one clip at a time."""
    asked: dict[str, list[tuple[str, int, int, int]]] = {}

    def clips() -> Iterator[Clip]:
        for name, size in (("a", 7), ("b", 0), ("c", 8)):
            clip = Clip(make_key(name), size)
            assert Clip.open_clips == 1
            asked[name] = clip.asked
            yield clip

    seen: list[int] = []
    write_store(clips(), spec, tmp_path / "s", progress=seen.append, **SMALL)
    assert seen == [1, 1, 1]
    assert asked["b"] == []
    for name, size in (("a", 7), ("c", 8)):
        order: list[tuple[str, int]] = []
        rows: dict[tuple[str, int], list[int]] = {}
        for array, view, start, count in asked[name]:
            if (array, view) not in rows:
                order.append((array, view))
            assert order[-1] == (array, view)  # never back to an array that was left
            rows.setdefault((array, view), []).extend(range(start, start + count))
        assert rows == {place: list(range(size)) for place in order}
        assert set(order) == {
            *((array, 0) for array in (*FRAME_ARRAYS, "visual", "audio", "text")),
            ("visual", 1),
        }


def test_rows_and_table(tmp_path: Path, spec: FeatureSpec, make_key: Any, read_raw: Any) -> None:
    found = np.array([True, False, True, True, True])
    clips = [
        Clip(
            make_key("a"), 5, time_s=np.array([0, 0.5, 1.5, 1.75, 2.0]), face_found=found, audio_found=found
        ),
        Clip(make_key("b", media_sha256="cd" * 32), 4),
    ]
    write_store(clips, spec, tmp_path / "s", **SMALL)
    numbers = np.array([*range(5), *range(4)])
    for view in (0, 1):
        np.testing.assert_array_equal(read_raw(tmp_path / "s", "visual")[view, :, 3], numbers + 100 * view)
    np.testing.assert_array_equal(read_raw(tmp_path / "s", "source_frame"), numbers)
    group = zarr.open_group(tmp_path / "s", mode="r")
    assert group["face_share"][:].tolist() == [0.8, 0.75]
    assert group["audio_s"][:].tolist() == [0.5 + 0.25 + 0.25 + 0.25, 3.0]
    assert group["media_sha256"][:].tolist() == ["ab" * 32, "cd" * 32]
    assert group["view"][:].tolist() == ["center", "flip"]
    assert group["box_edge"][:].tolist() == ["x0", "y0", "x1", "y1"]


def test_sources_of_any_kind_give_the_bytes_that_parts_give(
    tmp_path: Path, spec: FeatureSpec, commit_clips: Any, objects_of: Any
) -> None:
    sources, features = commit_clips(tmp_path / "parts", [5, 0, 9])
    pack_store(sources, spec, tmp_path / "packed", **SMALL)
    clips = [
        FeaturesSource(key, features[key.clip_id], {"codec": "h264", "index": index})
        for index, (_, key) in enumerate(sources)
    ]
    write_store(clips, spec, tmp_path / "written", **SMALL)
    assert objects_of(tmp_path / "written") == objects_of(tmp_path / "packed")


def test_the_record_lists_every_object_as_it_is(
    tmp_path: Path, spec: FeatureSpec, make_key: Any, objects_of: Any
) -> None:
    record = write_store([Clip(make_key("a"), 9)], spec, tmp_path / "s", **SMALL)
    objects = objects_of(tmp_path / "s")
    written = json.loads(objects.pop("completion/zarr.json"))["attributes"]
    assert {path: (stored.size_bytes, stored.sha256) for path, stored in record.objects.items()} == {
        path: (len(data), hashlib.sha256(data).hexdigest()) for path, data in objects.items()
    }
    assert list(record.objects) == sorted(objects)
    assert (record.fingerprint, record.num_clips, record.num_frames) == (spec.fingerprint, 1, 9)
    assert CompletionRecord.read(tmp_path / "s").digest == record.digest == written["digest"]


def test_xarray_reads_names_times_and_units(tmp_path: Path, spec: FeatureSpec, make_key: Any) -> None:
    write_store([Clip(make_key("a"), 5), Clip(make_key("b"), 3)], spec, tmp_path / "s", **SMALL)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset = xarray.open_zarr(tmp_path / "s", consolidated=False).load()
        # the CF conventions' contiguous ragged array, with their own words alone
        (sizes,) = (array for array in dataset.variables.values() if "sample_dimension" in array.attrs)
        (names,) = (array for array in dataset.variables.values() if array.attrs.get("cf_role"))
        flip = dataset.visual.sel(view="flip", frame=slice(5, 8))
        left = dataset.face_box.sel(box_edge="x0")
    assert (sizes.attrs["sample_dimension"], names.attrs["cf_role"]) == ("frame", "timeseries_id")
    assert dict(zip(names.values, sizes.values, strict=True)) == {"a": 5, "b": 3}
    assert (dataset.attrs["Conventions"], dataset.attrs["featureType"]) == ("CF-1.12", "timeSeries")
    assert dataset.attrs["title"]
    assert dataset.time_s.dtype == dataset.audio_s.dtype == np.float64
    assert (dataset.time_s.attrs["units"], dataset.audio_s.attrs["units"]) == ("s", "s")
    assert flip.values[:, 0].tolist() == [100, 101, 102]
    assert flip.time_s.values.tolist() == left.time_s.values[5:].tolist() == [0, 1, 2]
    texts = {"clip_id", "media_sha256", "clip_facts", "view", "box_edge"}
    for name, array in dataset.variables.items():
        assert array.attrs["long_name"]
        assert ("units" in array.attrs) == (name not in texts)


def test_without_a_visual_stream_there_are_no_views(tmp_path: Path, make_key: Any) -> None:
    spec = FeatureSpec(streams=(StreamSpec(name="audio", num_features=2),), settings={})
    write_store([Clip(make_key("a", spec), 3)], spec, tmp_path / "s")
    assert "view" not in zarr.open_group(tmp_path / "s", mode="r")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"time_s": np.array([0.0, 1.0, 1.0])},
            "time_s must rise strictly, got 1.0 s at row 1 and 1.0 s after it",
        ),
        ({"time_s": np.array([0.0, np.nan, 1.0])}, "time_s must be finite, got nan at row 1"),
        ({"face_box": np.array([0.0, 1.0, np.inf])}, "face_box must be finite, got inf at row 2"),
        ({"face_score": np.array([0.0, np.nan, 1.0])}, "face_score must be finite, got nan at row 1"),
    ],
)
def test_impossible_rows(
    tmp_path: Path, spec: FeatureSpec, make_key: Any, arrays: dict[str, np.ndarray], message: str
) -> None:
    with pytest.raises(StoreFormatError, match=f"clip 'a' cannot be stored: {message}"):
        write_store([Clip(make_key("a"), 3, **arrays)], spec, tmp_path / "s", **SMALL)
    assert os.listdir(tmp_path) == []


def test_clips_that_do_not_belong(tmp_path: Path, spec: FeatureSpec, make_key: Any) -> None:
    with pytest.raises(CacheError, match="clip 'a' is listed twice"):
        write_store([Clip(make_key("a"), 3), Clip(make_key("a"), 2)], spec, tmp_path / "s", **SMALL)
    stale = replace(make_key("b"), fingerprint="0" * 16)
    with pytest.raises(
        StaleFeatureError, match=f"clip 'b' was extracted with spec {'0' * 16}, the store asks"
    ):
        write_store(iter([Clip(make_key("a"), 3), Clip(stale, 2)]), spec, tmp_path / "s", **SMALL)
    (tmp_path / "s").write_text("thesis")
    with pytest.raises(StoreFormatError, match="expected a feature store or nothing"):
        write_store([], spec, tmp_path / "s")
    for wrong in ({"shard_rows": 3}, {"shard_rows": 0}, {"chunk_rows": 0}):
        with pytest.raises(ValueError, match="shard_rows must be a multiple of chunk_rows"):
            write_store([], spec, tmp_path / "t", **{**SMALL, **wrong})
    with pytest.raises(ValueError, match="must not use the store's own names, got featureType, title"):
        write_store([], spec, tmp_path / "t", attributes={"title": "mine", "featureType": "point", "a": 1})
    assert os.listdir(tmp_path) == ["s"]


@pytest.mark.parametrize("array", ["time_s", "audio"])
def test_errors_of_the_system_while_reading_are_not_blamed_on_the_destination(
    tmp_path: Path, spec: FeatureSpec, make_key: Any, array: str
) -> None:
    class Unreadable(Clip):
        def read_into(self, name: str, view: int, start: int, out: np.ndarray) -> None:
            super().read_into(name, view, start, out)
            if name == array:
                raise OSError(errno.EIO, os.strerror(errno.EIO))

    with pytest.raises(
        StorageError, match=r"cannot read clip 'a': .*Input/output error; no store was written"
    ):
        write_store([Unreadable(make_key("a"), 3)], spec, tmp_path / "s", **SMALL)

    def missing() -> Iterator[Clip]:
        yield Clip(make_key("a"), 3)
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "b.npz")

    with pytest.raises(StorageError, match=r"cannot read the next clip: .*Permission denied: 'b\.npz'"):
        write_store(missing(), spec, tmp_path / "s", **SMALL)
    assert os.listdir(tmp_path) == []


def test_blocks_of_wide_streams_are_few(tmp_path: Path) -> None:
    """A chunk of 49 MiB: one that is filled and two on their way, and small buffers for all other arrays."""
    spec = FeatureSpec(streams=(StreamSpec(name="wide", num_features=25_088),), settings={})
    chunk_bytes = 1024 * 25_088 * 2
    write_store([], spec, tmp_path / "s")  # imports zarr
    tracemalloc.start()
    write_store([], spec, tmp_path / "s")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 3 * chunk_bytes < peak < 3.2 * chunk_bytes


def test_threads_that_cannot_be_started_are_an_error_of_the_system(
    tmp_path: Path, spec: FeatureSpec, make_key: Any, objects_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_store([Clip(make_key("a"), 3)], spec, tmp_path / "s", **SMALL)
    before = objects_of(tmp_path / "s")

    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        with pytest.raises(StorageError, match=r"can't start new thread.* before is untouched"):
            write_store([], spec, tmp_path / "s", **SMALL)
    assert objects_of(tmp_path / "s") == before


@pytest.mark.parametrize("lengths", [[60_000], [20] * 3000])
def test_memory_holds_a_few_chunks(tmp_path: Path, make_key: Any, lengths: list[int]) -> None:
    """However long a clip is, and however many there are: of 64 MB in shards of 32 MB."""
    spec = FeatureSpec(streams=(StreamSpec(name="audio", num_features=512),), settings={})
    sizes = {"chunk_rows": 64, "shard_rows": 32768}
    chunk_bytes = 64 * 512 * 2
    write_store([Clip(make_key("first", spec), 1)], spec, tmp_path / "first", **sizes)  # imports zarr

    def clips() -> Iterator[Clip]:
        for index, length in enumerate(lengths):
            yield Clip(make_key(f"v{index}", spec), length)

    tracemalloc.start()
    write_store(clips(), spec, tmp_path / "s", **sizes)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (tmp_path / "s" / "audio" / "c" / "0" / "0").stat().st_size > 32 * 2**20
    # 13 buffers of 256 KiB, and the longest clip's arrays beside its streams, 38 bytes a row
    assert peak < 150 * chunk_bytes


def test_features_of_two_kinds_of_clip(
    tmp_path: Path, spec: FeatureSpec, make_key: Any, make_features: Any, read_raw: Any
) -> None:
    """A clip in memory after one from elsewhere: rows meet within a chunk."""
    features: ClipFeatures = make_features(4)
    clips = [Clip(make_key("a"), 3), FeaturesSource(make_key("b"), features, {})]
    write_store(clips, spec, tmp_path / "s", **SMALL)
    np.testing.assert_array_equal(read_raw(tmp_path / "s", "visual")[:, 3:], features.streams["visual"])
    np.testing.assert_array_equal(read_raw(tmp_path / "s", "time_s")[3:], features.time_s)
