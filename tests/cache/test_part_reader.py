"""A part read piece by piece: what numpy reads from it, in bounded memory, or an error."""

from __future__ import annotations

import io
import itertools
import json
import os
import random
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import pytest

from cache import ClipFeatures, CorruptFeatureError, FeatureSpec, PartStore, StreamSpec
from cache.features import FRAME_ARRAYS
from cache.part_reader import PartReader

ARRAYS = ("visual", "audio", "text", *FRAME_ARRAYS)


def commit(parts: PartStore, key: Any, features: ClipFeatures, *, names_alone: bool) -> Path:
    """A part as it is written now, or as one of before: with no more than its arrays' names."""
    path = parts.commit(key, features, {"codec": "h264"})
    if names_alone:
        with zipfile.ZipFile(path) as archive:
            names = json.loads(archive.read("arrays.json"))
        rewritten(path, {"arrays.json": json.dumps(list(names)).encode()})
    return path


@pytest.fixture(params=[False, True], ids=["described", "names alone"])
def part(
    request: pytest.FixtureRequest, tmp_path: Path, make_key: Any, make_features: Any
) -> tuple[PartStore, Any, ClipFeatures]:
    parts, key, features = PartStore(tmp_path), make_key("v1"), make_features(9)
    commit(parts, key, features, names_alone=request.param)
    return parts, key, features


def read_in_pieces(reader: PartReader, name: str, cuts: list[int]) -> np.ndarray:
    shape = reader.streams.get(name) or (reader.num_frames, *FRAME_ARRAYS[name][1])
    dtype = FRAME_ARRAYS[name][0] if name in FRAME_ARRAYS else np.float16
    rows = np.empty(shape, dtype)
    for view, series in enumerate(rows if rows.ndim == 3 else rows[np.newaxis]):
        edges = [0, *cuts, len(series)]
        for first, last in itertools.pairwise(edges):
            reader.read_into(name, view, first, series[first:last])
    return rows


@pytest.mark.parametrize("cuts", [[], [4], [0, 1, 1, 8, 9]])
@pytest.mark.parametrize("count", [10**9, 3])
def test_pieces_are_what_numpy_reads(
    part: Any, monkeypatch: pytest.MonkeyPatch, cuts: list[int], count: int
) -> None:
    parts, key, features = part
    real = os.preadv

    def preadv(descriptor: int, buffers: list[memoryview], offset: int) -> int:
        return real(descriptor, [buffers[0][:count]], offset)  # the system may give less than was asked for

    monkeypatch.setattr(os, "preadv", preadv)
    with np.load(parts.path(key)) as plain, parts.open(key) as reader:
        assert (reader.key, reader.facts, reader.num_frames) == (key, {"codec": "h264"}, 9)
        assert reader.streams == {name: rows.shape for name, rows in features.streams.items()}
        for name in ARRAYS:
            wanted = plain[name if name in FRAME_ARRAYS else f"streams/{name}"]
            found = read_in_pieces(reader, name, cuts)
            assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
            assert found.tobytes() == wanted.tobytes()


@pytest.mark.parametrize(
    ("cause", "expected", "message"),
    [
        (MemoryError(), MemoryError, "^$"),
        (TypeError("a mistake of the program"), TypeError, "^a mistake"),
        (OSError(5, "Input/output error"), OSError, "Input/output"),
        (ValueError(), CorruptFeatureError, r"is damaged \(ValueError\); delete it"),
        (OverflowError("too large"), CorruptFeatureError, r"is damaged \(too large\); delete it"),
    ],
)
def test_what_is_damage_and_what_is_not(
    part: Any, monkeypatch: pytest.MonkeyPatch, cause: Exception, expected: type[Exception], message: str
) -> None:
    parts, key, _ = part

    def refuse(*_: object) -> None:
        raise cause

    with parts.open(key) as reader:
        monkeypatch.setattr(os, "preadv", refuse)
        with pytest.raises(expected, match=message):
            reader.read("time_s")


