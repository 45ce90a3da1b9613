"""Faces of a live source: when the detector is asked, and how near the following comes to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pipeline.config import FaceConfig
from pipeline.faces.detector import Face, FaceDetector
from pipeline.live.face_follower import FaceFollower
from pipeline.live.face_refiner import FaceRefiner
from pipeline.live.live_source import LiveFrame


class CountingDetector:
    """MTCNN, and the numbers of the calls."""

    def __init__(self, detector: FaceDetector) -> None:
        self._detector = detector
        self.num_calls = 0

    def detect(self, pictures: Any) -> list[tuple[Face, ...]]:
        self.num_calls += 1
        return self._detector.detect(pictures)


@pytest.fixture
def counting(detector: FaceDetector) -> CountingDetector:
    return CountingDetector(detector)


@pytest.fixture(scope="module")
def refiner() -> FaceRefiner:
    return FaceRefiner()


def frame(index: int, picture: np.ndarray) -> LiveFrame:
    return LiveFrame(index=index, time_s=index / 25, rgb=picture, arrived_s=0.0)


def faces_of(
    pictures: list[np.ndarray], detector: CountingDetector, refiner: FaceRefiner, detect_every: int
) -> tuple[list[Face | None], list[int]]:
    """The face in each picture, and in which the detector was asked."""
    follower = FaceFollower(detector, refiner, FaceConfig(detect_every=detect_every))
    found, asked = [], []
    for index, picture in enumerate(pictures):
        before = detector.num_calls
        found.append(follower.face(frame(index, picture)))
        asked += [index] * (detector.num_calls - before)
    return found, asked


@pytest.fixture(scope="module")
def moving(draw_face: Callable[..., Any]) -> list[np.ndarray]:
    return [draw_face((200, 200), (85 + 2 * n, 100 + n), 120.0 + n)[0] for n in range(10)]


def test_a_face_is_followed_between_detections(moving, counting, detector, refiner):
    found, asked = faces_of(moving, counting, refiner, 5)
    assert asked == [0, 5]
    for number, (face,) in enumerate(detector.detect(moving)):
        side = float((face.box[2:] - face.box[:2]).max())
        off = np.abs(found[number].landmarks - face.landmarks).mean() / side
        assert off <= (0 if number in asked else 0.03)
        # The face that was found last would be further off.
        if number % 5 == 4:
            held = found[number - 4]
            assert np.abs(held.landmarks - face.landmarks).mean() / side > 2 * off


def test_every_picture_is_detected_if_asked_for(moving, counting, refiner):
    assert faces_of(moving[:3], counting, refiner, 1)[1] == [0, 1, 2]


def test_a_face_that_is_lost_is_looked_for_at_once_and_then_now_and_then(
    moving, counting, refiner, draw_face
):
    empty = draw_face((200, 200), None)[0]
    found, asked = faces_of([*moving[:2], *[empty] * 8], counting, refiner, 5)
    assert [face is not None for face in found] == [True] * 2 + [False] * 8
    assert asked == [0, 2, 7]


def test_a_scene_begins_with_a_detection(counting, refiner, draw_face):
    other = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8).repeat(25, 0).repeat(25, 1)
    first = [draw_face((200, 200), (100, 100), 120.0)[0]] * 3
    assert faces_of([*first, other, other], counting, refiner, 5)[1][:2] == [0, 3]


def test_faces_outside_the_picture_are_gone(refiner):
    far = Face(
        box=np.array([300, 300, 350, 350], np.float32), score=1.0, landmarks=np.ones((5, 2), np.float32)
    )
    (gone,) = refiner.refine(np.zeros((100, 100, 3), np.uint8), [far])
    assert gone.score == 0
    assert refiner.refine(np.zeros((100, 100, 3), np.uint8), []) == []
