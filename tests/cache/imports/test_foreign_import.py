"""Features as other toolkits leave them, and the store that is made of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from cache import CacheError, FeatureStore, SettingsError, StoreFormatError
from cache.imports import ForeignLayout, ForeignStream, import_features
from cache.verify import verify_store

Arrays = Mapping[str, np.ndarray]


def embeddings(num_rows: int, num_features: int, seed: int, dtype: str = "float32") -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((num_rows, num_features)).astype(dtype)
    rows[::5] = 0  # a row in five could not be had
    return rows


CLIPS = {
    "day/one": (embeddings(20, 4, 0), embeddings(9, 3, 1, "float64")),
    "two": (embeddings(7, 4, 2), embeddings(4, 3, 3, "float64")),
    "zwölf": (embeddings(0, 4, 4), embeddings(0, 3, 5, "float64")),
}
STREAMS = (
    ForeignStream(name="visual", path="face", rate_hz=25),
    ForeignStream(name="audio", path="sound", rate_hz=10),
)
NPY = ForeignLayout(format="npy", streams=STREAMS)


def write_npy(folder: Path, arrays: Arrays) -> Path:
    for name, array in arrays.items():
        path = folder / f"{name}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, array)
    return folder


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Two folders of npy files, and what else lies about."""
    source = tmp_path / "old"
    write_npy(source / "face", {clip: visual for clip, (visual, _) in CLIPS.items()})
    write_npy(source / "sound", {clip: audio for clip, (_, audio) in CLIPS.items()})
    (source / "face" / "README.txt").write_text("kept by somebody")
    (source / "face" / "._two.npy").write_bytes(b"a Mac was here")
    return source


def check_rows(store: Path, visual_s: Callable[[str, int], float], audio_s: Callable[[int], float]) -> None:
    """Every row by a loop: the first stream as it is, the second by the nearest time within 50 ms."""
    opened = FeatureStore.open(store)
    assert list(opened) == sorted(CLIPS)
    for clip, (visual, audio) in CLIPS.items():
        rows = opened[clip]
        assert rows.num_frames == len(visual)
        for row in range(len(visual)):
            time_s = visual_s(clip, row)
            assert rows.time_s[row] == pytest.approx(time_s, abs=1e-12)
            assert rows.visual[0, row].tolist() == visual[row].astype(np.float16).tolist()
            assert rows.face_found[row] == bool(visual[row].any())
            assert rows.face_score[row] == float(visual[row].any())
            near = [(round(abs(audio_s(other) - time_s), 9), other) for other in range(len(audio))]
            distance, nearest = min(near, default=(1.0, -1))
            found = distance <= 0.05 and bool(audio[nearest].any())
            assert rows.audio_found[row] == found
            wanted = audio[nearest] if found else np.zeros(3)
            assert rows.audio[row].tolist() == wanted.astype(np.float16).tolist()
            assert not rows.face_box[row].any()
    assert verify_store(store, deep=True).is_sound


def test_folders_of_npy_files(folders: Path, tmp_path: Path) -> None:
    seen: list[int] = []
    totals: list[int] = []
    record = import_features(folders, tmp_path / "s.zarr", NPY, progress=seen.append, total=totals.append)
    assert sum(seen) == record.num_clips == 3
    assert totals == [3]
    check_rows(tmp_path / "s.zarr", lambda clip, row: row / 25, lambda row: row / 10)
    store = FeatureStore.open(tmp_path / "s.zarr")
    assert record.digest == store.digest
    assert [(stream.name, stream.num_features, stream.views) for stream in store.spec.streams] == [
        ("visual", 4, ("center",)),
        ("audio", 3, None),
    ]
    assert store["two"].source_frame.tolist() == list(range(7))


