"""What is found out about a machine, on machines where something is wrong."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest

from pipeline import environment


def test_versions_are_those_of_the_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "_PACKAGES", {"numpy": "numpy", "click": None})
    problems: list[str] = []
    versions = environment.package_versions(problems)
    assert versions["numpy"] == np.__version__
    assert {"tagf", "python", "system", "click", "dask"} <= versions.keys()
    assert problems == []


def test_missing_and_broken_packages_are_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> None:
        raise OSError(f"{name}: no\nsymbol")

    monkeypatch.setattr(environment, "_PACKAGES", {"no-such-package": "nothing", "numpy": "numpy"})
    monkeypatch.setattr(importlib, "import_module", broken)
    problems: list[str] = []
    versions = environment.package_versions(problems)
    assert versions["no-such-package"] is None
    assert problems == [
        "the package no-such-package is not installed; run 'pip install no-such-package'",
        "the package numpy does not import (OSError: numpy: no symbol); install one that fits the rest",
    ]


def test_decoders_are_found_by_any_of_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "_DECODERS", {"h264": ("no-such-one", "h264"), "new": ("libnew", "new")})
    problems: list[str] = []
    facts = environment.ffmpeg_facts(problems)
    assert (facts["h264"], facts["new"]) == ("h264", None)
    assert str(facts["libavcodec"]).count(".") == 2
    assert problems == ["FFmpeg has no decoder of new; install the wheel of PyAV: 'pip install av'"]


def test_this_installation_decodes_everything() -> None:
    problems: list[str] = []
    environment.ffmpeg_facts(problems)
    assert problems == []


def test_folders_that_are_full_or_not_writable_are_problems(tmp_path: Path) -> None:
    problems: list[str] = []
    facts = environment.folder_facts(tmp_path / "not" / "yet", problems, least_free_gb=0)
    assert facts["writable"] is True
    assert problems == []
    assert not (tmp_path / "not").exists()
    environment.folder_facts(tmp_path, problems, least_free_gb=1e9)
    assert len(problems) == 1
    assert "GB free, expected at least 1e+09; free the disk" in problems[0]
    environment.folder_facts(Path("/proc/tagf"), problems, least_free_gb=0)
    assert len(problems) == 2
    assert "folder /proc/tagf cannot be written to (" in problems[1]


def test_the_file_system_is_that_of_the_nearest_mount(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text("a / ext4 rw 0 0\nb /data nfs4 rw 0 0\nc /data/x tmpfs rw 0 0\nd /data/x xfs rw 0 0\n")
    monkeypatch.setattr(environment, "_MOUNTS", mounts)
    kinds = {
        path: environment._file_system(Path(path)) for path in ("/", "/database", "/data/y", "/data/x/z")
    }
    assert kinds == {"/": "ext4", "/database": "ext4", "/data/y": "nfs4", "/data/x/z": "xfs"}


def test_home_is_not_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/anna")
    text = "'/home/anna/x' /home/anna: /home/annabel/y /mnt/home/anna"
    assert environment.without_home(text) == "'~/x' ~: /home/annabel/y /mnt~"
    monkeypatch.setenv("HOME", "/")
    assert environment.without_home("/x") == "/x"


def test_only_variables_that_matter_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/anna")
    monkeypatch.setenv("TAGF_WORK_DIR", "/home/anna/work")
    monkeypatch.setenv("TAGF_TOKEN", "secret")
    facts = environment.variable_facts()
    assert facts["TAGF_WORK_DIR"] == "~/work"
    assert "secret" not in facts.values()
