"""Where known faces have moved to: MTCNN's last network alone, started from where they were.

MTCNN looks for faces in the whole picture with two small networks and hands each candidate's square to a
third one (O-Net), which moves the box, places the landmarks and says how probable a face is. Between two
detections the square is that of the face in the picture before. That takes a tenth of a detection's time, and
it sees the present picture: interpolation, which stage one has in its place, needs the next detection.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from facenet_pytorch import ONet
from numpy.typing import NDArray
from torch import Tensor

from pipeline.faces.detector import Face
from pipeline.threads import one_thread

_SIDE_PX = 48
# MTCNN's scaling of 8-bit values.
_MIDDLE, _SPREAD = 127.5, 128.0


class FaceRefiner:
    """O-Net, with the weights that facenet-pytorch carries in its package.

    Args:
        device: Where it runs.
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self._device = torch.device(device)
        self._network = ONet().eval().to(self._device)

    def refine(self, picture: NDArray[np.uint8], faces: Sequence[Face]) -> list[Face]:
        """Faces of the picture before, where they are now.

        Args:
            picture: RGB, (height, width, 3).
            faces: Faces that are about where they were.

        Returns:
            For each of them a face, with the probability that it is one: 0 where it has left the picture.
        """
        squares = [_square(face.box) for face in faces]
        inputs = [_input(picture, square) for square in squares]
        seen = [each for each in inputs if each is not None]
        if not seen:
            return [_gone(face) for face in faces]
        with torch.inference_mode(), one_thread():
            batch = (torch.cat(seen).to(self._device) - _MIDDLE) / _SPREAD
            shifts, points, scores = (found.cpu().numpy() for found in self._network(batch))
        found = iter(zip(shifts, points, scores, strict=True))
        return [
            _gone(face) if each is None else _moved(square, *next(found))
            for face, square, each in zip(faces, squares, inputs, strict=True)
        ]


def _square(box: NDArray[np.float32]) -> NDArray[np.float64]:
    """Left, top, right, bottom of the square around a box's middle with its longer side, (4,)."""
    left, top, right, bottom = box.astype(np.float64)
    half = max(right - left, bottom - top) / 2
    x, y = (left + right) / 2, (top + bottom) / 2
    return np.array([x - half, y - half, x + half, y + half])


def _input(picture: NDArray[np.uint8], square: NDArray[np.float64]) -> Tensor | None:
    """The part of a picture in a square, (1, 3, 48, 48); None where there is none.

    Cut off at the picture's edges and then stretched, as MTCNN does it.
    """
    height, width = picture.shape[:2]
    left, top = (max(1, int(edge)) - 1 for edge in square[:2])
    right, bottom = min(width, int(square[2])), min(height, int(square[3]))
    if right <= left or bottom <= top:
        return None
    part = torch.from_numpy(picture[top:bottom, left:right].copy()).permute(2, 0, 1)[None].float()
    return F.interpolate(part, (_SIDE_PX, _SIDE_PX), mode="area")


def _moved(
    square: NDArray[np.float64],
    shift: NDArray[np.float32],
    points: NDArray[np.float32],
    scores: NDArray[np.float32],
) -> Face:
    """The face that O-Net sees in a square.

    Args:
        square: Left, top, right, bottom, (4,).
        shift: Of each of its edges as a share of its side, (4,).
        points: Landmarks as shares of its side from its upper left corner: five x, then five y, (10,).
        scores: Probabilities of no face and of a face, (2,).
    """
    side = square[2:] - square[:2] + 1  # MTCNN counts pixels, both edges included
    corner = square[:2]
    return Face(
        box=np.asarray(square + shift * np.tile(side, 2), np.float32),
        score=float(scores[1]),
        landmarks=np.asarray(corner + points.reshape(2, 5).T * side - 1, np.float32),
    )


def _gone(face: Face) -> Face:
    return Face(box=face.box, score=0.0, landmarks=face.landmarks)
