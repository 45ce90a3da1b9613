"""Where the work directory lies, and its lock."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from pipeline.run.work_dir import WorkDir, default_work_dir


def test_default_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("TAGF_WORK_DIR", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert default_work_dir() == tmp_path / ".cache" / "tagf"
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/xdg")
    assert default_work_dir() == Path("/var/xdg/tagf")
    monkeypatch.setenv("TAGF_WORK_DIR", "~/work")
    assert default_work_dir() == tmp_path / "work"
    assert WorkDir().path == tmp_path / "work"


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
