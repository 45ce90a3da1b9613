"""Files replaced whole or not at all, and the order in which the disk learns of them."""

from __future__ import annotations

import os
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from cache.atomic_file import make_directory, remove_leftovers, replacement_of


def test_a_new_file_takes_the_place_of_the_old(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for text in (b"one", b"two"):
        with replacement_of(path) as file:
            file.write(text)
            assert not path.exists() or path.read_bytes() == b"one"
        assert path.read_bytes() == text
    assert os.listdir(tmp_path) == ["file"]


def write_half_then_raise(path: Path, error: BaseException) -> None:
    with replacement_of(path) as file:
        file.write(b"half of the n")
        raise error


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_an_error_leaves_the_old_file_alone(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(type(error)):
        write_half_then_raise(path, error)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_content_is_on_the_disk_before_the_name_and_the_name_before_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[tuple[str, Any]] = []
    fsync, replace = os.fsync, os.replace

    def spy_fsync(descriptor: int) -> None:
        stat = os.fstat(descriptor)
        events.append(
            ("fsync", (stat.st_ino, None if os.path.isdir(f"/proc/self/fd/{descriptor}") else stat.st_size))
        )
        fsync(descriptor)

    def spy_replace(source: Path, target: Path) -> None:
        events.append(("replace", os.stat(source).st_ino))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", spy_fsync)
    monkeypatch.setattr(os, "replace", spy_replace)
    with replacement_of(tmp_path / "file") as file:
        file.write(b"12345")
    inode = (tmp_path / "file").stat().st_ino
    assert events == [
        ("fsync", (inode, 5)),
        ("replace", inode),
        ("fsync", (tmp_path.stat().st_ino, None)),
    ]


def test_writers_of_one_path_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "file"
    texts = [bytes([65 + index]) * 5000 for index in range(4)]

    def write(text: bytes) -> None:
        for _ in range(20):
            with replacement_of(path) as file:
                file.write(text[:2500])
                file.flush()
                file.write(text[2500:])

    threads = [Thread(target=write, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_bytes() in texts
    assert os.listdir(tmp_path) == ["file"]


def test_leftovers_are_removed_a_day_later(tmp_path: Path) -> None:
    for name in ("young", "old"):
        (tmp_path / f".{name}.npz.0123.tmp").write_bytes(b"half")
    (tmp_path / "old.npz").write_bytes(b"whole")
    (tmp_path / ".old.npz").write_bytes(b"not ours")
    yesterday = (tmp_path / "old.npz").stat().st_mtime - 25 * 3600
    for name in (".old.npz.0123.tmp", "old.npz", ".old.npz"):
        os.utime(tmp_path / name, (yesterday, yesterday))
    remove_leftovers(tmp_path)
    assert sorted(os.listdir(tmp_path)) == [".old.npz", ".young.npz.0123.tmp", "old.npz"]


def test_replacing_a_file_removes_what_killed_writers_of_it_left(tmp_path: Path) -> None:
    token = "0123456789abcdef"
    leftover, young = f".report.json.{token}.tmp", f".report.json.{token[::-1]}.tmp"
    others = [f".report.{token}.tmp", f".other.json.{token}.tmp", ".report.json.mine.tmp", "report.json"]
    for name in (leftover, young, *others):
        (tmp_path / name).write_bytes(b"half")
    yesterday = (tmp_path / leftover).stat().st_mtime - 25 * 3600
    for name in (leftover, *others):
        os.utime(tmp_path / name, (yesterday, yesterday))
    with replacement_of(tmp_path / "report.json", tidy=False) as file:
        file.write(b"whole")
    assert leftover in os.listdir(tmp_path)
    with replacement_of(tmp_path / "report.json") as file:
        file.write(b"whole")
    assert sorted(os.listdir(tmp_path)) == sorted([young, *others])


def test_directories_are_made_with_their_parents(tmp_path: Path) -> None:
    make_directory(tmp_path / "a" / "b")
    make_directory(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
