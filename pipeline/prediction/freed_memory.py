"""Memory that was freed, back to the system.

A head's pass frees large arrays between small ones that live on; glibc keeps the holes, and over an hour of
video they had grown by hundreds of megabytes.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import lru_cache


def give_back_freed_memory() -> None:
    """Return what is free in the heap to the system; no effect where the C library has no `malloc_trim`."""
    _trim()(0)


@lru_cache(maxsize=1)
def _trim() -> Callable[[int], object]:
    try:
        trim: Callable[[int], object] = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError):
        return lambda _: None
    return trim