def test_origin_is_kept(folders: Path, tmp_path: Path) -> None:
    import_features(folders, tmp_path / "s.zarr", NPY)
    store = FeatureStore.open(tmp_path / "s.zarr")
    settings = store.spec.settings
    assert settings["imported.format"] == "npy"
    assert settings["imported.visual.rate_hz"] == 25
    assert settings["imported.audio.rate_hz"] == 10
    digests = {
        name: hashlib.sha256((folders / name / "two.npy").read_bytes()).hexdigest()
        for name in ("face", "sound")
    }
    facts: Any = store["two"].facts["imported"]
    assert facts["visual"]["rows"] == {"file": "face/two.npy", "dataset": None, "sha256": digests["face"]}
    assert facts["audio"]["rows"]["sha256"] == digests["sound"]
    # One clip's files are its media: of a single one the digest is told as it is.
    alone = ForeignLayout(format="npy", streams=STREAMS[:1])
    import_features(folders, tmp_path / "alone.zarr", alone)
    assert FeatureStore.open(tmp_path / "alone.zarr")["two"].key.media_sha256 == digests["face"]
    assert store["two"].key.media_sha256 not in digests.values()


def test_other_bytes_are_another_fingerprint_unless_an_origin_is_named(folders: Path, tmp_path: Path) -> None:
    named = ForeignLayout(format="npy", streams=STREAMS, origin="toolkit 2")
    prints = {}
    for turn in ("first", "second"):
        for layout in (NPY, named):
            record = import_features(folders, tmp_path / "s.zarr", layout)
            prints[turn, layout.origin] = record.fingerprint
        write_npy(folders / "sound", {"two": embeddings(4, 3, 9)})
    assert prints["first", None] != prints["second", None]
    assert prints["first", "toolkit 2"] == prints["second", "toolkit 2"] != prints["first", None]


@pytest.mark.parametrize(("unit", "per_s"), [("s", 1), ("ms", 1000), ("frames", 25)])
def test_times_from_files(folders: Path, tmp_path: Path, unit: str, per_s: float) -> None:
    counts = {
        clip: np.cumsum(np.random.default_rng(7).integers(1, 3, len(visual))) * per_s / 25
        for clip, (visual, _) in CLIPS.items()
    }
    write_npy(folders / "times", counts)
    visual = ForeignStream(
        name="visual", path="face", times="times", rate_hz=25 if unit == "frames" else None
    )
    layout = ForeignLayout(format="npy", streams=(visual, STREAMS[1]), time_unit=unit)
    import_features(folders, tmp_path / "s.zarr", layout)
    check_rows(tmp_path / "s.zarr", lambda clip, row: float(counts[clip][row]) / per_s, lambda row: row / 10)
    frames = FeatureStore.open(tmp_path / "s.zarr")["two"].source_frame.tolist()
    assert frames == (counts["two"].tolist() if unit == "frames" else list(range(7)))


def test_an_hdf5_file_per_clip(tmp_path: Path) -> None:
    for clip, (visual, audio) in CLIPS.items():
        path = tmp_path / "old" / f"{clip}.h5"
        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(path, "w") as file:
            file["features/face"] = visual
            file["features/face"].attrs["fps"] = 25.0
            file["features/sound"] = audio
            file["sound_ms"] = np.arange(len(audio), dtype=np.int32)[:, None] * 100
    streams = (
        ForeignStream(name="visual", dataset="features/face"),
        ForeignStream(name="audio", dataset="features/sound", times="sound_ms", rate_hz=10),
    )
    layout = ForeignLayout(format="hdf5", streams=streams, time_unit="ms")
    import_features(tmp_path / "old", tmp_path / "s.zarr", layout)
    check_rows(tmp_path / "s.zarr", lambda clip, row: row / 25, lambda row: row / 10)


def test_an_hdf5_folder_per_stream_with_one_dataset_each(tmp_path: Path) -> None:
    for clip, pair in CLIPS.items():
        for folder, rows in zip(("face", "sound"), pair, strict=True):
            path = tmp_path / "old" / folder / f"{clip}.hdf5"
            path.parent.mkdir(parents=True, exist_ok=True)
            with h5py.File(path, "w") as file:
                file.create_dataset("whatever", data=rows, maxshape=(None, None), compression="gzip")
    import_features(tmp_path / "old", tmp_path / "s.zarr", ForeignLayout(format="hdf5", streams=STREAMS))
    check_rows(tmp_path / "s.zarr", lambda clip, row: row / 25, lambda row: row / 10)


