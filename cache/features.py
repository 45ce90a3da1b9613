"""One clip's features, checked where they are made.

Shapes: N rows (one per decoded frame), D features of a stream, V views of the visual stream.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

VISUAL_STREAM = "visual"

# The arrays beside the streams, one row per frame: name -> (dtype, trailing shape).
FRAME_ARRAYS: Mapping[str, tuple[np.dtype[np.generic], tuple[int, ...]]] = MappingProxyType(
    {
        "time_s": (np.dtype(np.float64), ()),
        "source_frame": (np.dtype(np.int64), ()),
        "face_found": (np.dtype(np.bool_), ()),
        "audio_found": (np.dtype(np.bool_), ()),
        "face_box": (np.dtype(np.float32), (4,)),
        "face_score": (np.dtype(np.float32), ()),
    }
)


@dataclass(frozen=True, kw_only=True, eq=False)
class ClipFeatures:
    """Everything that stage one knows of one clip's frames.

    Attributes:
        streams: Embeddings by stream name, float16: ``visual`` is ``(V, N, D_v)``, every other stream
            ``(N, D)``.
        time_s: ``(N,)`` float64, seconds on the container's timeline, strictly rising.
        source_frame: ``(N,)`` int64, index of the decoded picture in its video.
        face_found: ``(N,)`` bool.
        audio_found: ``(N,)`` bool, whether any decoded sound lies below the frame's audio example.
        face_box: ``(N, 4)`` float32, x0, y0, x1, y1 in pixels of the decoded picture; 0 where no face was
            found.
        face_score: ``(N,)`` float32, the detector's probability; 0 where no face was found.
    """

    streams: Mapping[str, NDArray[np.float16]]
    time_s: NDArray[np.float64]
    source_frame: NDArray[np.int64]
    face_found: NDArray[np.bool_]
    audio_found: NDArray[np.bool_]
    face_box: NDArray[np.float32]
    face_score: NDArray[np.float32]

    def __post_init__(self) -> None:
        object.__setattr__(self, "streams", dict(self.streams))  # a plain dict: it has to pickle
        num_frames = len(self.time_s) if np.ndim(self.time_s) == 1 else -1
        for name, (dtype, trailing) in FRAME_ARRAYS.items():
            _check_array(name, getattr(self, name), dtype, (num_frames, *trailing))
        if not self.streams:
            raise ValueError("streams must name at least one stream, got none")
        for name, rows in self.streams.items():
            leading: tuple[int, ...] = (-1, num_frames) if name == VISUAL_STREAM else (num_frames,)
            _check_array(f"streams[{name!r}]", rows, np.dtype(np.float16), (*leading, -1))
        for name in ("time_s", "face_box", "face_score"):
            check_finite(name, getattr(self, name), axis=0)
        for name, rows in self.streams.items():
            check_finite(f"streams[{name!r}]", rows, axis=1 if name == VISUAL_STREAM else 0)
        check_rising("time_s", self.time_s)

    @property
    def num_frames(self) -> int:
        """Number of rows N."""
        return len(self.time_s)


def _check_array(name: str, array: object, dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> None:
    """Compare dtype and shape; -1 stands for any positive length, or any length at all in ``time_s``."""
    sizes = ", ".join("any" if size < 0 else str(size) for size in shape)
    expected = f"{name} must be a numpy array of {dtype} with shape ({sizes}{',' if len(shape) == 1 else ''})"
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{expected}, got {type(array).__name__}")
    fits = array.ndim == len(shape) and all(
        size == got or (size < 0 and got > 0) for size, got in zip(shape, array.shape, strict=True)
    )
    if array.dtype != dtype or not fits:
        raise ValueError(f"{expected}, got {array.dtype} with shape {array.shape}")


def check_finite(name: str, array: NDArray[np.floating], axis: int, first_row: int = 0) -> None:
    """Refuse NaN and infinities; an infinity in a stream is a value that float16 cannot hold.

    Args:
        name: The array, for the message.
        array: Any shape.
        axis: Its axis of rows.
        first_row: Number of its first row.

    Raises:
        ValueError: A value that is not finite.
    """
    finite = np.isfinite(array)
    if not finite.all():
        row = first_row + int(np.argwhere(~finite)[0][axis])
        raise ValueError(
            f"{name} must be finite, got {array[~finite][0]} at row {row}"
            + ("; float16 holds values up to 65504" if array.dtype == np.float16 else "")
        )


def check_rising(name: str, times_s: NDArray[np.float64]) -> None:
    """Refuse times that do not rise strictly.

    Args:
        name: The array, for the message.
        times_s: ``(N,)``, finite.

    Raises:
        ValueError: A time that is not after the one before it.
    """
    falls = np.flatnonzero(np.diff(times_s) <= 0)
    if falls.size:
        row = int(falls[0])
        raise ValueError(
            f"{name} must rise strictly, got {times_s[row]} s at row {row} and {times_s[row + 1]} s after it"
        )
