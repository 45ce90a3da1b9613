"""Detection of a drawn face whose box is known, and the choice of the subject."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from facenet_pytorch import MTCNN
from facenet_pytorch.models.utils import detect_face as mtcnn_stages
from PIL import Image

from pipeline.config import CorpusConfig
from pipeline.errors import FaceDetectionError
from pipeline.faces.detector import Face, FaceDetector
from pipeline.sample_corpus import plan_corpus
from pipeline.sample_corpus.clip import pictures, voice


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union, counted on a fine grid of points."""
    x, y = np.meshgrid(np.arange(-50, 400) + 0.5, np.arange(-50, 400) + 0.5)
    inside = [(x > box[0]) & (x < box[2]) & (y > box[1]) & (y < box[3]) for box in (first, second)]
    return float((inside[0] & inside[1]).sum() / (inside[0] | inside[1]).sum())


@pytest.mark.parametrize(("center", "height"), [((160, 125), 150), ((90, 120), 120), ((220, 130), 190)])
def test_a_drawn_face_is_found_where_it_was_drawn(draw_face, detector, center, height):
    picture, box = draw_face((320, 240), center, height)
    (faces,) = detector.detect([picture])
    assert len(faces) == 1
    (face,) = faces
    assert face.box.shape == (4,)
    assert face.box.dtype == face.landmarks.dtype == np.float32
    assert overlap(face.box, box) > 0.75
    assert 0.95 < face.score <= 1
    # Left eye, right eye, nose, left and right corner of the mouth, as the face was drawn.
    drawn = np.array([(-0.32, -0.14), (0.32, -0.14), (0, 0.24), (-0.28, 0.56), (0.28, 0.56)])
    np.testing.assert_allclose(face.landmarks, np.array(center) + drawn * height / 2, atol=0.1 * height)
    assert face.area_px == pytest.approx(float(np.prod(face.box[2:] - face.box[:2])), rel=1e-6)


def test_no_face_where_none_is_drawn(draw_face, detector):
    picture, _ = draw_face((320, 240), None)
    assert detector.detect([picture]) == [()]
    assert detector.detect([]) == []


def test_a_picture_has_the_same_faces_alone_and_in_any_company(draw_face, detector):
    pictures = [draw_face((320, 240), (100 + 12 * k, 120), 110 + 10 * k)[0] for k in range(5)]
    pictures.append(draw_face((200, 180), (100, 95), 120)[0])  # another size
    together = detector.detect(pictures)
    for picture, faces in zip(pictures, together, strict=True):
        (alone,) = detector.detect([picture])
        for a, b in zip(alone, faces, strict=True):
            np.testing.assert_array_equal(a.box, b.box)
            np.testing.assert_array_equal(a.landmarks, b.landmarks)
            assert a.score == b.score


def test_a_picture_has_the_same_faces_on_any_number_of_threads(detector):
    # Pictures with a background, whose many candidates make matrices large enough to be shared among threads.
    plan = plan_corpus(CorpusConfig(clips=6, seconds=2, seed=5))[4]
    frames = [picture for index, picture in enumerate(pictures(plan, voice(plan))) if index % 10 == 0]
    found = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        faces = [face for faces in detector.detect(frames) for face in faces]
        found.append([np.concatenate([face.box, face.landmarks.ravel()]) for face in faces])
        assert torch.get_num_threads() == threads
    torch.set_num_threads(1)
    assert len(found[0]) >= 4
    np.testing.assert_array_equal(found[1], found[0])
    np.testing.assert_array_equal(found[2], found[0])


def test_faces_are_the_packages_own_to_the_last_bit(draw_face, detector):
    package = MTCNN(keep_all=True, min_face_size=40).eval()
    plan = plan_corpus(CorpusConfig(clips=6, seconds=2, seed=5))[4]
    shown = [picture for index, picture in enumerate(pictures(plan, voice(plan))) if index % 16 == 0]
    shown.append(draw_face((320, 240), (150, 120), 140)[0])
    shown.append(np.asarray(Image.fromarray(shown[0]).resize((641, 479))))
    num_faces = 0
    for picture, faces in zip(shown, detector.detect(shown), strict=True):
        boxes, scores, landmarks = package.detect(picture, landmarks=True)
        theirs = [] if boxes is None else list(zip(boxes, scores, landmarks, strict=True))
        assert len(faces) == len(theirs)
        for face, (box, score, points) in zip(faces, theirs, strict=True):
            np.testing.assert_array_equal(face.box, box.astype(np.float32))
            np.testing.assert_array_equal(face.landmarks, points.astype(np.float32))
            assert face.score == score
            num_faces += 1
    assert num_faces >= 4


@pytest.mark.parametrize("size", [(1, 1), (10, 10), (39, 300), (300, 39), (40, 40), (41, 64)])
def test_pictures_too_small_for_a_face_have_none(detector, size):
    height, width = size
    picture = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    assert detector.detect([picture]) == [()]


def test_the_smallest_face_is_a_setting(draw_face):
    picture, _ = draw_face((200, 160), (100, 80), 30)
    assert len(FaceDetector(min_size_px=20).detect([picture])[0]) == 1
    assert FaceDetector(min_size_px=60).detect([picture]) == [()]