def test_one_hdf5_file_with_intervals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As computational sequences are: NAME/data/CLIP/features and intervals, one file per stream.
    clips = {clip.replace("/", "-"): pair for clip, pair in CLIPS.items()}
    monkeypatch.setitem(globals(), "CLIPS", clips)
    for place, (name, rate_hz) in enumerate((("face", 25), ("sound", 10))):
        with h5py.File(tmp_path / f"{name}.csd", "w") as file:
            file.create_group("metadata")
            for clip, pair in clips.items():
                middles = np.arange(len(pair[place])) / rate_hz
                file[f"{name}/data/{clip}/features"] = pair[place]
                file[f"{name}/data/{clip}/intervals"] = np.stack([middles - 0.01, middles + 0.01], axis=1)
    streams = tuple(
        ForeignStream(
            name=name,
            path=f"{place}.csd",
            dataset=f"{place}/data/{{clip}}/features",
            times=f"{place}/data/{{clip}}/intervals",
            rate_hz=rate_hz,
        )
        for name, place, rate_hz in (("visual", "face", 25.0), ("audio", "sound", 10.0))
    )
    import_features(tmp_path, tmp_path / "s.zarr", ForeignLayout(format="hdf5", streams=streams))
    check_rows(tmp_path / "s.zarr", lambda clip, row: row / 25, lambda row: row / 10)


@pytest.mark.parametrize("dataset", [None, "rows", "{clip}/rows", "rows/{clip}"])
def test_where_clips_may_lie_in_one_hdf5_file(tmp_path: Path, dataset: str | None) -> None:
    with h5py.File(tmp_path / "all.h5", "w") as file:
        for clip in ("a", "b"):
            path = {None: clip, "rows": f"{clip}/rows"}.get(dataset, str(dataset).replace("{clip}", clip))
            file[path] = embeddings(3, 2, ord(clip))
        file.attrs["frame_rate"] = 5
        if dataset not in (None, "rows/{clip}"):
            file.create_group("notes")
    layout = ForeignLayout(format="hdf5", streams=(ForeignStream(name="face_x", dataset=dataset),))
    import_features(tmp_path / "all.h5", tmp_path / "s.zarr", layout)
    store = FeatureStore.open(tmp_path / "s.zarr")
    assert list(store) == ["a", "b"]
    assert store["b"].stream("face_x").tolist() == embeddings(3, 2, ord("b")).astype(np.float16).tolist()
    np.testing.assert_allclose(store["b"].time_s, [0, 0.2, 0.4])
    assert not store["b"].face_found.any()


def test_a_stream_of_a_high_rate_is_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cache.imports import foreign_rows

    monkeypatch.setattr(foreign_rows, "_BLOCK_BYTES", 40)
    visual, audio = embeddings(11, 1, 0), embeddings(900, 1, 1)
    write_npy(tmp_path / "face", {"a": visual})
    write_npy(tmp_path / "sound", {"a": audio})
    streams = (STREAMS[0], ForeignStream(name="audio", path="sound", rate_hz=1000))
    import_features(tmp_path, tmp_path / "s.zarr", ForeignLayout(format="npy", streams=streams))
    rows = FeatureStore.open(tmp_path / "s.zarr")["a"]
    assert rows.audio.tolist() == audio[np.arange(11) * 40].astype(np.float16).tolist()


def corrupt(folders: Path, name: str, array: object) -> None:
    np.save(folders / name, np.asarray(array), allow_pickle=True)


def save(name: str, array: object) -> Callable[[Path], None]:
    return lambda folders: corrupt(folders, name, array)


