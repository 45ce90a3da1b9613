"""What a file's content is known by."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

_PIECE_BYTES = 2**20


def file_digest(path: Path, on_bytes: Callable[[int], None] | None = None) -> str:
    """SHA-256 of a file's content, 64 hexadecimal digits.

    Args:
        path: The file.
        on_bytes: Told of each piece how many bytes it is; files of media take minutes.

    Raises:
        OSError: It cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while piece := file.read(_PIECE_BYTES):
            digest.update(piece)
            if on_bytes is not None:
                on_bytes(len(piece))
    return digest.hexdigest()