def test_faces_cut_by_the_pictures_edge_do_no_harm(draw_face):
    keen = FaceDetector(min_size_px=12)
    for center in [(0, 60), (160, 60), (80, 0), (80, 120), (0, 0), (170, 130)]:
        for height in (60, 140):
            keen.detect([draw_face((160, 120), center, height)[0]])


@pytest.mark.parametrize(
    "picture", [np.zeros((240, 320), np.uint8), np.zeros((240, 320, 4), np.uint8), np.zeros((240, 320, 3))]
)
def test_what_is_no_rgb_picture_is_refused(detector, picture):
    with pytest.raises(FaceDetectionError, match=r"expected \(height, width, 3\) of uint8, got \(240, 320"):
        detector.detect([picture])


def answer(boxes: list[list[float]], scores: list[float], spread: float = 20.0):
    """What MTCNN's stages would say of one picture."""
    points = np.array([(0, 0), (2, 0), (1, 1), (0, 2), (2, 2)]) * spread
    with_scores = np.column_stack((np.array(boxes, np.float32), np.array(scores, np.float32)))
    return [with_scores], [np.array([points] * len(boxes), np.float32)]


def detected(monkeypatch, detector, *given) -> tuple[Face, ...]:
    monkeypatch.setattr(detector, "_stages", lambda pictures: answer(*given))
    return detector.detect([np.zeros((240, 320, 3), np.uint8)])[0]


def test_faces_come_largest_first_and_ties_are_settled(monkeypatch, detector):
    boxes = [[0, 0, 10, 10], [50, 0, 90, 20], [50, 40, 70, 80], [5, 40, 25, 80], [5, 10, 25, 50]]
    scores = [0.99, 0.92, 0.97, 0.97, 0.97]
    faces = detected(monkeypatch, detector, boxes, scores)
    assert [face.box.tolist() for face in faces] == [boxes[4], boxes[3], boxes[2], boxes[1], boxes[0]]


def test_boxes_without_extent_and_landmarks_in_one_point_are_no_faces(monkeypatch, detector):
    assert detected(monkeypatch, detector, [[10, 10, 10, 50], [10, 50, 40, 20]], [0.99, 0.99]) == ()
    assert detected(monkeypatch, detector, [[10, 10, 60, 60]], [0.99], 0.01) == ()


def test_what_mtcnn_fails_on_is_named(monkeypatch, detector):
    def failing(pictures):
        raise IndexError("mask [7]\ndoes not match")

    monkeypatch.setattr(detector, "_stages", failing)
    with pytest.raises(
        FaceDetectionError, match=r"picture of 320 x 240 px: .*IndexError: mask \[7\] does not match"
    ):
        detector.detect([np.zeros((240, 320, 3), np.uint8)])


def on_a_pretended_gpu(monkeypatch) -> FaceDetector:
    """A detector that batches its pictures, and computes on the CPU all the same."""
    detector = FaceDetector()
    detector.device = torch.device("cuda")
    package = mtcnn_stages.detect_face
    monkeypatch.setattr(
        mtcnn_stages, "detect_face", lambda *arguments: package(*arguments[:-1], torch.device("cpu"))
    )
    return detector


def test_batches_have_the_faces_of_single_pictures(monkeypatch, draw_face, detector):
    pictures = [draw_face((320, 240), (100 + 12 * k, 120), 110 + 10 * k)[0] for k in range(3)]
    pictures.insert(1, draw_face((200, 180), (100, 95), 120)[0])  # another size
    pictures.insert(2, np.zeros((30, 30, 3), np.uint8))  # too small
    pictures.append(draw_face((320, 240), None)[0])  # no face
    pictures.append(np.concatenate((pictures[0], pictures[3]), axis=1)[:, :500])  # two faces
    alone = detector.detect(pictures)
    together = on_a_pretended_gpu(monkeypatch).detect(pictures)
    assert [len(faces) for faces in together] == [len(faces) for faces in alone] == [1, 1, 0, 1, 1, 0, 2]
    for ours, theirs in zip(together, alone, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a.box, b.box, atol=1e-3)
            np.testing.assert_allclose(a.landmarks, b.landmarks, atol=1e-3)


def test_a_gpu_gets_pictures_of_one_size_in_batches_of_bounded_size(monkeypatch):
    detector = on_a_pretended_gpu(monkeypatch)
    batches = []

    def stages(pictures):
        batches.append([picture.shape[0] for picture in pictures])
        return [np.zeros((0, 5))] * len(pictures), [np.zeros((0, 5, 2))] * len(pictures)

    monkeypatch.setattr(detector, "_stages", stages)
    large = np.zeros((2000, 4000, 3), np.uint8)  # 23 MiB
    small = np.zeros((60, 80, 3), np.uint8)
    assert detector.detect([small, large, small, large, large, *[small] * 31]) == [()] * 36
    assert batches == [[60] * 32, [60], [2000] * 2, [2000]]


@pytest.mark.gpu
def test_a_gpu_finds_the_same_faces(draw_face, detector):
    pictures = [draw_face((320, 240), (100 + 12 * k, 120), 110 + 10 * k)[0] for k in range(5)]
    pictures.append(draw_face((320, 240), None)[0])
    for ours, theirs in zip(
        FaceDetector(device="cuda").detect(pictures), detector.detect(pictures), strict=True
    ):
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a.box, b.box, atol=0.05)
            np.testing.assert_allclose(a.landmarks, b.landmarks, atol=0.05)
