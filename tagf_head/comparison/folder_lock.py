"""One comparison at a time in a folder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cache.atomic_file import make_directory
from tagf_head.errors import HeadError

_LOCK_FILE = ".running"


class _NoLockError(OSError):
    """The file system has no locks."""


@contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Hold a folder, which is made where it is missing; the system lets go of it when this process dies.

    Raises:
        HeadError: Another process holds it, or it cannot be made, written or locked.
    """
    path = folder / _LOCK_FILE
    try:
        make_directory(folder)
        descriptor = _locked(path)
    except BlockingIOError as error:
        raise HeadError(
            f"{folder}: another comparison is being written to this folder; wait for it, or choose another"
        ) from error
    except _NoLockError as error:
        raise HeadError(
            f"{path} cannot be locked ({error.strerror or error}), so that two comparisons could write at "
            "once; choose a folder on a file system that has locks (flock)"
        ) from error
    except OSError as error:
        raise HeadError(
            f"{folder} cannot be written ({error.strerror or error}); choose another folder"
        ) from error
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _locked(path: Path) -> int:
    """Descriptor of the locked file, which lies at its path at that moment."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(descriptor)
            if os.path.exists(path) and os.path.samestat(os.fstat(descriptor), os.stat(path)):
                return descriptor
        except BaseException as error:
            os.close(descriptor)
            if isinstance(error, _NoLockError):
                path.unlink(missing_ok=True)
            raise
        os.close(descriptor)  # its holder has removed it in between


def _lock(descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as error:
        raise _NoLockError(error.errno, error.strerror) from error
