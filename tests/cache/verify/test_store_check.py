"""Checking stores: what is damaged is found and named, whatever it is, and nothing else is."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tracemalloc
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import fsspec
import google_crc32c
import numpy as np
import pytest
import zarr

from cache import (
    ClipFeatures,
    ClipKey,
    FeatureSpec,
    IncompleteStoreError,
    StreamSpec,
    packed_store,
    write_store,
)
from cache.location import LocalFolder
from cache.record import CompletionRecord
from cache.verify import Problem, verify_store

RECORD = "completion/zarr.json"
# Rows of the fixture's clips: 7, 0, 12, 4; chunks of 2 rows, shards of 6.
CLIPS_OF_ROWS = ["clip_0"] * 7 + ["clip_2"] * 12 + ["clip_3"] * 4
ROW_BYTES = {
    "visual": 10,
    "audio": 6,
    "text": 4,
    "time_s": 8,
    "source_frame": 8,
    "face_found": 1,
    "audio_found": 1,
    "face_box": 16,
    "face_score": 4,
}
Packed = tuple[Path, dict[str, ClipFeatures]]


def write_record(store: Path) -> None:
    """The completion record of what lies there now, by the description of the format alone."""
    document = json.loads((store / RECORD).read_text())
    content = document["attributes"]
    del content["digest"]
    content["objects"] = {
        path.relative_to(store).as_posix(): {
            "size_bytes": path.stat().st_size,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        for path in sorted(store.rglob("*"))
        if path.is_file() and path != store / RECORD
    }
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    content["digest"] = hashlib.sha256(text.encode()).hexdigest()
    (store / RECORD).write_text(json.dumps(document))


def rewrite(store: Path, array: str, change: Callable[[Any], None]) -> None:
    """Change an array as a program without a bug in its checksums would, and make a new record."""
    opened = zarr.open_array(store / array, mode="r+")
    values = opened[:]
    change(values)
    opened[:] = values
    write_record(store)


def only_problem(store: Path) -> Problem:
    (problem,) = verify_store(store, deep=True).problems
    return problem


@pytest.mark.parametrize("deep", [False, True])
def test_a_sound_store(packed: Packed, deep: bool) -> None:
    path, features = packed
    files = [file for file in path.rglob("*") if file.is_file() and file != path / RECORD]
    read: list[int] = []
    report = verify_store(path, deep=deep, progress=read.append)
    assert report.problems == ()
    assert report.notes == ()
    assert report.is_sound
    assert report.num_clips == 4
    assert report.num_frames == sum(clip.num_frames for clip in features.values())
    assert report.num_objects == len(files)
    assert report.num_bytes == sum(file.stat().st_size for file in files)
    metadata = sum(file.stat().st_size for file in files if file.name == "zarr.json")
    assert sum(read) == (report.num_bytes - metadata if deep else 0)
    assert json.loads(json.dumps(report.to_mapping()))["sound"] is True


def test_every_object_that_is_missing_cut_short_or_longer(packed: Packed, objects_of: Any) -> None:
    path, _ = packed
    for name, data in objects_of(path).items():
        if name == RECORD:
            continue
        for damaged in (None, data[:-1], b"", data + b"\0"):
            (path / name).unlink()
            if damaged is not None:
                (path / name).write_bytes(damaged)
            for deep in (False, True):
                problem, *others = verify_store(path, deep=deep).problems
                assert problem.object == name
                assert ("is missing" if damaged is None else f"expected {len(data)}") in problem.what
                # Where the group or the table is lost, what it would tell is not made up.
                assert not others
            (path / name).write_bytes(data)
    assert verify_store(path, deep=True).is_sound


def test_what_a_lost_object_held_is_told(packed: Packed) -> None:
    path, _ = packed
    (path / "time_s" / "c" / "3").unlink()
    (path / "visual" / "c" / "1" / "1" / "0").write_bytes(b"")
    (path / "audio_s" / "c" / "0").unlink()
    problems = {problem.object: problem for problem in verify_store(path, deep=True).problems}
    assert problems.keys() == {"time_s/c/3", "visual/c/1/1/0", "audio_s/c/0"}
    for name, rows, clip in (
        ("time_s/c/3", (18, 23), "clip_2"),
        ("visual/c/1/1/0", (6, 12), "clip_0"),
        ("audio_s/c/0", (0, 4), "clip_0"),
    ):
        assert (problems[name].rows, problems[name].clip) == (rows, clip)


def test_one_flipped_bit_anywhere(packed: Packed, objects_of: Any) -> None:
    path, _ = packed
    rng = np.random.default_rng(0)
    for name, data in objects_of(path).items():
        # All bytes of a shard of numbers, many of one of strings, some of every other object.
        every = {"audio/c/1/0": 1, "media_sha256/c/0": 3}.get(name)
        for place in range(0, len(data), every) if every else rng.integers(len(data), size=3):
            changed = bytearray(data)
            changed[place] ^= 1 << int(rng.integers(8))
            (path / name).write_bytes(changed)
            problems = verify_store(path, deep=True).problems
            assert problems, (name, place)
            assert {problem.object for problem in problems} == {name}, (name, place)
            if Path(name).name == "zarr.json":
                assert not verify_store(path).is_sound
            array = name.split("/")[0]
            if array in ("view", "box_edge"):
                assert {problem.clip for problem in problems} == {None}
            if array == "media_sha256" and problems[0].rows is not None:
                assert problems[0].clip == f"clip_{problems[0].rows[0]}"
                assert problems[0].chunk in (None, problems[0].rows[0] // 2)
            if array in ROW_BYTES and Path(name).name != "zarr.json":
                check_place(problems[0], array, name, int(place))
        (path / name).write_bytes(data)
    assert verify_store(path, deep=True).is_sound


def check_place(problem: Problem, array: str, name: str, place: int) -> None:
    """Chunk, rows and clip of a flipped byte, from the arithmetic of the format."""
    assert problem.array == array
    shard = int(name.split("/")[3 if array == "visual" else 2])
    chunk_bytes = 2 * ROW_BYTES[array] + 4
    num_chunks = -(-min(6, 23 - 6 * shard) // 2)
    chunk = place // chunk_bytes
    if chunk < num_chunks:
        first = 6 * shard + 2 * chunk
        assert (problem.chunk, problem.rows) == (chunk, (first, min(first + 2, 23)))
    else:
        first = 6 * shard
        assert (problem.chunk, problem.rows) == (None, (first, min(first + 6, 23)))
    assert problem.clip == CLIPS_OF_ROWS[first]


def test_what_is_not_listed(packed: Packed) -> None:
    path, _ = packed
    (path / "audio" / "c" / "9").mkdir()
    (path / "audio" / "c" / "9" / "0").write_bytes(b"x")
    (problem,) = verify_store(path).problems
    assert (problem.object, problem.what) == ("audio/c/9/0", "is not in the completion record")


def test_objects_that_a_record_leaves_out(packed: Packed) -> None:
    path, _ = packed
    (path / "audio" / "c" / "1" / "0").unlink()
    shutil.rmtree(path / "face_score")
    write_record(path)
    problems = {problem.object: problem for problem in verify_store(path, deep=True).problems}
    assert problems.keys() == {"audio/c/1/0", "face_score/zarr.json"}
    assert problems["audio/c/1/0"].rows == (6, 12)
    assert problems["audio/c/1/0"].clip == "clip_0"


def test_no_store_and_half_a_store(packed: Packed, tmp_path: Path) -> None:
    path, _ = packed
    for where, words in ((tmp_path / "nowhere", "no feature store there"), (tmp_path, "no Zarr group")):
        (problem,) = verify_store(where).problems
        assert words in problem.what
    (path / RECORD).unlink()
    (problem,) = verify_store(path, deep=True).problems
    assert problem.object == RECORD
    assert "never finished" in problem.what


def test_a_store_of_another_format_version(packed: Packed) -> None:
    path, _ = packed
    record = (path / RECORD).read_text()
    (path / RECORD).write_text(record.replace('"format_version": 2', '"format_version": 1'))
    (problem,) = verify_store(path).problems
    assert "nothing is extracted again" in problem.what


def set_row(row: int, value: float) -> Callable[[Any], None]:
    def change(values: Any) -> None:
        values[row] = value

    return change


@pytest.mark.parametrize(
    ("array", "change", "what", "rows", "clip"),
    [
        ("time_s", lambda times: times.__setitem__(9, times[8]), "must rise strictly", (9, 10), "clip_2"),
        ("time_s", set_row(21, np.nan), "must be finite, got nan", (21, 22), "clip_3"),
        ("face_score", set_row(19, np.inf), "must be finite, got inf", (19, 20), "clip_3"),
        ("face_box", set_row(7, np.nan), "must be finite, got nan", (7, 8), "clip_2"),
        ("face_share", set_row(2, 0.123), "is 0.123, its rows give", (2, 3), "clip_2"),
        ("audio_s", set_row(0, 9.0), "is 9.0, its rows give", (0, 1), "clip_0"),
        ("clip_id", lambda ids: ids.__setitem__(2, "clip_0"), "another clip of that name", (2, 3), "clip_0"),
        ("media_sha256", lambda ids: ids.__setitem__(3, "cd" * 32), "'cdcd", (3, 4), "clip_3"),
        ("clip_facts", lambda facts: facts.__setitem__(1, "{}"), "is no provenance", (1, 2), "clip_1"),
    ],
)  # fmt: skip
def test_contents_that_no_checksum_shows(
    packed: Packed, array: str, change: Any, what: str, rows: tuple[int, int], clip: str
) -> None:
    path, _ = packed
    rewrite(path, array, change)
    problems = [problem for problem in verify_store(path, deep=True).problems if what in problem.what]
    assert [(problem.rows, problem.clip) for problem in problems] == [(rows, clip)]
    assert verify_store(path).is_sound


def test_counts_of_rows_that_do_not_add_up(packed: Packed) -> None:
    path, _ = packed
    rewrite(path, "row_size", set_row(0, 8))
    problem = only_problem(path)
    assert (problem.array, problem.what) == (
        "row_size",
        "its counts add up to 24 rows, expected 23 of none below 0",
    )


def test_embeddings_that_are_not_finite(tmp_path: Path, make_features: Any, make_key: Any) -> None:
    spec = FeatureSpec(streams=(StreamSpec(name="audio", num_features=3),), settings={})

    class Clip:
        key = make_key("a", spec)
        facts: Mapping[str, Any] = {}
        num_frames = 7
        features = make_features(7, spec=spec)

        def read_into(self, array: str, view: int, start: int, out: np.ndarray) -> None:
            rows = getattr(self.features, array, self.features.streams["audio"])
            out[...] = rows[start : start + len(out)]
            if array == "audio":
                out[np.arange(start, start + len(out)) == 5, 1] = -np.inf

        def close(self) -> None: ...

    write_store([Clip()], spec, tmp_path / "s", chunk_rows=2, shard_rows=6)
    problem = only_problem(tmp_path / "s")
    assert problem.what == "values must be finite, got -inf"
    assert (problem.object, problem.chunk, problem.rows, problem.clip) == ("audio/c/0/0", 2, (5, 6), "a")


def test_a_chunk_that_the_index_calls_absent(packed: Packed) -> None:
    path, _ = packed
    shard = path / "visual" / "c" / "0" / "1" / "0"
    data = bytearray(shard.read_bytes())
    index = bytearray(data[-(16 * 3 + 4) : -4])
    index[16:32] = b"\xff" * 16
    data[-(16 * 3 + 4) :] = bytes(index) + google_crc32c.value(bytes(index)).to_bytes(4, "little")
    shard.write_bytes(data)
    write_record(path)
    problem = only_problem(path)
    assert (problem.object, problem.chunk, problem.rows) == ("visual/c/0/1/0", 1, (8, 10))
    assert "never written" in problem.what


def test_a_change_that_went_through_the_checksum_as_well(packed: Packed) -> None:
    path, _ = packed
    shard = path / "audio" / "c" / "0" / "0"
    data = bytearray(shard.read_bytes())
    data[0] ^= 1
    data[12:16] = google_crc32c.value(bytes(data[:12])).to_bytes(4, "little")
    shard.write_bytes(data)
    problem = only_problem(path)
    assert problem.what == "is not what was written: its SHA-256 is another, though every checksum fits"
    assert (problem.object, problem.rows, problem.clip) == ("audio/c/0/0", (0, 6), "clip_0")


@pytest.mark.parametrize(
    ("shape", "dtype", "dimensions"),
    [
        ((23, 4), "float16", ("frame", "audio_feature")),
        ((23, 3), "float32", ("frame", "audio_feature")),
        ((23, 3), "float16", ("frame", "text_feature")),
    ],
)
def test_other_metadata_than_the_spec_asks_for(
    packed: Packed, shape: tuple[int, int], dtype: str, dimensions: tuple[str, str]
) -> None:
    path, _ = packed
    shutil.rmtree(path / "audio")
    zarr.create_array(path / "audio", shape=shape, dtype=dtype, dimension_names=dimensions)
    write_record(path)
    problem = only_problem(path)
    assert problem.object == "audio/zarr.json"
    assert problem.what == (
        "expected float16 of shape (23, 3) along ('frame', 'audio_feature'), got "
        f"{dtype} of shape {shape} along {dimensions}"
    )


def test_compressed_chunks_are_compared_by_their_digests_and_a_note_says_so(packed: Packed) -> None:
    path, _ = packed
    values = zarr.open_array(path / "audio", mode="r")[:]
    shutil.rmtree(path / "audio")
    array = zarr.create_array(
        path / "audio",
        shape=values.shape,
        dtype="float16",
        chunks=(2, 3),
        shards=(6, 3),
        dimension_names=("frame", "audio_feature"),
    )
    array[:] = values
    write_record(path)
    report = verify_store(path, deep=True)
    assert report.is_sound
    assert [note.split()[1] for note in report.notes] == ["audio"]
    shard = path / "audio" / "c" / "1" / "0"
    data = bytearray(shard.read_bytes())
    data[3] ^= 1
    shard.write_bytes(data)
    assert only_problem(path).object == "audio/c/1/0"


def test_a_store_elsewhere(packed: Packed) -> None:
    path, _ = packed
    remote = fsspec.filesystem("memory")
    remote.put(str(path), "/verify/features.zarr", recursive=True)
    try:
        report = verify_store("memory://verify/features.zarr", deep=True)
        assert report.problems == ()
        assert report.num_clips == 4
        with remote.open("/verify/features.zarr/text/c/0/0", "r+b") as file:
            file.seek(13)
            file.write(b"\x55")
        remote.rm("/verify/features.zarr/time_s/c/1")
        problems = {problem.object: problem for problem in verify_store(report.store, deep=True).problems}
        assert problems.keys() == {"text/c/0/0", "time_s/c/1"}
        assert problems["text/c/0/0"].chunk == 1
    finally:
        remote.rm("/verify", recursive=True)


def test_a_store_that_is_replaced_meanwhile(packed: Packed, tmp_path: Path) -> None:
    path, _ = packed
    shutil.copytree(path, tmp_path / "other")
    write_record(tmp_path / "other")
    replaced: list[int] = []

    def replace(num_bytes: int) -> None:
        if not replaced:
            os.rename(path, tmp_path / "old")
            os.rename(tmp_path / "other", path)
        replaced.append(num_bytes)

    with pytest.raises(IncompleteStoreError, match="was replaced while it was checked"):
        verify_store(path, deep=True, progress=replace)


def test_a_store_that_is_replaced_before_its_record_is_read(
    packed: Packed, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = packed
    read = CompletionRecord.read

    def replaced(location: Any) -> CompletionRecord:
        path.rename(path.with_name("old"))  # and the new one not there yet
        return read(location)

    monkeypatch.setattr(CompletionRecord, "read", replaced)
    with pytest.raises(IncompleteStoreError, match="was replaced while it was checked"):
        verify_store(path)


def test_a_check_between_the_two_renames_of_a_replacement(
    packed: Packed, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = packed
    new, old = path.with_name(f".{path.name}.new-{'a' * 16}"), path.with_name(f".{path.name}.old-{'a' * 16}")
    shutil.copytree(path, new)
    heal = packed_store.heal
    looks: list[int] = []

    def healed(store: Path) -> None:
        heal(store)
        looks.append(1)
        if len(looks) == 1:  # the store was there, and then the first rename came
            path.rename(old)

    monkeypatch.setattr(packed_store, "heal", healed)
    assert verify_store(path, deep=True).problems == ()


def test_metadata_that_goes_meanwhile(packed: Packed, monkeypatch: pytest.MonkeyPatch) -> None:
    path, _ = packed
    sizes = LocalFolder.sizes

    def gone(location: LocalFolder) -> dict[str, int]:
        found = sizes(location)
        (path / "audio/zarr.json").unlink()
        return found

    monkeypatch.setattr(LocalFolder, "sizes", gone)
    with pytest.raises(IncompleteStoreError, match=r"audio/zarr\.json is missing, and was there"):
        verify_store(path)


def test_objects_that_go_or_cannot_be_read_meanwhile(packed: Packed) -> None:
    path, _ = packed
    gone, unreadable = path / "text" / "c" / "3" / "0", path / "audio" / "c" / "3" / "0"

    def spoil(num_bytes: int) -> None:
        gone.unlink(missing_ok=True)
        if unreadable.is_file():
            unreadable.unlink()
            unreadable.symlink_to(unreadable)  # a loop: an error of the system

    problems = {problem.object: problem for problem in verify_store(path, deep=True, progress=spoil).problems}
    assert problems["text/c/3/0"].what == "has gone while the store was checked"
    assert problems["text/c/3/0"].rows == (18, 23)
    assert "cannot be read: Too many levels" in problems["audio/c/3/0"].what
    assert problems.keys() == {"text/c/3/0", "audio/c/3/0"}


def test_no_more_than_some_chunks_are_in_memory(tmp_path: Path, make_features: Any, make_key: Any) -> None:
    from cache import FeaturesSource

    spec = FeatureSpec(streams=(StreamSpec(name="audio", num_features=512),), settings={})
    features = make_features(2000, spec=spec)
    sources = [FeaturesSource(make_key(f"v{index}", spec), features, {}) for index in range(4)]
    write_store(sources, spec, tmp_path / "s", chunk_rows=64)
    verify_store(tmp_path / "s", deep=True)
    tracemalloc.start()
    report = verify_store(tmp_path / "s", deep=True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert report.is_sound
    (shard,) = (tmp_path / "s" / "audio" / "c").rglob("0/0")
    assert shard.stat().st_size > 7 * 2**20
    assert peak < 5 * 2**20  # some blocks of 1 MiB


def test_a_report_for_scripts(packed: Packed) -> None:
    path, _ = packed
    (path / "audio" / "c" / "0" / "0").write_bytes(b"")
    mapping = json.loads(json.dumps(verify_store(path).to_mapping()))
    assert mapping["sound"] is False
    assert mapping["deep"] is False
    assert mapping["problems"] == [
        {
            "what": f"has 0 bytes, expected {3 * (12 + 4) + 3 * 16 + 4}",
            "object": "audio/c/0/0",
            "array": "audio",
            "chunk": None,
            "rows": None,
            "clip": None,
        }
    ]


def test_keys_of_other_settings(packed: Packed, make_key: Callable[..., ClipKey]) -> None:
    path, _ = packed
    old = make_key("x").fingerprint
    rewrite(path, "clip_facts", lambda facts: facts.__setitem__(0, facts[0].replace(old, "0" * 16)))
    problem = only_problem(path)
    assert problem.what == f"tells of fingerprint '{'0' * 16}', the store of '{old}'"
