"""A file's digest, against the published examples of FIPS 180-2."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from cache.file_digest import file_digest


def test_published_examples(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for content, digest in (
        (b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (b"a" * 1_000_000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"),
    ):
        path.write_bytes(content)
        assert file_digest(path) == digest


def test_every_byte_is_told_of_and_counts(tmp_path: Path) -> None:
    path, told = tmp_path / "file", []
    content = bytes(range(256)) * 10_000 + b"rest"
    path.write_bytes(content)
    assert file_digest(path, told.append) == hashlib.sha256(content).hexdigest()
    assert sum(told) == len(content)
    assert len(told) > 1
    path.write_bytes(b"")
    assert file_digest(path, told.append) == hashlib.sha256(b"").hexdigest()


def test_what_is_not_there_has_none(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        file_digest(tmp_path / "gone")