def cut_short(folders: Path) -> None:
    path = folders / "face" / "two.npy"
    path.write_bytes(path.read_bytes()[:-3])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (save("face/two.npy", np.full((7, 4), np.nan)), "two.npy: got nan at row 0: values must be finite"),
        (save("face/two.npy", np.full((7, 4), 7e4)), "got 70000.0 at row 0: float16 holds values up to"),
        (save("face/two.npy", np.ones((7, 5), "f4")), "expected 4 features per row as in .*one.npy, got 5"),
        (save("face/two.npy", np.ones(7)), r"of shape \(N, D\), got float64 of shape \(7,\)"),
        (save("face/two.npy", np.ones((1, 7, 4))), r"got float64 of shape \(1, 7, 4\)"),
        (save("face/two.npy", np.ones((7, 4), "i4")), "expected rows .* as float16, .* got int32"),
        (save("face/two.npy", np.array([{"a": 1}], object)), "two.npy: cannot be read"),
        (cut_short, "two.npy: cannot be read .* it is damaged"),
        (lambda folders: (folders / "sound" / "two.npy").unlink(), "stream 'audio' lacks 1 of 3 clips"),
        (save("sound/three.npy", np.ones((7, 3))), r"stream 'visual' lacks 1 of 4 clips .*\('three'\)"),
        (lambda folders: (folders / "sound").rename(folders / "x"), "sound: expected a folder with a file"),
    ],
)  # fmt: skip
def test_what_cannot_be_imported(
    folders: Path, tmp_path: Path, damage: Callable[[Path], object], message: str
) -> None:
    damage(folders)
    with pytest.raises(CacheError, match=message):
        import_features(folders, tmp_path / "s.zarr", NPY)
    assert not (tmp_path / "s.zarr").exists()


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([0.0, 1, 2, 3, 4, 4, 5], "times must rise strictly, got 4.0 s at row 4 and 4.0 s after it"),
        ([0.0, 1, 2, 3, 4, 5], r"a time for each of the 7 rows, .* got float64 of shape \(6,\)"),
        ([0.0, 1, 2, np.inf, 4, 5, 6], "times must be finite, got inf at row 3"),
    ],
)  # fmt: skip
def test_times_that_do_not_fit(folders: Path, tmp_path: Path, times: list[float], message: str) -> None:
    counts = {clip: np.arange(float(len(visual))) for clip, (visual, _) in CLIPS.items()}
    write_npy(folders / "times", {**counts, "two": np.array(times)})
    layout = ForeignLayout(format="npy", streams=(ForeignStream(name="visual", path="face", times="times"),))
    with pytest.raises(CacheError, match=message):
        import_features(folders, tmp_path / "s.zarr", layout)


def test_times_that_lie_inside_the_folder_of_their_rows(tmp_path: Path) -> None:
    write_npy(tmp_path, {"a": np.ones((3, 2)), "b": np.ones((2, 2))})
    write_npy(tmp_path / "times", {"a": np.arange(3.0), "b": np.arange(2.0)})
    layout = ForeignLayout(format="npy", streams=(ForeignStream(name="audio", times="times"),))
    import_features(tmp_path, tmp_path / "s.zarr", layout)
    assert list(FeatureStore.open(tmp_path / "s.zarr")) == ["a", "b"]


def test_a_rate_that_nothing_tells(folders: Path, tmp_path: Path) -> None:
    streams = (ForeignStream(name="visual", path="face"), STREAMS[1])
    with pytest.raises(
        SettingsError, match="of stream 'visual' are; give --rate visual=HZ, or --times visual="
    ):
        import_features(folders, tmp_path / "s.zarr", ForeignLayout(format="npy", streams=streams))


def test_rates_that_contradict_each_other(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "all.h5", "w") as file:
        file["a"] = np.ones((3, 2))
        file["a"].attrs["fps"] = 30
    layout = ForeignLayout(format="hdf5", streams=(ForeignStream(name="audio", rate_hz=25),))
    with pytest.raises(
        SettingsError, match=r"25 Hz by the command line, 30\.0 Hz by the dataset's attribute 'fps'"
    ):
        import_features(tmp_path / "all.h5", tmp_path / "s.zarr", layout)
    with h5py.File(tmp_path / "all.h5", "r+") as file:
        file["a"].attrs["rate"] = 25
    layout = ForeignLayout(format="hdf5", streams=(ForeignStream(name="audio"),))
    with pytest.raises(SettingsError, match="its attributes tell different rates"):
        import_features(tmp_path / "all.h5", tmp_path / "s.zarr", layout)


