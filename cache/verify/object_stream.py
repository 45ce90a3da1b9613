"""The bytes of one object as they pass by, cut to measure, with their digest."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from cache.location import Location, UnreadableObjectError


class ObjectStream:
    """Reads one object from front to end.

    Args:
        location: The store.
        path: The object, relative to it.
        progress: Called with numbers of bytes that were read.

    Attributes:
        num_bytes: Bytes that were read so far.
        failure: Why reading ended early, a sentence without subject; None where it did not.
    """

    def __init__(self, location: Location, path: str, progress: Callable[[int], object]) -> None:
        self._blocks = location.blocks(path)
        self._digest = hashlib.sha256()
        self._progress = progress
        self._block = memoryview(b"")
        self.num_bytes = 0
        self.failure: str | None = None

    def read_into(self, piece: NDArray[np.uint8]) -> bool:
        """Fill a piece with the next bytes; whether there were as many."""
        filled = 0
        while filled < len(piece):
            if not self._block and not self._next_block():
                return False
            taken = min(len(piece) - filled, len(self._block))
            piece[filled : filled + taken] = np.frombuffer(self._block[:taken], np.uint8)
            self._block = self._block[taken:]
            filled += taken
        return True

    def read_all(self) -> bytes:
        """All bytes that are left."""
        blocks = [bytes(self._block)]
        while self._next_block():
            blocks.append(bytes(self._block))
        self._block = memoryview(b"")
        return b"".join(blocks)

    def skip_all(self) -> None:
        """Read on to the end for the digest alone."""
        while self._next_block():
            pass
        self._block = memoryview(b"")

    @property
    def sha256(self) -> str:
        """Digest of what was read so far, 64 hexadecimal digits."""
        return self._digest.hexdigest()

    def _next_block(self) -> bool:
        try:
            block = next(self._blocks, b"")
        except FileNotFoundError:
            self.failure = "has gone while the store was checked"
            return False
        except UnreadableObjectError as error:
            self.failure = f"cannot be read: {error.reason}"
            return False
        self._block = memoryview(block)
        self._digest.update(block)
        self.num_bytes += len(block)
        self._progress(len(block))
        return bool(block)