def test_want_of_memory_while_a_part_is_opened(part: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    parts, key, _ = part

    def refuse(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(json, "loads", refuse)
    with pytest.raises(MemoryError):
        parts.open(key)


def test_rows_may_go_where_memory_is_not_aligned(part: Any) -> None:
    parts, key, features = part
    rows = np.empty(9 * 8 + 1, np.uint8)[1:].view(np.float64)
    assert not rows.flags.aligned
    with parts.open(key) as reader:
        reader.read_into("time_s", 0, 0, rows)
    assert rows.tobytes() == features.time_s.tobytes()


def test_the_file_is_closed_at_the_end(part: Any) -> None:
    parts, key, _ = part
    before = len(os.listdir("/proc/self/fd"))
    with parts.open(key) as reader:
        assert len(os.listdir("/proc/self/fd")) == before + 1
        reader.read("audio")
    assert len(os.listdir("/proc/self/fd")) == before
    parts.path(key).write_bytes(b"")
    with pytest.raises(CorruptFeatureError):
        parts.open(key)
    assert len(os.listdir("/proc/self/fd")) == before


def test_rows_come_in_their_order_once(part: Any) -> None:
    parts, key, _ = part
    with parts.open(key) as reader:
        rows = np.empty((4, 5), np.float16)
        for view, start in ((0, 1), (1, 0)):
            with pytest.raises(ValueError, match="visual must be read row by row"):
                reader.read_into("visual", view, start, rows)
        reader.read_into("visual", 0, 0, rows)
        for view, start in ((0, 0), (0, 3), (1, 0), (0, 9)):
            with pytest.raises(
                ValueError, match=f"asked for 4 rows from {start} of view {view}, after 4 rows"
            ):
                reader.read_into("visual", view, start, rows)
        with pytest.raises(ValueError, match="asked for 6 rows from 4"):  # one is another view's
            reader.read_into("visual", 0, 4, np.empty((6, 5), np.float16))
        with pytest.raises(ValueError, match=r"rows of float16 with shape \(5,\), got float32"):
            reader.read_into("visual", 0, 4, np.empty((4, 5), np.float32))
        with pytest.raises(
            ValueError, match=r"rows of float16 with shape \(5,\), got float16 with shape \(4,\)"
        ):
            reader.read_into("visual", 0, 4, np.empty((4, 4), np.float16))


def test_a_flipped_bit_is_told_with_the_last_rows(part: Any, request: pytest.FixtureRequest) -> None:
    """Of the view, or of the array where there is no checksum of each view."""
    parts, key, features = part
    path = parts.path(key)
    data = bytearray(path.read_bytes())
    data[data.index(features.streams["visual"].tobytes())] ^= 1  # in the first row
    path.write_bytes(data)
    rows = np.empty((9, 5), np.float16)
    steps = [(0, 0, 8), (0, 8, 9), (1, 0, 8), (1, 8, 9)]
    with parts.open(key) as reader:
        told_at = 3 if "names alone" in request.node.name else 1
        for view, first, last in steps[:told_at]:
            reader.read_into("visual", view, first, rows[first:last])
        view, first, last = steps[told_at]
        with pytest.raises(
            CorruptFeatureError, match=r"'v1' .*streams/visual.npy does not fit its checksum\); delete"
        ):
            reader.read_into("visual", view, first, rows[first:last])
        assert reader.read("audio").tobytes() == features.streams["audio"].tobytes()


@pytest.mark.parametrize("names_alone", [False, True])
@pytest.mark.parametrize("num_frames", [0, 9])
def test_no_flipped_bit_gives_wrong_rows(
    tmp_path: Path, make_features: Any, make_key: Any, num_frames: int, names_alone: bool
) -> None:
    """Wherever it is, headers of an array without a row included."""
    parts, key, features = PartStore(tmp_path), make_key("v1"), make_features(num_frames)
    path = commit(parts, key, features, names_alone=names_alone)
    good, noise, messages = path.read_bytes(), random.Random(3), []
    for place in noise.sample(range(len(good)), 600):
        path.write_bytes(good[:place] + bytes([good[place] ^ (1 << noise.randrange(8))]) + good[place + 1 :])
        try:
            with parts.open(key) as reader:
                found = {name: read_in_pieces(reader, name, [num_frames // 2]) for name in ARRAYS}
                facts = reader.facts
        except CorruptFeatureError as error:
            messages.append(str(error))
        else:
            assert facts == {"codec": "h264"}
            for name, rows in found.items():
                wanted = features.streams[name] if name in features.streams else getattr(features, name)
                assert (rows.dtype, rows.shape, rows.tobytes()) == (
                    wanted.dtype,
                    wanted.shape,
                    wanted.tobytes(),
                )
    assert len(messages) > 300
    assert all("clip 'v1'" in text and "extract the clip again" in text for text in messages)


def rewritten(path: Path, change: dict[str, bytes | None]) -> None:
    """A sound archive with other members."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members = {name: data for name, data in (members | change).items() if data is not None}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            with archive.open(name, "w", force_zip64=True) as member:  # as members above 4 GB have it
                member.write(data)


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def test_members_of_more_than_four_gigabytes_have_longer_headers(part: Any) -> None:
    parts, key, features = part
    rewritten(parts.path(key), {})
    with parts.open(key) as reader:
        assert reader.read("visual").tobytes() == features.streams["visual"].tobytes()


def described(array: np.ndarray) -> dict[str, Any]:
    crc = google_crc32c.value(np.ascontiguousarray(array))
    header = npy(array)[: -array.nbytes]
    return {
        "crc32c": [crc],
        "dtype": array.dtype.str,
        "header_crc32c": google_crc32c.value(header),
        "shape": list(array.shape),
    }


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("time_s", np.arange(9), "array time_s is int64"),
        ("face_box", np.zeros((9, 3), np.float32), r"array face_box is float32 with shape \(9, 3\)"),
        ("streams/audio", np.zeros((8, 3), np.float16), "array audio is float16 with shape"),
        ("streams/audio", np.zeros((9, 3), np.float32), "array audio is float32"),
        ("streams/audio", np.zeros(9, np.float16), "array audio is float16"),
    ],
)
def test_arrays_that_no_clip_has(part: Any, name: str, array: np.ndarray, message: str) -> None:
    """With checksums that fit."""
    parts, key, _ = part
    with zipfile.ZipFile(parts.path(key)) as archive:
        arrays = json.loads(archive.read("arrays.json"))
    if isinstance(arrays, dict):
        arrays[name] = described(array)
    change = {f"{name}.npy": npy(array), "arrays.json": json.dumps(arrays).encode()}
    rewritten(parts.path(key), change)
    with pytest.raises(CorruptFeatureError, match=message):
        parts.read(key)


@pytest.mark.parametrize(
    "change",
    [
        {"time_s.npy": None},
        {"streams/audio.npy": npy(np.zeros((9, 3), np.float16))[:-1]},
        {"streams/audio.npy": npy(np.zeros((9, 3), np.float16)) + b"\0"},
        {"streams/audio.npy": b"\x93NUMPY\x01\x00"},
        {"streams/visual.npy": npy(np.asfortranarray(np.ones((2, 9, 5), np.float16)))},
        {"arrays.json": b"[]"},
        {"arrays.json": b"{}"},
        {"arrays.json": b'{"time_s": {"crc32c": [], "dtype": "<f8", "shape": [9]}}'},
        {"arrays.json": b'{"time_s": {"crc32c": [0], "dtype": "<f8", "shape": [-1]}}'},
        {"arrays.json": b'{"time_s": {"crc32c": [0], "dtype": "O", "shape": [9]}}'},
        {"arrays.json": b'{"time_s": 1}'},
        {"arrays.json": b"{"},
        {"key.json": b"{}"},
    ],
)
def test_archives_that_are_no_part(part: Any, change: dict[str, bytes | None]) -> None:
    parts, key, _ = part
    rewritten(parts.path(key), change)
    with pytest.raises(CorruptFeatureError, match=r"the part of clip 'v1' at .* is damaged .*; delete it"):
        parts.read(key)


def test_headers_of_arrays_without_a_row_are_checked(
    tmp_path: Path, make_key: Any, make_features: Any
) -> None:
    for names_alone in (False, True):
        parts, key = PartStore(tmp_path), make_key("v1")
        path = commit(parts, key, make_features(0), names_alone=names_alone)
        data = bytearray(path.read_bytes())
        data[data.index(b"streams/audio.npy") + 120] = ord("\t")  # a space, in its npy header
        path.write_bytes(data)
        with pytest.raises(CorruptFeatureError, match=r"streams/audio\.npy does not fit its checksum"):
            parts.read(key)


def test_each_view_has_the_checksum_of_its_rows(tmp_path: Path, make_key: Any, make_features: Any) -> None:
    features: ClipFeatures = make_features(9)
    path = PartStore(tmp_path).commit(make_key("v1"), features, {})
    with zipfile.ZipFile(path) as archive:
        arrays = json.loads(archive.read("arrays.json"))
    assert arrays["streams/visual"] == {
        **described(features.streams["visual"]),
        "crc32c": [google_crc32c.value(view.tobytes()) for view in features.streams["visual"]],
    }
    assert arrays["time_s"] == described(features.time_s)
    assert len(arrays) == 9


def test_the_whole_part_is_never_in_memory(tmp_path: Path, make_features: Any, make_key: Any) -> None:
    spec = FeatureSpec(streams=(StreamSpec(name="audio", num_features=2048),), settings={})
    parts, key = PartStore(tmp_path), make_key("v1", spec)
    parts.commit(key, make_features(2000, spec=spec), {})
    rows = np.empty((100, 2048), np.float16)
    tracemalloc.start()
    with parts.open(key) as reader:
        for start in range(0, 2000, 100):
            reader.read_into("audio", 0, start, rows)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert parts.path(key).stat().st_size > 8_000_000
    assert peak < 200_000


def test_what_is_read_whole_is_read_only(part: Any) -> None:
    parts, key, _ = part
    features = parts.read(key).features
    with pytest.raises(ValueError, match="read-only"):
        features.streams["audio"][0, 0] = 1
    with pytest.raises(ValueError, match="read-only"):
        features.time_s[0] = 1
