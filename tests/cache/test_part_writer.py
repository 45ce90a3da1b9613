"""Rows that come in blocks give the part that they would give at once, and wrong ones give none."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cache import ClipFeatures, FeatureSpec, PartStore, StorageError
from cache.features import FRAME_ARRAYS

ROOT = Path(__file__).parents[2]
FACTS = {"num_frames": 9}


def append(writer: Any, features: ClipFeatures, rows: slice) -> None:
    writer.append(**{name: getattr(features, name)[rows] for name in FRAME_ARRAYS})
    for name, stream in features.streams.items():
        writer.append_stream(name, stream[..., rows, :])


@pytest.mark.parametrize("cuts", [[], [0], [1], [4, 5], [9]])
def test_bytes_do_not_depend_on_the_blocks(
    tmp_path: Path, make_key: Any, make_features: Any, spec: FeatureSpec, cuts: list[int]
) -> None:
    key, features = make_key("v1"), make_features(9)
    whole = PartStore(tmp_path / "whole").commit(key, features, FACTS).read_bytes()
    parts = PartStore(tmp_path / "blocks")
    edges = [0, *cuts, 9]
    with parts.writer(key, spec) as writer:
        for first, last in pairwise(edges):
            append(writer, features, slice(first, last))
        assert key not in parts
        path = writer.commit(FACTS)
    assert path.read_bytes() == whole


def test_arrays_may_come_one_after_the_other(
    tmp_path: Path, make_key: Any, make_features: Any, spec: FeatureSpec
) -> None:
    key, features = make_key("v1"), make_features(9)
    parts = PartStore(tmp_path)
    with parts.writer(key, spec) as writer:
        for name in ("text", "audio"):
            writer.append_stream(name, features.streams[name])
        for name in reversed(FRAME_ARRAYS):
            writer.append(**{name: getattr(features, name)})
        writer.append_stream("visual", features.streams["visual"])
        writer.commit(FACTS)
    found = parts.read(key).features
    np.testing.assert_array_equal(found.streams["visual"], features.streams["visual"])
    np.testing.assert_array_equal(found.time_s, features.time_s)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"time_s": np.zeros(2, np.float32)}, r"time_s must be rows of float64 with shape \(n\)"),
        ({"face_box": np.zeros((2, 3), np.float32)}, r"face_box must be rows of float32 with shape \(n, 4\)"),
        ({"faces": np.zeros(2)}, "faces is none of the clip's arrays"),
        ({"time_s": np.array([1.0, 1.0])}, "time_s must rise strictly, got 1.0 s after 1.0 s"),
        ({"time_s": np.array([0.4])}, "time_s must rise strictly, got 0.4 s after 0.5 s"),
        ({"face_score": np.array([0, np.nan], np.float32)}, "face_score must be finite, got nan at row 2"),
    ],
)
def test_wrong_rows_are_refused(
    tmp_path: Path, make_key: Any, make_features: Any, spec: FeatureSpec, rows: dict[str, Any], message: str
) -> None:
    with PartStore(tmp_path).writer(make_key("v1"), spec) as writer:
        writer.append(time_s=np.array([0.5]), face_score=np.zeros(1, np.float32))
        with pytest.raises(ValueError, match=message):
            writer.append(**rows)


def test_wrong_streams_are_refused(
    tmp_path: Path, make_key: Any, make_features: Any, spec: FeatureSpec
) -> None:
    with PartStore(tmp_path).writer(make_key("v1"), spec) as writer:
        with pytest.raises(
            ValueError, match=r"stream 'visual' must be rows of float16 with shape \(2, n, 5\)"
        ):
            writer.append_stream("visual", np.zeros((1, 4, 5), np.float16))
        with pytest.raises(ValueError, match="stream 'audio' must be finite, got inf at row 0"):
            writer.append_stream("audio", np.full((1, 3), np.inf, np.float16))


def test_arrays_of_different_lengths_give_no_part(
    tmp_path: Path, make_key: Any, make_features: Any, spec: FeatureSpec
) -> None:
    parts, key = PartStore(tmp_path), make_key("v1")
    with parts.writer(key, spec) as writer:
        append(writer, make_features(3), slice(0, 3))
        writer.append(face_found=np.zeros(1, np.bool_))
        with pytest.raises(ValueError, match=r"as many rows as the others, got .*'face_found': 4"):
            writer.commit(FACTS)
    assert key not in parts


def test_a_full_disk_is_named(
    tmp_path: Path, make_key: Any, make_features: Any, spec: FeatureSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts, key = PartStore(tmp_path), make_key("v1")
    with parts.writer(key, spec) as writer:
        append(writer, make_features(3), slice(0, 3))
        spool = next(iter(writer._columns.values())).spools[0]

        def full(_: object) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(spool, "write", full)
        with pytest.raises(StorageError, match=r"part of clip 'v1' .*No space left on device; free space"):
            writer.append(time_s=np.array([9.0]))


LONG_CLIP = """
import resource, sys
from pathlib import Path
import numpy as np
from cache import FeatureSpec, PartStore, StreamSpec
from cache.parts import ClipKey

spec = FeatureSpec(streams=(StreamSpec(name="visual", num_features=512, views=("center",)),), settings={})
key = ClipKey(clip_id="long", media_sha256="0" * 64, faces_sha256=None, selection="", fingerprint="0" * 16)
block = np.ones((1, 1000, 512), np.float16)
with PartStore(Path(sys.argv[1])).writer(key, spec) as writer:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(216):
        writer.append_stream("visual", block)
        time_s = 1000.0 * number + np.arange(1000)
        flags = np.ones(1000, np.bool_)
        writer.append(time_s=time_s, source_frame=time_s.astype(np.int64), face_found=flags)
        writer.append(face_box=np.zeros((1000, 4), np.float32), face_score=np.ones(1000, np.float32))
        writer.append(audio_found=flags)
    path = writer.commit({})
print(path.stat().st_size, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_memory_does_not_grow_with_the_clip(tmp_path: Path) -> None:
    """Two hours at 30 frames per second are 221 MB."""
    said = subprocess.run(
        [sys.executable, "-c", LONG_CLIP, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    num_bytes, grown_kib = map(int, said.stdout.split())
    assert num_bytes > 221e6
    assert grown_kib < 60 * 1024
