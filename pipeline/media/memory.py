"""A bound on what FFmpeg allocates at once, so that a few bytes of header cannot fill the memory.

An MP4 of a kilobyte whose table claims 80 million samples takes 2.8 GB just to be opened, and an FLV of
0.7 MB with one giant picture takes 1.1 GB (both measured): FFmpeg builds tables, and decodes first pictures,
before it hands over a header that could be looked at. FFmpeg has a limit for this, which PyAV does not pass
on; it is set through the library that PyAV has loaded.
"""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path

# For tables of samples and for compressed packets, however small the pictures: the table of 2 million frames
# takes 48 MB.
_LEAST_BYTES = 64 * 2**20
# Interleaved RGB with alpha has 4, YUV of 10 bits 2 in its largest plane.
_BYTES_PER_PX = 5


def limit_allocations(picture_px: int) -> None:
    """Have FFmpeg refuse any single allocation that pictures of the allowed size do not need.

    For the whole process, until the next call. Without effect where FFmpeg's library is not found, as on
    systems without /proc.

    Args:
        picture_px: Pixels of the largest picture that is allowed.
    """
    library = _libavutil()
    if library is not None:
        library.av_max_alloc(ctypes.c_size_t(max(_LEAST_BYTES, picture_px * _BYTES_PER_PX)))


@cache
def _libavutil() -> ctypes.CDLL | None:
    """The copy of libavutil that PyAV uses; its file has another name in every build."""
    import av  # noqa: F401  loads the library

    try:
        mapped = Path("/proc/self/maps").read_text(errors="surrogateescape")
    except OSError:
        return None
    for line in mapped.splitlines():
        path = line.partition("/")[2]
        if Path(path).name.startswith("libavutil"):
            library = ctypes.CDLL("/" + path)
            library.av_max_alloc.argtypes = [ctypes.c_size_t]
            library.av_max_alloc.restype = None
            return library
    return None
