"""The face crop of every frame of a clip, with detection on every k-th frame only.

Detection is the slowest step before the backbones. It runs on key frames; between two that agree, box and
landmarks move in straight lines; between two that do not, every frame is detected (k = 4):

    frame      0   1   2   3   4   5   6   7   8   9   10
    key        K               K               K       K (the last frame)
    face       yes             yes             no      no
    between        interpolated    all detected    none

Two key frames agree where neither holds a face, or where their boxes overlap by at least `MIN_OVERLAP`. A
cut or a face that comes or goes thus gets exact frames; a face that appears for fewer than k frames between
key frames may be missed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.alignment import box_crop, similarity_crop
from pipeline.config import FaceConfig
from pipeline.faces import Face, FaceDetector, subject_of
from pipeline.video import VideoFrame

# Intersection over union from which two boxes are the same face, a fifth of a second apart.
MIN_OVERLAP = 0.3


@dataclass(frozen=True, kw_only=True, eq=False)
class FaceCrop:
    """The subject's face in one frame.

    Attributes:
        index: The frame's number, as in `VideoFrame`.
        time_s: The frame's time in seconds, as in `VideoFrame`.
        box: Left, top, right, bottom in pixels of the upright picture, (4,) float32; None where no face was
            found.
        score: The detector's probability of the face, 0 where none was found.
        crop: The face, (48, 48, 3) uint8 RGB; None where none was found.
    """

    index: int
    time_s: float
    box: NDArray[np.float32] | None
    score: float
    crop: NDArray[np.uint8] | None


def track_faces(
    frames: Iterable[VideoFrame], detector: FaceDetector, config: FaceConfig
) -> Iterator[FaceCrop]:
    """The subject's face in every frame of a clip.

    At most `detect_every` + 1 frames are held at a time.

    Args:
        frames: The clip's frames, in order.
        detector: Finds the faces of the key frames, and of others where key frames disagree.
        config: How often to detect, which faces count, how to crop them.

    Yields:
        One crop per frame, in order.
    """
    key: _Sighting | None = None
    between: list[VideoFrame] = []  # frames since the key frame
    for frame in frames:
        between.append(frame)
        if key is None or len(between) == config.detect_every:
            sightings = _follow(key, between, detector, config)
            yield from (_cut_out(sighting, config) for sighting in sightings)
            key, between = sightings[-1], []
    if between:
        yield from (_cut_out(sighting, config) for sighting in _follow(key, between, detector, config))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Sighting:
    """A frame and the subject's face in it."""

    frame: VideoFrame
    face: Face | None


def _follow(
    key: _Sighting | None, frames: list[VideoFrame], detector: FaceDetector, config: FaceConfig
) -> list[_Sighting]:
    """Faces of the frames after one key frame up to the next one, which is the last of `frames`."""
    (last,) = _look(frames[-1:], detector, config)
    if key is None or not _agree(key, last):
        return [*_look(frames[:-1], detector, config), last]
    if key.face is None or last.face is None:
        return [*(_Sighting(frame=frame, face=None) for frame in frames[:-1]), last]
    between = []
    for frame in frames[:-1]:
        # By time, not by count: faces move evenly in time, and frames need not be evenly spaced.
        share = (frame.time_s - key.frame.time_s) / (last.frame.time_s - key.frame.time_s)
        between.append(_Sighting(frame=frame, face=_interpolate(key.face, last.face, share)))
    return [*between, last]


def _look(frames: list[VideoFrame], detector: FaceDetector, config: FaceConfig) -> list[_Sighting]:
    """Detection on each frame."""
    found = detector.detect([frame.rgb for frame in frames])
    return [
        _Sighting(frame=frame, face=subject_of(faces, config.min_probability))
        for frame, faces in zip(frames, found, strict=True)
    ]


def _agree(first: _Sighting, second: _Sighting) -> bool:
    """Whether what lies between two key frames follows from them."""
    if first.face is None or second.face is None:
        return first.face is second.face
    same_size = first.frame.rgb.shape == second.frame.rgb.shape
    return same_size and intersection_over_union(first.face.box, second.face.box) >= MIN_OVERLAP


def intersection_over_union(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Overlap of two boxes as a share of the area that they cover together.

    Args:
        first: Left, top, right, bottom, (4,).
        second: Left, top, right, bottom, (4,).

    Returns:
        0 for boxes apart, 1 for equal ones.

    >>> round(intersection_over_union(np.array([0, 0, 2, 2]), np.array([1, 0, 3, 2])), 4)
    0.3333
    """
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    shared = np.prod(np.maximum(0, np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])))
    return float(shared / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - shared))


def _interpolate(first: Face, second: Face, share: float) -> Face:
    """The face at a share of the way from one to the other."""
    return Face(
        box=(first.box + share * (second.box - first.box)).astype(np.float32),
        score=first.score + share * (second.score - first.score),
        landmarks=(first.landmarks + share * (second.landmarks - first.landmarks)).astype(np.float32),
    )


def _cut_out(sighting: _Sighting, config: FaceConfig) -> FaceCrop:
    """The crop of one frame."""
    frame, face = sighting.frame, sighting.face
    if face is None:
        return FaceCrop(index=frame.index, time_s=frame.time_s, box=None, score=0.0, crop=None)
    if config.align == "similarity":
        crop = similarity_crop(frame.rgb, face.landmarks)
    else:
        crop = box_crop(frame.rgb, face.box, config.margin)
    return FaceCrop(index=frame.index, time_s=frame.time_s, box=face.box, score=face.score, crop=crop)
