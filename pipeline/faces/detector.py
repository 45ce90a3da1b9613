"""Faces of a picture: MTCNN, with the weights that facenet-pytorch carries in its package."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import FunctionType
from typing import Any, Protocol

import numpy as np
import torch
from facenet_pytorch import MTCNN
from facenet_pytorch.models.utils import detect_face as mtcnn_stages
from numpy.typing import NDArray
from torch import nn

from pipeline.errors import FaceDetectionError
from pipeline.faces.exact_pooling import AreaSums, MaxPool
from pipeline.threads import one_thread

# Landmarks nearer to each other than this describe no face that could be aligned.
_MIN_LANDMARK_SPREAD_PX = 1.0
# Pictures in one batch on a GPU, and their bytes: MTCNN makes floats of them, four times as large, and more.
_BATCH_PICTURES = 32
_BATCH_BYTES = 64 * 2**20


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


class Detector(Protocol):
    """Whatever finds faces: `FaceDetector` here, or a process that runs one."""

    def detect(self, pictures: Sequence[NDArray[np.uint8]]) -> list[tuple[Face, ...]]:
        """All faces of each picture, as `FaceDetector.detect`."""
        ...


class FaceDetector:
    """MTCNN.

    On the CPU, pictures are looked at one by one and on one thread. In a batch, the networks' second and
    third stage see candidates of all pictures in one matrix, which moves boxes by up to 5e-5 px with the
    neighbours (measured), and a batch of four gains a third in speed at most. So does another number of
    threads, and a clip's rows would depend on how many workers there were. A picture's faces thus depend on
    that picture alone. They are MTCNN's own to the last bit; only its pooling is done another way, which
    takes a third to more than half off its time.

    A GPU is idle most of the time with one picture, so pictures of equal size go through it together there,
    and boxes may differ by as little with the neighbours.

    Args:
        min_size_px: Smallest face looked for, in pixels of the picture; MTCNN also reports some down to
            half of it.
        device: Where the networks run.
    """

    def __init__(self, min_size_px: int = 40, device: torch.device | str = "cpu") -> None:
        self.min_size_px = min_size_px
        self.device = torch.device(device)
        self._mtcnn = MTCNN(keep_all=True, min_face_size=min_size_px, device=self.device).eval()
        if self.device.type == "cpu":
            for network in (self._mtcnn.pnet, self._mtcnn.rnet, self._mtcnn.onet):
                _pool_faster(network)

    def detect(self, pictures: Sequence[NDArray[np.uint8]]) -> list[tuple[Face, ...]]:
        """All faces of each picture.

        Args:
            pictures: RGB pictures, each (height, width, 3) uint8, of any sizes.

        Returns:
            For each picture its faces, largest first; ties by higher score, then further left, then further
            up. None in a picture that is smaller than the smallest face.

        Raises:
            FaceDetectionError: A picture that is not of that shape and type.
        """
        for picture in pictures:
            if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
                raise FaceDetectionError(
                    f"picture: expected (height, width, 3) of uint8, got {picture.shape} of {picture.dtype}; "
                    "convert it to 8-bit RGB"
                )
        found: list[tuple[Face, ...]] = [()] * len(pictures)
        for numbers in self._batches(pictures):
            faces = self._faces_of([pictures[number] for number in numbers])
            for number, of_picture in zip(numbers, faces, strict=True):
                found[number] = of_picture
        return found

    def _batches(self, pictures: Sequence[NDArray[np.uint8]]) -> Iterator[list[int]]:
        """Numbers of pictures that are looked at together; of those too small for a face, none."""
        by_size: dict[tuple[int, ...], list[int]] = {}
        for number, picture in enumerate(pictures):
            if min(picture.shape[:2]) >= self.min_size_px:  # else MTCNN's pyramid would have no level
                by_size.setdefault(picture.shape, []).append(number)
        for shape, numbers in by_size.items():
            most = 1
            if self.device.type != "cpu":
                most = max(1, min(_BATCH_PICTURES, _BATCH_BYTES // int(np.prod(shape))))
            for start in range(0, len(numbers), most):
                yield numbers[start : start + most]

    def _faces_of(self, pictures: list[NDArray[np.uint8]]) -> Iterator[tuple[Face, ...]]:
        """Faces of pictures of one size."""
        try:
            with torch.inference_mode(), one_thread():
                all_boxes, all_landmarks = self._stages(pictures)
        except (RuntimeError, IndexError) as error:
            height, width = pictures[0].shape[:2]
            raise FaceDetectionError(
                f"picture of {width} x {height} px: expected faces or none from MTCNN, got "
                f"{type(error).__name__}: {' '.join(str(error).split())}; leave the clip out, and report it"
            ) from error
        for boxes, landmarks in zip(all_boxes, all_landmarks, strict=True):
            faces = [
                Face(
                    box=np.asarray(box[:4], dtype=np.float32),
                    score=float(box[4]),
                    landmarks=np.asarray(points, dtype=np.float32),
                )
                for box, points in zip(boxes, landmarks, strict=True)
            ]
            yield tuple(sorted(filter(_is_usable, faces), key=_rank))

    def _stages(self, pictures: list[NDArray[np.uint8]]) -> Any:
        """MTCNN's three stages: for each picture boxes with probabilities (n, 5), and landmarks (n, 5, 2)."""
        mtcnn, stages = self._mtcnn, mtcnn_stages.detect_face
        batch = np.stack(pictures)
        if self.device.type == "cpu":
            # The package's own function, but where it says `imresample`, it means ours.
            ours = {**vars(mtcnn_stages), "imresample": AreaSums(pictures[0]).resize}
            stages = FunctionType(stages.__code__, ours)
        return stages(
            batch,
            self.min_size_px,
            mtcnn.pnet,
            mtcnn.rnet,
            mtcnn.onet,
            mtcnn.thresholds,
            mtcnn.factor,
            self.device,
        )


def _pool_faster(network: nn.Module) -> None:
    """Replace a network's pooling layers by equal ones."""
    for name, layer in list(network.named_children()):
        if isinstance(layer, nn.MaxPool2d):
            setattr(network, name, MaxPool(int(layer.kernel_size)))  # type: ignore[arg-type]


def _is_usable(face: Face) -> bool:
    """Whether a face has an extent and landmarks apart from each other."""
    left, top, right, bottom = face.box.tolist()
    spread = np.ptp(face.landmarks, axis=0).max()
    return bool(left < right and top < bottom and spread >= _MIN_LANDMARK_SPREAD_PX)


def _rank(face: Face) -> tuple[float, float, float, float]:
    """Sorting key: large, probable, left, upper faces first."""
    return -face.area_px, -face.score, float(face.box[0]), float(face.box[1])
