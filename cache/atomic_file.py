"""Files that appear whole or not at all, and that outlive a power failure.

A file is written under a temporary name in the directory where it will lie, flushed to the disk, renamed over
its final name, and the directory is flushed: readers find the old file, or none, or the whole new one. A
killed writer leaves its temporary file, which readers never look at.
"""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

_SUFFIX = ".tmp"
_TOKEN_BYTES = 8
_TOKEN = re.compile(rf"[0-9a-f]{{{2 * _TOKEN_BYTES}}}")
# A leftover is told by its age alone. Whether its writer still lives cannot be told: work directories are
# shared by machines and containers, whose process ids and even host names repeat. Writing one file takes
# seconds, so nothing that is a day old is still being written, whatever the clocks of two machines disagree
# on.
_LEFTOVER_AGE_S = 24 * 3600.0


@contextmanager
def replacement_of(path: Path, *, tidy: bool = True) -> Iterator[BinaryIO]:
    """A new file that takes the place of `path` when the block ends without an error.

    Any number of processes and threads may replace one path at once: the last one to end wins.

    Args:
        path: The file.
        tidy: Remove what killed writers of this file left over a day ago, which takes a listing of the
            directory. For directories of many files, `remove_leftovers` does it once for all of them.

    Raises:
        OSError: The disk is full, or the directory is missing or not writable; `path` is as it was.
    """
    if tidy:
        remove_leftovers(path.parent, of=path.name)
    # 64 random bits keep apart what host name, process and thread would not across machines.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(_TOKEN_BYTES)}{_SUFFIX}")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync(path.parent)


def remove_leftovers(directory: Path, *, of: str = "") -> None:
    """Remove the temporary files that killed writers left in a directory over a day ago.

    Args:
        directory: Where to look.
        of: Name of the file whose leftovers are meant; by default those of all files.
    """
    oldest = time.time() - _LEFTOVER_AGE_S
    prefix = f".{of}." if of else "."
    with suppress(OSError):  # no such directory, or another process is cleaning, too
        for entry in os.scandir(directory):
            middle = entry.name.removeprefix(prefix).removesuffix(_SUFFIX)
            is_leftover = len(entry.name) == len(prefix) + len(middle) + len(_SUFFIX)
            if is_leftover and (not of or _TOKEN.fullmatch(middle)):
                with suppress(OSError):
                    if entry.stat().st_mtime < oldest:
                        os.unlink(entry.path)


def sync(path: Path) -> None:
    """Flush a file, or a directory's list of names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directory(path: Path) -> None:
    """Create a directory and its parents, each of them flushed to the disk."""
    if path.is_dir():
        return
    make_directory(path.parent)
    path.mkdir(exist_ok=True)
    sync(path.parent)
