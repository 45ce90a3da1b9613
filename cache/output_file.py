"""A file that is written block by block, and what is known of it at its end."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path, PurePosixPath

from cache.record import StoredObject

# So much of a file is flushed to the disk at a time, while more of it is written. What is smaller is left to
# whoever flushes the whole store.
FLUSH_BYTES = 64 * 2**20


class OutputFile:
    """A new file, which appears with its first block.

    Hashing, writing and flushing may run in different threads; each sees the blocks in their order.

    Args:
        directory: Has to be there. Were it made again where another process removed it, what was written
            before would be missing unnoticed.
        name: Path of the file relative to it; folders between are made.

    Attributes:
        name: The same.
        size_bytes: Size of what was written.
    """

    def __init__(self, directory: Path, name: str) -> None:
        self.name = name
        self.size_bytes = 0
        self._directory = directory
        self._digest = hashlib.sha256()
        self._descriptor = -1
        self._flushed_bytes = 0

    @property
    def stored(self) -> StoredObject:
        """Size and digest of what was written."""
        return StoredObject(size_bytes=self.size_bytes, sha256=self._digest.hexdigest())

    def hash(self, block: memoryview) -> None:
        """Take a block into the digest."""
        self._digest.update(block)

    def write(self, block: memoryview) -> None:
        """Write a block.

        Raises:
            OSError: The disk is full or not writable, the directory has gone, or there is a file already.
        """
        if self._descriptor < 0:
            self._descriptor = self._create()
        while block:  # a disk that fills up first takes a part of the block
            num_bytes = os.write(self._descriptor, block)
            self.size_bytes += num_bytes  # not before: the thread that flushes goes by it
            block = block[num_bytes:]

    def flush(self, *, last: bool) -> None:
        """Flush to the disk what was written since the last time, if that is worth it.

        Args:
            last: Nothing more will be written: the rest of a large file is flushed, too.
        """
        waiting = self.size_bytes - self._flushed_bytes
        if waiting >= FLUSH_BYTES or (last and waiting and self._flushed_bytes):
            self._flushed_bytes += waiting
            os.fsync(self._descriptor)

    def close(self) -> None:
        """Close the file, if it is open."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _create(self) -> int:
        *folders, _ = PurePosixPath(self.name).parts
        path = self._directory
        for folder in folders:
            path /= folder
            path.mkdir(exist_ok=True)
        return os.open(self._directory / self.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
