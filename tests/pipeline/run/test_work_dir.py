"""Where the work directory lies, and its lock."""

from __future__ import annotations

import fcntl
from pathlib import Path

import numpy as np
import pytest

from cache import ClipFeatures, ClipKey
from pipeline.run.track_list import track_key
from pipeline.run.work_dir import WorkDir


def test_default_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TAGF_WORK_DIR", str(tmp_path / "work"))
    assert WorkDir().path == tmp_path / "work"


def test_a_clip_is_finished_when_all_of_its_parts_are_there(tmp_path: Path) -> None:
    key = ClipKey(
        clip_id="x", media_sha256="0" * 64, faces_sha256=None, selection="all faces", fingerprint="0" * 16
    )
    row = ClipFeatures(
        streams={"audio": np.zeros((1, 2), np.float16)},
        time_s=np.zeros(1),
        source_frame=np.zeros(1, np.int64),
        face_found=np.ones(1, np.bool_),
        audio_found=np.ones(1, np.bool_),
        face_box=np.zeros((1, 4), np.float32),
        face_score=np.ones(1, np.float32),
    )
    work = WorkDir(tmp_path)
    first, second = track_key(key, 1), track_key(key, 2)
    work.parts.commit(first, row, {})
    work.tracks.write(key, "c0de", 2)
    assert work.part_keys(key, gives_tracks=True) is None
    work.parts.commit(second, row, {})
    assert work.part_keys(key, gives_tracks=True) == (first, second)
    work.tracks.write(key, "c0de", 0)
    assert work.part_keys(key, gives_tracks=True) == ()
    assert work.part_keys(key, gives_tracks=False) is None
    work.parts.commit(key, row, {})
    assert work.part_keys(key, gives_tracks=False) == (key,)


def test_one_store_is_packed_by_one_run_at_a_time(tmp_path: Path) -> None:
    work = WorkDir(tmp_path / "work")
    with work.packing(tmp_path / "a.zarr"):
        (lock,) = (tmp_path / "work" / "locks").iterdir()
        with lock.open("wb") as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with work.packing(tmp_path / "b.zarr"):
            pass  # another store waits for nothing
    with lock.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
