"""Drawn people: found by a detector of real faces, and their mouths measured in pixels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from facenet_pytorch import MTCNN
from PIL import Image

from pipeline.config import CorpusConfig
from pipeline.sample_corpus.clip import ClipPlan, acting
from pipeline.sample_corpus.expression import Expression, Pose
from pipeline.sample_corpus.face import FacePainter
from pipeline.sample_corpus.person import Person, draw_person
from pipeline.sample_corpus.plan import plan_corpus
from pipeline.sample_corpus.scene import Cover, ScenePainter, turned
from pipeline.sample_corpus.voice import Utterance

_AT_REST = Pose(shift=(0.0, 0.0), roll_deg=0.0, turn=(0.0, 0.0), lean=0.0)
_UNIT_PX = 100.0


def _expression(smile: float = 0.0, mouth_open: float = 0.0, eye_open: float = 1.0) -> Expression:
    return Expression(smile=smile, mouth_open=mouth_open, brow_raise=0.0, frown=0.0, eye_open=eye_open)


def _person(seed: int) -> Person:
    return draw_person(np.random.default_rng(seed))


def _painted_gray(person: Person, expression: Expression) -> np.ndarray:
    """The face in gray; the middle of the face in the middle, 100 px per face unit."""
    return np.asarray(
        FacePainter(person, _UNIT_PX).paint(expression, (0.0, 0.0)).convert("L"), dtype=np.float64
    )


def _mouth_line(person: Person, smile: float) -> tuple[np.ndarray, np.ndarray]:
    """Pixels of the dark line between the lips: x and y from the middle of the face, in face units."""
    gray = _painted_gray(person, _expression(smile))
    height, width = gray.shape
    top, bottom = (round(height / 2 + _UNIT_PX * (person.mouth_height + d)) for d in (-0.13, 0.13))
    columns = np.arange(round(width / 2 - 0.2 * _UNIT_PX), round(width / 2 + 0.2 * _UNIT_PX))
    rows = np.argmin(gray[top:bottom, columns], axis=0) + top
    return (columns + 0.5 - width / 2) / _UNIT_PX, (rows + 0.5 - height / 2) / _UNIT_PX


@pytest.mark.parametrize("seed", [0, 1, 2, 5])
@pytest.mark.parametrize("smile", [-0.8, 0.0, 0.8])
def test_mouth_curve_measured_in_pixels(seed: int, smile: float) -> None:
    person = _person(seed)
    x, y = _mouth_line(person, smile)
    curvature = np.polyfit(x, y, 2)[0]
    # Corners 0.20 face units above the middle at a full smile, over half the mouth's width; y points down.
    half_width = person.mouth_width * (1.0 + 0.18 * smile)
    assert -curvature * half_width**2 == pytest.approx(0.20 * smile, abs=0.025)


def test_open_mouth_shows_a_dark_inside() -> None:
    person = _person(3)

    def darkness(mouth_open: float) -> int:
        gray = _painted_gray(person, _expression(0.5, mouth_open))
        middle = round(gray.shape[0] / 2 + _UNIT_PX * person.mouth_height), gray.shape[1] // 2
        return int((gray[middle[0] - 25 : middle[0] + 35, middle[1] - 30 : middle[1] + 30] < 60).sum())

    assert darkness(0.8) > darkness(0.3) + 200
    assert darkness(0.3) > darkness(0.0) + 50


def test_shut_eyes_hide_the_white() -> None:
    person = _person(3)

    def whites(eye_open: float) -> int:
        gray = _painted_gray(person, _expression(eye_open=eye_open))
        middle = round(gray.shape[0] / 2 + _UNIT_PX * person.eye_height)
        return int((gray[middle - 15 : middle + 10] > 225).sum())

    assert whites(1.3) > whites(0.8) > 50
    assert whites(0.0) == 0


def test_wide_eyes_lift_the_upper_lids() -> None:
    person = _person(3)

    def top_of_iris_row(eye_open: float) -> int:
        """First row below the brow, straight above the pupil, that is as dark as a lid."""
        gray = _painted_gray(person, _expression(eye_open=eye_open))
        column = round(gray.shape[1] / 2 + _UNIT_PX * person.eye_spacing)
        eye = round(gray.shape[0] / 2 + _UNIT_PX * person.eye_height)
        return int(np.nonzero(gray[eye - 17 : eye + 5, column] < 90)[0][0])

    # 0.105 face units of 100 px for each unit of opening.
    assert top_of_iris_row(0.5) - top_of_iris_row(1.3) == pytest.approx(0.8 * 10.5, abs=1.5)


@pytest.mark.parametrize("angle_deg", [0.0, 20.0, -35.0, 90.0])
def test_turned_image_lies_where_the_formula_says(angle_deg: float) -> None:
    image = Image.new("RGBA", (101, 81), (0, 0, 0, 0))
    image.paste((255, 255, 255, 255), (68, 20, 73, 25))  # its middle is (70.5, 22.5)
    weight = np.asarray(turned(image, angle_deg, (0.3, 0.75)))[..., 3].astype(float)
    rows, columns = np.indices(weight.shape) + 0.5
    center = (columns * weight).sum() / weight.sum(), (rows * weight).sum() / weight.sum()
    # About (50.5, 40.5); y points down, so counter-clockwise turns x towards -y.
    angle, x, y = np.radians(angle_deg), 70.5 - 50.5, 22.5 - 40.5
    expected = (
        50.5 + x * np.cos(angle) + y * np.sin(angle) + 0.3,
        40.5 - x * np.sin(angle) + y * np.cos(angle) + 0.75,
    )
    assert center == pytest.approx(expected, abs=0.05)


def test_roll_turns_the_face_counter_clockwise() -> None:
    painter = ScenePainter(_person(3))

    def brightest_rows(roll_deg: float) -> tuple[float, float]:
        pose = Pose(shift=(0.0, 0.0), roll_deg=roll_deg, turn=(0.0, 0.0), lean=0.0)
        shut, wide = (painter.paint(_expression(eye_open=e), pose, None).astype(float) for e in (0.0, 1.3))
        changed = np.abs(wide - shut).sum(axis=2)
        rows, columns = np.nonzero(changed > 100)
        middle = columns.mean()
        return rows[columns < middle].mean(), rows[columns > middle].mean()

    left, right = brightest_rows(12.0)
    assert left > right + 5
    left, right = brightest_rows(0.0)
    assert left == pytest.approx(right, abs=1.5)


def test_people_differ_and_repeat() -> None:
    first, second = (ScenePainter(_person(seed)).paint(_expression(), _AT_REST, None) for seed in (0, 1))
    again = ScenePainter(_person(0)).paint(_expression(), _AT_REST, None)
    assert np.abs(first.astype(int) - second).mean() > 10
    np.testing.assert_array_equal(first, again)


@pytest.fixture(scope="module")
def detector() -> MTCNN:
    torch.set_num_threads(1)
    return MTCNN(keep_all=True, min_face_size=40)


def _shown_frames(plan: ClipPlan) -> list[int]:
    """Two frames of the clip in which nothing hides the face, one of each half."""
    hidden = np.zeros(plan.num_frames, dtype=bool)
    for episode in plan.episodes:
        if episode.modality == "visual":
            hidden |= (plan.frame_times_s >= episode.start_s) & (plan.frame_times_s <= episode.end_s)
    shown = np.nonzero(~hidden)[0]
    return [int(shown[shown.size // 4]), int(shown[3 * shown.size // 4])]


def test_real_detector_finds_the_faces_of_the_default_corpus(detector: MTCNN) -> None:
    pictures = []
    for plan in plan_corpus(CorpusConfig()):
        # A voice would take time and changes no more than the opening of the mouth.
        level = np.abs(np.sin(np.arange(2000) / 20.0))
        states = acting(plan, Utterance(samples=np.zeros(1, np.float32), start_s=-1.6, level=level))
        painter = ScenePainter(plan.person)
        pictures += [Image.fromarray(painter.paint(*states[index])) for index in _shown_frames(plan)]
    boxes, probabilities = detector.detect(pictures)
    found = [p[0] is not None and p[0] > 0.9 for p in probabilities]
    assert len(found) == 80
    assert np.mean(found) >= 0.95
    heights_px = np.array(
        [box[0][3] - box[0][1] for box, is_found in zip(boxes, found, strict=True) if is_found]
    )
    assert np.percentile(heights_px, 2) > 80
    assert np.percentile(heights_px, 98) < 155


def test_a_card_and_leaving_the_picture_hide_the_face(detector: MTCNN) -> None:
    gone = Pose(shift=(0.0, 0.0), roll_deg=0.0, turn=(0.0, 0.0), lean=1.15)
    pictures = []
    for seed in range(6):
        painter = ScenePainter(_person(seed))
        pictures.append(painter.paint(_expression(), _AT_REST, Cover(variant="card", weight=1.0)))
        pictures.append(painter.paint(_expression(), gone, None))
    _, probabilities = detector.detect([Image.fromarray(picture) for picture in pictures])
    assert not any(p[0] is not None and p[0] > 0.9 for p in probabilities)


def test_a_hand_hides_the_mouth_but_not_the_eyes() -> None:
    painter = ScenePainter(_person(3))
    hand = Cover(variant="hand", weight=1.0)
    sad, happy = (painter.paint(_expression(smile), _AT_REST, hand).astype(int) for smile in (-0.9, 0.9))
    wide = painter.paint(_expression(0.9, eye_open=0.2), _AT_REST, hand).astype(int)
    bare = painter.paint(_expression(-0.9), _AT_REST, None).astype(int)
    bare_happy = painter.paint(_expression(0.9), _AT_REST, None).astype(int)
    assert np.abs(sad - happy).sum() < 0.1 * np.abs(bare - bare_happy).sum()
    assert np.abs(happy - wide).sum() > 3000