RATES_OF_LEVELS: list[tuple[Mapping[str, Mapping[str, float]], float | None, float | None]] = [
    # attributes of the file, the group and the dataset; the rate of the first stream, that of another
    ({"file": {"fps": 25}}, 25, None),
    ({"file": {"rate_hz": 25}}, 25, None),
    ({"file": {"rate": 25}}, None, None),
    ({"group": {"rate": 25}}, None, None),
    ({"file": {"fps": 50}, "group": {"frame_rate": 25}}, 25, None),
    ({"file": {"fps": 50}, "group": {"frame_rate": 40}, "rows": {"rate": 25}}, 25, 25),
    ({"file": {"fps": 50}, "rows": {"rate_hz": 25}}, 25, 25),
]


@pytest.mark.parametrize(("levels", "first", "other"), RATES_OF_LEVELS)
def test_the_nearest_attribute_tells_the_rate(
    tmp_path: Path, levels: Mapping[str, Mapping[str, float]], first: float | None, other: float | None
) -> None:
    with h5py.File(tmp_path / "all.h5", "w") as file:
        file["a/face"], file["a/x"] = np.ones((3, 2)), np.ones((3, 2))
        for item in (file["a/face"], file["a/x"]):
            item.attrs.update(levels.get("rows", {}))
        file["a"].attrs.update(levels.get("group", {}))
        file.attrs.update(levels.get("file", {}))
    face = ForeignStream(name="visual", dataset="{clip}/face")
    known = ForeignStream(name="visual", dataset="{clip}/face", rate_hz=25 if "rows" in levels else 10)
    for streams, wanted in (((face,), first), ((known, ForeignStream(name="x", dataset="{clip}/x")), other)):
        layout = ForeignLayout(format="hdf5", streams=streams)
        if wanted is None:
            with pytest.raises(SettingsError, match="give --rate"):
                import_features(tmp_path / "all.h5", tmp_path / "s.zarr", layout)
        else:
            import_features(tmp_path / "all.h5", tmp_path / "s.zarr", layout)
            assert FeatureStore.open(tmp_path / "s.zarr")["a"].time_s[1] == pytest.approx(1 / wanted)


def test_only_the_dataset_itself_contradicts_what_the_user_says(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "all.h5", "w") as file:
        file["a/face"], file["a/when"] = np.ones((3, 2)), [0.0, 0.1, 0.2]
        file.attrs["fps"], file["a"].attrs["fps"], file["a"].attrs["frame_rate"] = 30, 40, 50
    stream = ForeignStream(name="visual", dataset="{clip}/face", rate_hz=10)
    import_features(tmp_path / "all.h5", tmp_path / "s.zarr", ForeignLayout(format="hdf5", streams=(stream,)))
    with h5py.File(tmp_path / "all.h5", "r+") as file:
        file["a/face"].attrs["fps"], file["a/face"].attrs["rate"] = 30, 40
    # Where times are given, attributes do not matter.
    for rate_hz in (None, 10, 10.2):
        timed = ForeignStream(name="visual", dataset="{clip}/face", times="{clip}/when", rate_hz=rate_hz)
        layout = ForeignLayout(format="hdf5", streams=(timed,))
        import_features(tmp_path / "all.h5", tmp_path / "s.zarr", layout)
        np.testing.assert_allclose(FeatureStore.open(tmp_path / "s.zarr")["a"].time_s, [0, 0.1, 0.2])


@pytest.mark.parametrize(
    ("unit", "told"), [("s", "10 Hz by its times in s"), ("ms", "10000 Hz by its times")]
)
def test_a_rate_that_contradicts_the_times(tmp_path: Path, unit: str, told: str) -> None:
    write_npy(tmp_path / "face", {"a": np.ones((4, 2))})
    write_npy(tmp_path / "times", {"a": np.arange(4) / 10})
    stream = ForeignStream(name="visual", path="face", times="times", rate_hz=25, time_unit=unit)
    with pytest.raises(SettingsError, match=f"25 Hz by the command line, {told}"):
        import_features(tmp_path, tmp_path / "s.zarr", ForeignLayout(format="npy", streams=(stream,)))


