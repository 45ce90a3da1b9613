"""Reading: never a number that was not written, whatever happened to the store."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray
import zarr

from cache import (
    ClipFeatures,
    CompletionRecord,
    CorruptFeatureError,
    FeatureSpec,
    FeatureStore,
    IncompleteStoreError,
    StaleFeatureError,
    StoreFormatError,
    StreamSpec,
    UnknownClipError,
    pack_store,
)
from cache.features import FRAME_ARRAYS

Packed = tuple[Path, dict[str, ClipFeatures]]


def test_a_clip_is_a_range_of_rows(packed: Packed) -> None:
    path, features = packed
    store = FeatureStore.open(str(path))
    assert store.num_frames == 7 + 0 + 12 + 4
    assert [store.row_range(clip) for clip in store.clip_ids] == [
        slice(0, 7),
        slice(7, 7),
        slice(7, 19),
        slice(19, 23),
    ]
    rows = store["clip_2"]
    wanted = features["clip_2"]
    assert rows.num_frames == 12
    np.testing.assert_array_equal(rows.visual, wanted.streams["visual"])
    np.testing.assert_array_equal(rows.audio, wanted.streams["audio"])
    assert list(rows.streams) == ["visual", "audio", "text"]
    np.testing.assert_array_equal(rows.streams["text"], wanted.streams["text"])
    for name in FRAME_ARRAYS:
        np.testing.assert_array_equal(getattr(rows, name), getattr(wanted, name))
    assert rows.visual is rows.visual
    assert "clip_2" in store
    assert "clip_9" not in store
    assert len(store) == 4
    assert repr(store).endswith("4 clips, 23 frames)")
    assert repr(rows) == "ClipRows('clip_2', 12 frames)"


def test_rows_go_where_they_are_wanted(packed: tuple[Path, dict[str, ClipFeatures]]) -> None:
    path, features = packed
    store = FeatureStore.open(path)
    audio = np.concatenate([each.streams["audio"] for each in features.values()])
    batch = np.zeros((audio.shape[0] - 3, 4, audio.shape[1]), np.float16)
    for start, window in enumerate(batch):
        store.read_into(window, "audio", start)
    for start, window in enumerate(batch):
        np.testing.assert_array_equal(window, audio[start : start + 4])
    for out in (batch[0].astype(np.float32), batch[0, :, :1], batch[0, 0], batch):
        with pytest.raises(ValueError, match="rows of audio need an array of float16 with shape"):
            store.read_into(out, "audio", 0)
    with pytest.raises(ValueError, match="rows of audio must lie in 0 to 23, got 20 to 24"):
        store.read_into(batch[0], "audio", 20)
    with pytest.raises(StoreFormatError, match="has no array 'sound'"):
        store.read_into(batch[0], "sound", 0)


def test_digest_tells_stores_apart(packed: Packed, tmp_path: Path) -> None:
    path, _ = packed
    shutil.copytree(path, tmp_path / "copy")
    store = FeatureStore.open(path)
    assert FeatureStore.open(tmp_path / "copy").digest == store.digest == CompletionRecord.read(path).digest
    assert len(store.digest) == 64


def test_unknown_names(packed: Packed) -> None:
    store = FeatureStore.open(packed[0])
    with pytest.raises(UnknownClipError, match=r"features.zarr has no clip 'v9', only 4 others"):
        store["v9"]
    with pytest.raises(UnknownClipError, match="has no clip 'v9'"):
        store.row_range("v9")
    with pytest.raises(StoreFormatError, match=r"no stream 'pose' \(streams: visual, audio, text\)"):
        store["clip_0"].stream("pose")


def test_a_store_without_the_systems_own_streams(tmp_path: Path, commit_clips: Any) -> None:
    spec = FeatureSpec(streams=(StreamSpec(name="text", num_features=2),), settings={})
    sources, features = commit_clips(tmp_path / "parts", [3], spec=spec)
    pack_store(sources, spec, tmp_path / "s")
    rows = FeatureStore.open(tmp_path / "s")["clip_0"]
    np.testing.assert_array_equal(rows.stream("text"), features["clip_0"].streams["text"])
    with pytest.raises(StoreFormatError, match="no stream 'visual'"):
        _ = rows.visual


def test_loaded_arrays_are_ours_to_change(packed: Packed) -> None:
    store = FeatureStore.open(packed[0])
    loaded = store.load(progress=False)
    loaded.streams["audio"][:] = 0
    loaded.row_size[:] = 0
    store["clip_0"].audio[:] = 0
    assert store.load().streams["audio"].any()
    assert store["clip_0"].audio.any()
    assert store.row_size.sum() == 23


def test_progress_is_shown_where_asked_for(packed: Packed, capsys: pytest.CaptureFixture[str]) -> None:
    store = FeatureStore.open(packed[0])
    store.load()
    assert capsys.readouterr().err == ""
    store.load(progress=True)
    assert "100%" in capsys.readouterr().err


def test_xarray_and_zarr_read_it_without_a_warning(packed: Packed) -> None:
    path, features = packed
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset = xarray.open_zarr(path, consolidated=False).load()
        members = dict(zarr.open_group(path, mode="r").members())
    assert set(members) == {*dataset.variables, "completion"}
    assert dict(dataset.sizes) == {
        "clip": 4,
        "frame": 23,
        "view": 2,
        "visual_feature": 5,
        "audio_feature": 3,
        "text_feature": 2,
        "box_edge": 4,
    }
    assert [str(clip) for clip in dataset.clip_id.values] == list(features)
    ends = np.cumsum(dataset.row_size.values)
    rows = dataset.isel(frame=slice(ends[1], ends[2]))
    wanted = features["clip_2"]
    for name in ("visual", "audio", "text"):
        assert rows[name].dtype == np.float16
        np.testing.assert_array_equal(rows[name].values, wanted.streams[name])
    for name, (dtype, _) in FRAME_ARRAYS.items():
        assert rows[name].dtype == dtype
        np.testing.assert_array_equal(rows[name].values, getattr(wanted, name))


def test_require_spec_names_what_differs(packed: Packed, spec: FeatureSpec) -> None:
    path, _ = packed
    store = FeatureStore.open(path)
    store.require_spec(FeatureSpec.from_json(spec.to_json()), where="params.yaml")
    other = FeatureSpec(
        streams=spec.streams[:2], settings={**spec.settings, "audio.anchor": "end", "faces.margin": 0.3}
    )
    with pytest.raises(StaleFeatureError) as caught:
        store.require_spec(other, where="params.yaml")
    assert str(caught.value) == (
        f"{path} was extracted with spec {spec.fingerprint}, params.yaml asks for {other.fingerprint}; "
        "streams: ['visual', 'audio', 'text'] in the store, ['visual', 'audio'] in params.yaml; "
        "streams.text.num_features: 2 in the store, not set in params.yaml; "
        "audio.anchor: 'center' in the store, 'end' in params.yaml; "
        "faces.margin: 0.25 in the store, 0.3 in params.yaml; run 'dvc repro extract' or 'tagf extract'"
    )


def test_damage_names_store_array_and_clip(packed: Packed) -> None:
    path, _ = packed
    shard = path / "visual/c/1/2/0"  # the second view's rows 12..17 in chunks of 2: clip_2 has rows 7..18
    data = bytearray(shard.read_bytes())
    data[24 + 3] ^= 16  # within the second chunk, rows 14 and 15
    shard.write_bytes(data)
    store = FeatureStore.open(path)
    message = (
        f"^{path}: array visual is damaged in chunk 1 of object visual/c/1/2/0 \\(rows 14 to 15, first of "
        "clip 'clip_2'\\): .*checksum.*; restore it with 'dvc checkout'"
    )
    with pytest.raises(CorruptFeatureError, match=message):
        _ = store["clip_2"].visual
    with pytest.raises(CorruptFeatureError, match=message):
        store.load()
    assert store["clip_0"].visual.shape == (2, 7, 5)
    assert store["clip_2"].audio.shape == (12, 3)


def test_a_chunk_of_two_clips_is_damage_to_both(packed: Packed) -> None:
    path, _ = packed
    shard = (
        path / "audio/c/3/0"
    )  # rows 18..22: row 18 is the last of clip_2, in one chunk with the first of clip_3
    data = bytearray(shard.read_bytes())
    data[0] ^= 1
    shard.write_bytes(data)
    store = FeatureStore.open(path)
    for clip in ("clip_2", "clip_3"):
        with pytest.raises(
            CorruptFeatureError, match=f"array audio is damaged in chunk 0 .*, first of clip '{clip}'"
        ):
            _ = store[clip].audio
    with pytest.raises(
        CorruptFeatureError, match=r"array audio is damaged in chunk 0 .*, first of clip 'clip_2'"
    ):
        store.load()


def test_a_damaged_table_is_named(packed: Packed) -> None:
    path, _ = packed
    shard = path / "row_size/c/0"
    data = bytearray(shard.read_bytes())
    data[0] ^= 1
    shard.write_bytes(data)
    with pytest.raises(
        CorruptFeatureError, match=r"array row_size is damaged in chunk 0 of object row_size/c/0 .*checksum"
    ):
        FeatureStore.open(path)


def test_every_object_is_missed(packed: Packed, objects_of: Callable[[Path], dict[str, bytes]]) -> None:
    path, _ = packed
    for name, data in objects_of(path).items():
        (path / name).unlink()
        with pytest.raises(IncompleteStoreError, match=f"{name} is missing"):
            FeatureStore.open(path)
        (path / name).write_bytes(data[:-1])
        with pytest.raises(CorruptFeatureError, match=r"has .* bytes, expected|is damaged"):
            FeatureStore.open(path)
        (path / name).write_bytes(data)
    FeatureStore.open(path).load()


def test_an_object_lost_after_opening_is_missed(packed: Packed) -> None:
    path, _ = packed
    store = FeatureStore.open(path)
    (path / "audio/c/2/0").unlink()
    assert store["clip_0"].audio.shape == (7, 3)
    with pytest.raises(IncompleteStoreError, match="object audio/c/2/0 is missing"):
        _ = store["clip_2"].audio
    with pytest.raises(IncompleteStoreError, match="object audio/c/2/0 is missing"):
        store.load()
    (path / "audio/c/3/0").unlink()
    with pytest.raises(IncompleteStoreError, match="object audio/c/3/0 is missing"):
        _ = store["clip_3"].audio  # in one shard alone, the last
    (path / "time_s/c/0").write_bytes(b"short")
    with pytest.raises(CorruptFeatureError, match="object time_s/c/0 has 5 bytes, expected"):
        _ = store["clip_0"].time_s


def test_a_store_replaced_while_open_is_not_mixed_up(
    packed: Packed, tmp_path: Path, spec: FeatureSpec, commit_clips: Any
) -> None:
    path, _ = packed
    store = FeatureStore.open(path)
    rows = store["clip_2"]
    before = rows.audio.copy()
    sources, features = commit_clips(tmp_path / "other", [7, 0, 12, 4], seed=50)
    pack_store(sources, spec, path, chunk_rows=2, shard_rows=6)
    with pytest.raises(
        IncompleteStoreError, match="was replaced or removed while it was open; open it again"
    ):
        _ = rows.visual
    with pytest.raises(IncompleteStoreError, match="open it again"):
        store.load()
    np.testing.assert_array_equal(rows.audio, before)
    np.testing.assert_array_equal(
        FeatureStore.open(path)["clip_2"].audio, features["clip_2"].streams["audio"]
    )
    shutil.rmtree(path)
    with pytest.raises(IncompleteStoreError, match="open it again"):
        store.load()


def test_what_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(
        IncompleteStoreError, match=r"nowhere: no feature store there; run 'dvc repro extract'"
    ):
        FeatureStore.open(tmp_path / "nowhere")
    with pytest.raises(StoreFormatError, match="expected a feature store, got no Zarr group"):
        FeatureStore.open(tmp_path)
    zarr.create_group(tmp_path / "group")
    with pytest.raises(IncompleteStoreError, match=r"completion/zarr\.json is missing"):
        FeatureStore.open(tmp_path / "group")


def test_a_read_only_store_is_read(packed: Packed) -> None:
    path, _ = packed
    for directory, _, names in os.walk(path):
        for name in names:
            os.chmod(Path(directory, name), 0o444)
        os.chmod(directory, 0o555)
    before = sorted(path.rglob("*"))
    assert FeatureStore.open(path).load().row_size.tolist() == [7, 0, 12, 4]
    assert sorted(path.rglob("*")) == before
    for directory, _, _ in os.walk(path):
        os.chmod(directory, 0o755)


def _audio_sum(arguments: tuple[FeatureStore, str]) -> float:
    store, clip = arguments
    return float(store[clip].audio.astype(np.float64).sum())


@pytest.mark.parametrize("memory_map", [True, False])
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_worker_processes_share_it(packed: Packed, method: str, memory_map: bool) -> None:
    path, features = packed
    store = FeatureStore.open(path, memory_map=memory_map)
    _ = store["clip_0"].audio  # in use already, as when a DataLoader starts its workers
    clips = [*features] * 3
    with multiprocessing.get_context(method).Pool(2) as pool:
        found = pool.map(_audio_sum, [(store, clip) for clip in clips])
    assert found == [features[clip].streams["audio"].astype(np.float64).sum() for clip in clips]


@pytest.mark.parametrize("memory_map", [True, False])
def test_threads_share_it(packed: Packed, memory_map: bool) -> None:
    path, features = packed
    store = FeatureStore.open(path, memory_map=memory_map)
    clips = [*features] * 10
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(_audio_sum, [(store, clip) for clip in clips]))
    assert found == [features[clip].streams["audio"].astype(np.float64).sum() for clip in clips]
