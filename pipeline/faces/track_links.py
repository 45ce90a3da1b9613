"""Which boxes of one picture are the same faces as those of another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.faces.detector import Face

# Intersection over union from which two boxes are the same face, a fifth of a second apart.
MIN_OVERLAP = 0.3
# A face that is back in its place within this time is still the same one; MTCNN misses faces for a moment
# when they turn or a hand passes.
MAX_GAP_S = 1.0


class TrackLinker:
    """Gives each face the number of its track, picture by picture.

    A face continues the track whose latest box it overlaps best; first the tracks seen in the picture before
    are served, then those lost for a moment.
    """

    def __init__(self) -> None:
        self._seen: list[_OpenTrack] = []  # in the latest picture, in the order of its faces
        self._lost: list[_OpenTrack] = []
        self._num_tracks = 0

    def begin_scene(self) -> None:
        """End all tracks."""
        self._seen, self._lost = [], []

    def link(self, time_s: float, faces: Sequence[Face]) -> tuple[int, ...]:
        """Tracks of the faces of the next picture of the scene.

        Args:
            time_s: The picture's time.
            faces: Its faces.

        Returns:
            For each face the number of its track; tracks are numbered from 0 in the order of their first
            pictures and of the faces in them.
        """
        boxes = [face.box for face in faces]
        tracks: list[int | None] = [None] * len(faces)
        self._lost = [track for track in self._lost if time_s - track.time_s <= MAX_GAP_S]
        for known in (self._seen, self._lost):
            free = [number for number, track in enumerate(tracks) if track is None]
            for early, late in overlap_pairs([track.box for track in known], [boxes[n] for n in free]):
                tracks[free[late]] = known[early].number
        numbers = []
        for track in tracks:
            if track is None:
                track, self._num_tracks = self._num_tracks, self._num_tracks + 1
            numbers.append(track)
        taken = set(numbers)
        self._lost = [track for track in (*self._seen, *self._lost) if track.number not in taken]
        self._seen = [
            _OpenTrack(number=number, time_s=time_s, box=box)
            for number, box in zip(numbers, boxes, strict=True)
        ]
        return tuple(numbers)


def overlap_pairs(
    first: Sequence[NDArray[np.float32]],
    second: Sequence[NDArray[np.float32]],
    min_overlap: float = MIN_OVERLAP,
) -> list[tuple[int, int]]:
    """Boxes of one picture that are the same faces as those of another, best overlap first.

    Args:
        first: Boxes, (4,) each.
        second: Boxes, (4,) each.
        min_overlap: Intersection over union of boxes of one face.

    Returns:
        Positions in the first and in the second list, each at most once, for pairs that overlap by so much.
    """
    overlaps = sorted(
        (-intersection_over_union(a, b), i, j) for i, a in enumerate(first) for j, b in enumerate(second)
    )
    pairs: list[tuple[int, int]] = []
    for overlap, i, j in overlaps:
        if -overlap >= min_overlap and all(i != i_taken and j != j_taken for i_taken, j_taken in pairs):
            pairs.append((i, j))
    return pairs


def intersection_over_union(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """Overlap of two boxes as a share of the area that they cover together.

    Args:
        first: Left, top, right, bottom, (4,).
        second: Left, top, right, bottom, (4,).

    Returns:
        0 for boxes apart, 1 for equal ones.

    >>> round(intersection_over_union(np.array([0, 0, 2, 2]), np.array([1, 0, 3, 2])), 4)
    0.3333
    """
    # In plain numbers: for four of them, ten times as fast as arrays.
    left, top, right, bottom = first.tolist()
    other_left, other_top, other_right, other_bottom = second.tolist()
    width = min(right, other_right) - max(left, other_left)
    height = min(bottom, other_bottom) - max(top, other_top)
    shared = max(0.0, width) * max(0.0, height)
    area = (right - left) * (bottom - top) + (other_right - other_left) * (other_bottom - other_top)
    return float(shared / (area - shared))


@dataclass(frozen=True, kw_only=True, eq=False)
class _OpenTrack:
    """A track that may go on: its number, and when and where it was seen last."""

    number: int
    time_s: float
    box: NDArray[np.float32]
