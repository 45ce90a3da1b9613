"""Faces of a picture: MTCNN, with the weights that facenet-pytorch carries in its package."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from facenet_pytorch import MTCNN
from numpy.typing import NDArray

from pipeline.errors import FaceDetectionError
from pipeline.threads import one_thread

# Landmarks nearer to each other than this describe no face that could be aligned.
_MIN_LANDMARK_SPREAD_PX = 1.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Face:
    """A detected face.

    Attributes:
        box: Left, top, right, bottom in pixels of the picture, (4,) float32; may reach beyond its edges.
        score: MTCNN's probability that this is a face.
        landmarks: Left eye, right eye, nose, left and right corner of the mouth, left and right as seen in
            the picture: x and y in pixels, (5, 2) float32.
    """

    box: NDArray[np.float32]
    score: float
    landmarks: NDArray[np.float32]

    @property
    def area_px(self) -> float:
        """Area of the box in square pixels."""
        left, top, right, bottom = self.box.tolist()
        return float((right - left) * (bottom - top))


class FaceDetector:
    """MTCNN, one picture at a time.

    Pictures are not batched: the networks' second and third stage would then see candidates of all pictures
    in one matrix, which moves boxes by up to 5e-5 px with the neighbours (measured), and a batch of four
    gains a third in speed at most. One by one, a picture's faces depend on that picture alone. And on one
    thread: with another number of threads MTCNN moves boxes by up to 5e-5 px too (measured), and a clip's
    rows would depend on how many workers there were. The backbones' rows do not.

    Args:
        min_size_px: Smallest face looked for, in pixels of the picture; MTCNN also reports some down to
            half of it.
        device: Where the networks run.
    """

    def __init__(self, min_size_px: int = 40, device: torch.device | str = "cpu") -> None:
        self.min_size_px = min_size_px
        self._mtcnn = MTCNN(keep_all=True, min_face_size=min_size_px, device=torch.device(device)).eval()

    def detect(self, pictures: Sequence[NDArray[np.uint8]]) -> list[tuple[Face, ...]]:
        """All faces of each picture.

        Args:
            pictures: RGB pictures, each (height, width, 3) uint8, of any sizes.

        Returns:
            For each picture its faces, largest first; ties by higher score, then further left, then further
            up. None in a picture that is smaller than the smallest face.

        Raises:
            FaceDetectionError: Not an RGB picture of bytes, or one that MTCNN fails on.
        """
        return [self._detect_one(picture) for picture in pictures]

    def _detect_one(self, picture: NDArray[np.uint8]) -> tuple[Face, ...]:
        if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
            raise FaceDetectionError(
                f"picture: expected (height, width, 3) of uint8, got {picture.shape} of {picture.dtype}; "
                "convert it to 8-bit RGB"
            )
        height, width = picture.shape[:2]
        if min(height, width) < self.min_size_px:
            return ()  # MTCNN's pyramid would have no level
        try:
            with one_thread():
                boxes, scores, landmarks = self._mtcnn.detect(picture, landmarks=True)
        except (RuntimeError, IndexError) as error:
            raise FaceDetectionError(
                f"picture of {width} x {height} px: expected faces or none from MTCNN, got "
                f"{type(error).__name__}: {' '.join(str(error).split())}; leave the clip out, and report it"
            ) from error
        if boxes is None:
            return ()
        faces = [
            Face(
                box=np.asarray(box, dtype=np.float32),
                score=float(score),
                landmarks=np.asarray(points, dtype=np.float32),
            )
            for box, score, points in zip(boxes, scores, landmarks, strict=True)
        ]
        return tuple(sorted(filter(_is_usable, faces), key=_rank))


def subject_of(faces: Sequence[Face], min_probability: float) -> Face | None:
    """The face that a clip is about: the largest of those that are probable enough.

    Args:
        faces: Faces of one picture, in the order of `FaceDetector.detect`.
        min_probability: Faces with a lower score are not faces.

    Returns:
        The face, None where there is none.
    """
    return next((face for face in faces if face.score >= min_probability), None)


def _is_usable(face: Face) -> bool:
    """Whether a face has an extent and landmarks apart from each other."""
    left, top, right, bottom = face.box.tolist()
    spread = np.ptp(face.landmarks, axis=0).max()
    return bool(left < right and top < bottom and spread >= _MIN_LANDMARK_SPREAD_PX)


def _rank(face: Face) -> tuple[float, float, float, float]:
    """Sorting key: large, probable, left, upper faces first."""
    return -face.area_px, -face.score, float(face.box[0]), float(face.box[1])