def test_each_stream_may_count_in_a_unit_of_its_own(tmp_path: Path) -> None:
    write_npy(tmp_path / "face", {"a": np.ones((4, 2))})
    write_npy(tmp_path / "x", {"a": np.arange(8.0).reshape(4, 2)})
    write_npy(tmp_path / "face_s", {"a": np.arange(4) / 10})
    write_npy(tmp_path / "x_ms", {"a": np.arange(4) * 100})
    streams = (
        ForeignStream(name="visual", path="face", times="face_s"),
        ForeignStream(name="x", path="x", times="x_ms", time_unit="ms"),
    )
    import_features(tmp_path, tmp_path / "s.zarr", ForeignLayout(format="npy", streams=streams))
    store = FeatureStore.open(tmp_path / "s.zarr")
    assert store["a"].stream("x").tolist() == np.arange(8.0).reshape(4, 2).tolist()
    assert store.spec.settings["imported.time_unit"] == "s"
    assert store.spec.settings["imported.x.time_unit"] == "ms"


def test_groups_that_lack_the_dataset_are_named(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "all.h5", "w") as file:
        file["a/face"], file["b/sound"] = np.ones((3, 2)), np.ones((3, 2))
        file["metadata/description"] = "no clip"
    stream = ForeignStream(name="visual", dataset="{clip}/face", rate_hz=25)
    with pytest.raises(CacheError, match=r"1 of 2 groups lack the dataset '\{clip\}/face' .* \('b'\)"):
        import_features(
            tmp_path / "all.h5", tmp_path / "s.zarr", ForeignLayout(format="hdf5", streams=(stream,))
        )


def test_what_is_zero_as_it_is_stored_was_not_found(tmp_path: Path) -> None:
    write_npy(tmp_path, {"a": np.array([[1.0, 1], [1e-12, 0]])})
    layout = ForeignLayout(format="npy", streams=(ForeignStream(name="visual", rate_hz=25),))
    import_features(tmp_path, tmp_path / "s.zarr", layout)
    assert FeatureStore.open(tmp_path / "s.zarr")["a"].face_found.tolist() == [True, False]


def test_a_destination_inside_a_store_is_refused(folders: Path, tmp_path: Path) -> None:
    import_features(folders, tmp_path / "s.zarr", NPY)
    (tmp_path / "link").symlink_to(tmp_path / "s.zarr")
    for place in ("s.zarr/visual/new.zarr", "link/new.zarr"):
        with pytest.raises(StoreFormatError, match="lies inside the store"):
            import_features(folders, tmp_path / place, NPY)
    assert verify_store(tmp_path / "s.zarr", deep=True).is_sound


def test_datasets_that_are_not_there(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"], file["y/z"] = np.ones((3, 2)), np.ones((3, 2))
    for dataset, message in (
        (None, r"which dataset has the rows of stream 'audio'\? .* \(datasets: x, y/z\)"),
        ("y", r"expected a dataset 'y', got none \(datasets: x, y/z\)"),
    ):
        layout = ForeignLayout(
            format="hdf5", streams=(ForeignStream(name="audio", dataset=dataset, rate_hz=1),)
        )
        with pytest.raises(CacheError, match=message):
            import_features(tmp_path, tmp_path / "s.zarr", layout)
    layout = ForeignLayout(
        format="hdf5", streams=(ForeignStream(name="audio", dataset="nothing", rate_hz=1),)
    )
    with pytest.raises(
        CacheError, match=r"expected datasets '\{clip\}/nothing', one per clip, for stream 'audio'"
    ):
        import_features(tmp_path / "a.h5", tmp_path / "s.zarr", layout)


def test_layouts_that_cannot_be() -> None:
    for wrong, message in (
        ({"format": "csv"}, "format must be one of hdf5, npy, got 'csv'"),
        ({"streams": ()}, "no stream is named"),
        ({"origin": " "}, "the origin must not be empty"),
        ({"time_unit": "h"}, "time unit must be one of s, ms, frames, got 'h'"),
        ({"streams": (ForeignStream(name="audio", dataset="x"),)}, "npy files have no datasets, got 'x'"),
    ):
        with pytest.raises(SettingsError, match=message):
            ForeignLayout(**{"format": "npy", "streams": STREAMS, **wrong})  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="the rate must be above 0 Hz, got 0"):
        ForeignStream(name="audio", rate_hz=0)
