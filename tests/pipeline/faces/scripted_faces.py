"""Frames and faces without pictures to look at: a detector that answers from a list."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.faces.detector import Face
from pipeline.media.video import VideoFrame


class Scripted:
    """Answers from a list: for the picture whose first pixel says v, faces[v]; remembers what it was shown.

    Args:
        faces: The faces of each picture.
    """

    def __init__(self, faces: Sequence[Sequence[Face]]) -> None:
        self._faces = faces
        self.calls: list[list[int]] = []

    @property
    def shown(self) -> list[int]:
        """Numbers of all pictures that were shown, in order."""
        return sorted(number for call in self.calls for number in call)

    def detect(self, pictures: Sequence[NDArray[np.uint8]]) -> list[tuple[Face, ...]]:
        numbers = [int(picture[0, 0, 0]) * 256 + int(picture[0, 0, 1]) for picture in pictures]
        self.calls.append(numbers)
        return [tuple(self._faces[number]) for number in numbers]


def face(x: float, y: float = 50.0, side: float = 60.0, score: float = 0.99) -> Face:
    """A face whose box is a square with its upper left corner at x, y."""
    points = np.array([(0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8)]) * side + (x, y)
    box = np.array([x, y, x + side, y + side], np.float32)
    return Face(box=box, score=score, landmarks=points.astype(np.float32))


def frames_of(
    pictures: Sequence[NDArray[np.uint8]], times_s: Sequence[float] | None = None
) -> list[VideoFrame]:
    """Frames of given pictures, at 25 frames per second from second 10 on unless times are given."""
    times_s = times_s or [10 + index / 25 for index in range(len(pictures))]
    return [
        VideoFrame(index=index, time_s=time_s, rgb=picture, row_times_s=(time_s,))
        for index, (picture, time_s) in enumerate(zip(pictures, times_s, strict=True))
    ]


def numbered(
    count: int,
    *,
    cuts: Sequence[int] = (),
    size: tuple[int, int] = (160, 120),
    times_s: Sequence[float] | None = None,
) -> list[VideoFrame]:
    """Frames that say their number, with another background after each cut."""
    scenes = np.random.default_rng(0).integers(0, 256, (len(cuts) + 1, 8, 8, 3), np.uint8)
    rows, columns = np.arange(size[1]) * 8 // size[1], np.arange(size[0]) * 8 // size[0]
    pictures = []
    for number in range(count):
        picture = scenes[sum(cut <= number for cut in cuts)][rows][:, columns]
        picture[0, 0, :2] = divmod(number, 256)
        pictures.append(picture)
    return frames_of(pictures, times_s)
