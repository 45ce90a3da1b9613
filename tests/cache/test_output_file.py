"""Files that are written block by block, in whatever pieces the disk takes them."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from cache import output_file
from cache.output_file import OutputFile

BLOCKS = [bytes([index]) * (10 + index) for index in range(5)]


def write(path: Path, blocks: list[bytes]) -> OutputFile:
    file = OutputFile(path.parent, path.name)
    for index, block in enumerate(blocks):
        file.hash(memoryview(block))
        file.write(memoryview(block))
        file.flush(last=index == len(blocks) - 1)
    file.close()
    return file


def test_size_and_digest_are_those_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    file = write(path, BLOCKS)
    data = b"".join(BLOCKS)
    assert path.read_bytes() == data
    assert file.stored.size_bytes == len(data) == path.stat().st_size
    assert file.stored.sha256 == hashlib.sha256(data).hexdigest()


def test_a_disk_may_take_a_block_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, bytes(data)[:3]))
    write(tmp_path / "file", BLOCKS)
    assert (tmp_path / "file").read_bytes() == b"".join(BLOCKS)


def test_what_lies_there_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        write(tmp_path / "file", BLOCKS)
    assert (tmp_path / "file").read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("flush_bytes", "flushed_at"),
    [
        (1000, []),  # a small file is left to whoever flushes the store
        (20, [21, 46, 60]),  # 10, 21; 33, 46; the rest with the last block
        (60, [60]),
    ],
)
def test_large_files_are_flushed_as_they_grow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flush_bytes: int, flushed_at: list[int]
) -> None:
    found: list[int] = []
    monkeypatch.setattr(output_file, "FLUSH_BYTES", flush_bytes)
    monkeypatch.setattr(os, "fsync", lambda descriptor: found.append(os.fstat(descriptor).st_size))
    write(tmp_path / "file", BLOCKS)
    assert found == flushed_at


def test_closing_twice_and_a_file_without_a_block(tmp_path: Path) -> None:
    file = OutputFile(tmp_path, "file")
    file.close()
    file.close()
    assert not (tmp_path / "file").exists()
    assert file.stored.size_bytes == 0


def test_folders_are_made_below_a_directory_that_is_there(tmp_path: Path) -> None:
    file = OutputFile(tmp_path, "a/b/file")
    file.write(memoryview(b"1"))
    file.close()
    assert (tmp_path / "a" / "b" / "file").read_bytes() == b"1"
    # One that was removed stays so: what was written there before is missing.
    with pytest.raises(FileNotFoundError):
        OutputFile(tmp_path / "gone", "a/b/file").write(memoryview(b"1"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a"]


def test_what_is_not_yet_written_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread reads the size while a block is written, and flushes by it."""
    real, sizes = os.write, []

    def write_some(descriptor: int, data: memoryview) -> int:
        sizes.append((file.size_bytes, os.fstat(descriptor).st_size))
        return real(descriptor, data[:4])

    file = OutputFile(tmp_path, "file")
    monkeypatch.setattr(os, "write", write_some)
    for block in BLOCKS:
        file.write(memoryview(block))
    file.close()
    assert len(sizes) > len(BLOCKS)
    assert all(told == there for told, there in sizes)
