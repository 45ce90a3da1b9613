"""Further streams that come from a whole clip: columns that another program wrote, text, ratings.

Needs no torch. Shapes: N rows of the clip, D features.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ExtractionError


@dataclass(frozen=True, kw_only=True, eq=False)
class ClipFrames:
    """A clip and its rows, one per frame.

    Attributes:
        clip_id: Name of the clip.
        media: Its media file.
        time_s: When each row's frame is on screen, in seconds on the container's timeline, (N,) float64.
        source_frame: The decoded frame that each row shows, counted from 0, (N,) int64.
        face_found: Whether a face was found in it, (N,) bool.
    """

    clip_id: str
    media: Path
    time_s: NDArray[np.float64]
    source_frame: NDArray[np.int64]
    face_found: NDArray[np.bool_]


class ClipStream(ABC):
    """Makes one row per frame of a clip, all at once.

    A stream of your own is a subclass that states `num_features` on the class and is built with its `weights`
    setting as the only argument: a folder of files, say. See docs/backbones.md.

    Attributes:
        takes: Always `clip`.
        num_features: Features D per row.
    """

    takes: ClassVar[Literal["clip"]] = "clip"
    num_features: int

    def __init__(self, weights: str) -> None:
        self.weights = weights

    @abstractmethod
    def rows(self, clip: ClipFrames) -> NDArray[np.float32]:
        """The clip's rows, (N, D) float32. What has no value is zero: NaN is refused."""

    def source_files(self, clip_id: str) -> tuple[Path, ...]:
        """Files beside the media that the clip's rows depend on; when one changes, the clip is stale."""
        return ()


def clip_rows(name: str, stream: ClipStream, clip: ClipFrames) -> NDArray[np.float32]:
    """Rows of a stream, checked.

    Args:
        name: Of the stream, for messages.
        stream: Makes the rows.
        clip: Whose rows.

    Returns:
        (N, D).

    Raises:
        ExtractionError: The rows are not what the stream promised.
    """
    rows = stream.rows(clip)
    expected = (len(clip.time_s), stream.num_features)
    where = f"clip {clip.clip_id!r}, stream {name!r}"
    if not isinstance(rows, np.ndarray) or rows.shape != expected or rows.dtype != np.float32:
        got = f"{rows.shape} {rows.dtype}" if isinstance(rows, np.ndarray) else type(rows).__name__
        raise ExtractionError(
            f"{where}: expected rows {expected} float32, one per frame, got {got}; mend "
            f"{type(stream).__name__}.rows"
        )
    finite = np.isfinite(rows).all(axis=1)
    if not finite.all():
        raise ExtractionError(
            f"{where}: expected finite numbers, got NaN or infinity in row {int(np.argmin(finite))}; give "
            "zeros where there is no value"
        )
    return rows
