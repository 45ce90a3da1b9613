"""Which frames are detected, and what lies between them, with scripted faces."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pipeline.config import FaceConfig
from pipeline.faces import sightings
from pipeline.faces.scene_cuts import REACH
from pipeline.faces.sightings import Sighting, sightings_of

_spec = importlib.util.spec_from_file_location("scripted", Path(__file__).with_name("scripted_faces.py"))
scripted = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(scripted)
Scripted, face, frames_of, numbered = scripted.Scripted, scripted.face, scripted.frames_of, scripted.numbered


def seen(frames, detector, who: str = "largest", **config) -> list[Sighting]:
    found = list(sightings_of(iter(frames), detector, FaceConfig(**config), who))
    assert [each.frame.index for each in found] == [frame.index for frame in frames]
    return found


def lefts(found: list[Sighting]) -> list[list[float]]:
    """Left edges of the faces of each frame."""
    return [[round(float(each.face.box[0]), 3) for each in sighting.faces] for sighting in found]


def test_every_kth_frame_and_the_last_one_are_detected():
    detector = Scripted([[face(20)]] * 18)
    found = seen(numbered(18), detector, detect_every=5)
    assert detector.shown == [0, 5, 10, 15, 17]
    assert all(len(each.faces) == 1 for each in found)
    assert [each.begins_scene for each in found] == [True] + [False] * 17


def test_key_frames_go_to_the_detector_together():
    detector = Scripted([[face(20)]] * 40)
    seen(numbered(40), detector, detect_every=5)
    assert detector.calls == [[0, 5, 10, 15, 20, 25, 30, 35, 39]]


def test_a_face_that_goes_and_comes_is_followed_to_the_frame():
    there = [True] * 8 + [False] * 11 + [True] * 4
    detector = Scripted([[face(20)] if each else [] for each in there])
    found = seen(numbered(23), detector, detect_every=5)
    assert [bool(each.faces) for each in found] == there
    # 5..10 and 15..20 disagree, so does the half with the change in it; 10..15 agree on none; 22 is the last.
    assert detector.calls == [[0, 5, 10, 15, 20, 22], [7, 17], [8, 18], [19]]


def test_nothing_is_interpolated_across_a_cut_though_the_boxes_overlap():
    before, after = face(20, side=60), face(30, side=60)
    detector = Scripted([[before]] * 7 + [[after]] * 6)
    found = seen(numbered(13, cuts=[7]), detector, detect_every=5)
    # 6 and 7 are key frames: the last before and the first after the cut; and then every fifth again.
    assert detector.shown == [0, 5, 6, 7, 12]
    assert lefts(found) == [[20.0]] * 7 + [[30.0]] * 6
    assert [each.faces[0].track for each in found] == [0] * 7 + [1] * 6
    assert [each.frame.index for each in found if each.begins_scene] == [0, 7]


def test_boxes_scores_and_landmarks_move_evenly_in_time_not_in_frames():
    frames = numbered(5, times_s=[0.0, 0.1, 0.2, 0.7, 1.0])
    last = face(28, y=55, side=65, score=1.0)
    found = seen(frames, Scripted([[face(20, score=0.92)], [], [], [], [last]]), detect_every=4)
    for sighting, share in zip(found, [0.0, 0.1, 0.2, 0.7, 1.0], strict=True):
        (tracked,) = sighting.faces
        expected = face(20 + 8 * share, y=50 + 5 * share, side=60 + 5 * share)
        np.testing.assert_allclose(tracked.face.box, expected.box, atol=1e-4)
        np.testing.assert_allclose(tracked.face.landmarks, expected.landmarks, atol=1e-4)
        assert tracked.face.score == pytest.approx(0.92 + 0.08 * share)
        assert tracked.face.box.dtype == tracked.face.landmarks.dtype == np.float32


def test_each_of_two_faces_moves_on_its_own():
    first, last = [face(0, side=50), face(80, side=40)], [face(84, side=40), face(8, side=50)]
    found = seen(numbered(5), Scripted([first, [], [], [], last]), detect_every=4)
    assert lefts(found) == [[0, 80], [2, 81], [4, 82], [6, 83], [84, 8]]
    assert [[each.track for each in sighting.faces] for sighting in found] == [[0, 1]] * 4 + [[1, 0]]


@pytest.mark.parametrize(
    ("who", "looked_at"),
    [("largest", False), ("left", True), ("right", True), ("longest", True), ("all", True)],
)
def test_a_face_that_comes_matters_only_to_those_whose_choice_it_can_change(who, looked_at):
    # A face of less than a tenth of the area of the largest one comes.
    script = [[face(20)], [face(20)], [face(20)], [face(20), face(120, side=18)]]
    detector = Scripted(script)
    found = seen(numbered(4), detector, who, detect_every=3)
    assert detector.shown == ([0, 1, 2, 3] if looked_at else [0, 3])
    assert [len(each.faces) for each in found] == [1, 1, 1, 2]


@pytest.mark.parametrize(("shift", "agree"), [(20, True), (20.1, False)])
def test_a_face_that_moves_by_more_than_a_third_is_looked_at_more_often(shift, agree):
    # Squares of 60 shifted by s overlap by (60 - s) / (60 + s): 0.5 and 0.498.
    detector = Scripted([[face(10 + shift * share**2)] for share in (0, 0.25, 0.5, 0.75, 1)])
    found = seen(numbered(5), detector, detect_every=4)
    assert detector.shown == ([0, 4] if agree else [0, 2, 4])
    assert {each.track for sighting in found for each in sighting.faces} == {0}
    assert lefts(found)[2] == pytest.approx([20] if agree else [10 + shift / 4], abs=1e-3)


def test_improbable_faces_are_none():
    script = [[face(5, side=90, score=0.85), face(40, score=0.9), face(90, side=30, score=1.0)]]
    assert lefts(seen(numbered(1), Scripted(script), min_probability=0.9)) == [[40, 90]]
    assert lefts(seen(numbered(1), Scripted(script), min_probability=0.8)) == [[5, 40, 90]]


@pytest.mark.parametrize("count", [0, 1, 2, 5, 6, 7, 11])
@pytest.mark.parametrize("every", [1, 2, 5, 100])
@pytest.mark.parametrize("cuts", [(), (3,), (1, 5)])
def test_every_frame_comes_out_once_and_in_order(count, every, cuts):
    found = seen(numbered(count, cuts=cuts), Scripted([[face(20)]] * 11), detect_every=every)
    assert all(len(each.faces) == 1 for each in found)
    assert [each.frame.index for each in found if each.begins_scene] == [
        index for index in (0, *cuts) if index < count
    ]


def random_script(count: int) -> list[list]:
    """Two faces that wander, come and go."""
    rng = np.random.default_rng(4)
    wander = rng.normal(0, 3, (2, count)).cumsum(axis=1)
    there = rng.random((2, count)) < 0.85
    return [
        [face(30 + 70 * who + wander[who, number], side=40 + 5 * who) for who in (0, 1) if there[who, number]]
        for number in range(count)
    ]


@pytest.mark.parametrize("who", ["largest", "all"])
@pytest.mark.parametrize("most_frames", [1, 7, 64])
def test_where_stretches_end_has_no_effect(monkeypatch, who, most_frames):
    frames, script = numbered(150, cuts=[40, 41, 97]), random_script(150)
    expected = seen(frames, Scripted(script), who)
    monkeypatch.setattr(sightings, "STRETCH_FRAMES", most_frames)
    found = seen(frames, Scripted(script), who)
    assert lefts(found) == lefts(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert [each.track for each in ours.faces] == [each.track for each in theirs.faces]


def test_the_bytes_of_held_pictures_are_bounded(monkeypatch):
    read = []

    def frames() -> Iterator:
        for frame in numbered(60):
            read.append(frame.index)
            yield frame

    picture_bytes = 160 * 120 * 3
    monkeypatch.setattr(sightings, "STRETCH_BYTES", 20 * picture_bytes)
    monkeypatch.setattr(sightings, "SEGMENT_BYTES", 8 * picture_bytes)
    detector = Scripted([[face(20)]] * 60)
    found = sightings_of(frames(), detector, FaceConfig(detect_every=100), "largest")
    for number in range(60):
        assert next(found).frame.index == number
        assert len(read) <= number + 20 + 8 + REACH
    # Where pictures are so large that 100 of them would be too many, key frames come sooner.
    assert detector.shown == [*range(0, 57, 8), 59]
