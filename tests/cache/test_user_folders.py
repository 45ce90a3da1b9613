"""Where a user's own files lie, by what the environment says."""

from __future__ import annotations

from pathlib import Path

import pytest

from cache.user_folders import default_work_dir, user_folder


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The user's; nothing else is said."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("TAGF_WORK_DIR", "TAGF_TEST_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_work_dir(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_work_dir() == home / ".cache" / "tagf"
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/xdg")
    assert default_work_dir() == Path("/var/xdg/tagf")
    monkeypatch.setenv("TAGF_WORK_DIR", "~/work")
    assert default_work_dir() == home / "work"
    monkeypatch.setenv("TAGF_WORK_DIR", "/work-dir")
    assert default_work_dir() == Path("/work-dir")


def test_folders_below_and_variables_that_are_empty_or_relative(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TAGF_TEST_DIR", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, "")
    assert user_folder("TAGF_TEST_DIR", "a", "b") == home / ".cache" / "tagf" / "a" / "b"
    monkeypatch.chdir(home)
    monkeypatch.setenv("TAGF_TEST_DIR", "here")
    assert user_folder("TAGF_TEST_DIR", "a", "b") == home / "here"
    monkeypatch.delenv("TAGF_TEST_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", "~/caches")
    assert user_folder("TAGF_TEST_DIR", "a") == home / "caches" / "tagf" / "a"
