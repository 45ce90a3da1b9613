"""A folder of predictions is one run's at a time: a second run would remove what the first is writing."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cache.atomic_file import make_directory
from cache.errors import StorageError
from pipeline.errors import ExtractionError

_NAME = ".prediction.lock"
# File systems without locks: runs there are not kept apart, as packers of stores are not.
_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP})


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """A block in which no other run is at work in a folder; the system frees the lock of a run that died.

    Args:
        folder: Made as needed.

    Raises:
        ExtractionError: Another run is at work there.
        StorageError: The folder cannot be written to.
    """
    path = folder / _NAME
    is_new = not folder.exists()
    descriptor = _locked(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)
        if is_new:
            with suppress(OSError):  # a run that was refused leaves no empty folder
                folder.rmdir()


def _locked(path: Path) -> int:
    """Descriptor of the lock's file, which is held."""
    while True:
        try:
            make_directory(path.parent)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise StorageError(
                f"{path.parent} cannot be written to ({error.strerror or error}); free space there or choose "
                "another --out"
            ) from error
        try:
            _lock(descriptor, path.parent)
            # A run that has ended since has removed its file: a lock on that holds nobody off.
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), path.stat()):
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _lock(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ExtractionError(
            f"{folder}: another 'tagf predict' is at work there; wait until it has ended, or choose another "
            "--out"
        ) from error
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
