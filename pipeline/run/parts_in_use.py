"""Runs that count on the parts of a work directory, and those who would remove parts.

Every run holds a shared lock on one file while it lives, and the lock of a small file of its own that says
who it is. Who removes parts needs the first lock alone. The system frees the locks of a dead run; its small
file is removed by the next who looks.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from cache.atomic_file import make_directory
from pipeline.errors import PipelineError

# File systems without locks: nobody is waited for there, as for the locks of stores.
_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP})


class PartsInUse:
    """Who uses the parts of a work directory.

    Args:
        directory: Where the locks lie; made as needed.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @contextmanager
    def by_run(self, what: str) -> Iterator[None]:
        """Count on the parts in a block; waits while parts are being removed.

        Args:
            what: The run, for people to read.
        """
        make_directory(self._directory)
        own = self._directory / f"run-{secrets.token_hex(8)}.lock"
        try:
            with own.open("w") as name, (self._directory / "parts.lock").open("a") as shared:
                _lock(name, fcntl.LOCK_EX)
                name.write(f"{what} (process {os.getpid()} on {socket.gethostname()})")
                name.flush()
                _lock(shared, fcntl.LOCK_SH)
                yield
        finally:
            own.unlink(missing_ok=True)

    @contextmanager
    def by_none(self) -> Iterator[None]:
        """A block in which no run counts on the parts, and none begins to.

        Raises:
            PipelineError: A run does; names it.
        """
        make_directory(self._directory)
        with (self._directory / "parts.lock").open("a") as shared:
            try:
                _lock(shared, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                runs = ", ".join(self._runs()) or "a run"
                raise PipelineError(
                    f"{self._directory.parent}: expected no extraction at work there, found {runs}, which "
                    "counts on its finished clips; wait until it has ended"
                ) from error
            yield

    def _runs(self) -> list[str]:
        """Those that live."""
        found = []
        for path in sorted(self._directory.glob("run-*.lock")):
            try:
                with path.open("r+") as file:
                    try:
                        _lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    except BlockingIOError:
                        found.append(file.read())
                    else:
                        path.unlink(missing_ok=True)
            except OSError:  # it has ended, or is another user's
                continue
        return found


def _lock(file: IO[str], how: int) -> None:
    try:
        fcntl.flock(file, how)
    except BlockingIOError:
        raise
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
