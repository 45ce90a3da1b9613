"""Whose face is chosen from faces with known places and sizes."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from pipeline.faces.choice import CLEARLY_LARGER, FaceChooser, TrackedFace, eligible
from pipeline.faces.track_links import MAX_GAP_S

_spec = importlib.util.spec_from_file_location("scripted", Path(__file__).with_name("scripted_faces.py"))
scripted = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(scripted)
face = scripted.face


def choices(who: str, *pictures: dict[int, float], scenes=(0,), step_s: float = 0.2) -> list[int | None]:
    """Tracks chosen in picture after picture, each given as the sides of its tracks' faces."""
    chooser = FaceChooser(who)
    chosen = []
    for number, sides in enumerate(pictures):
        faces = [TrackedFace(track=track, face=face(100 * track, side=side)) for track, side in sides.items()]
        each = chooser.choose(faces, number * step_s, 640, begins_scene=number in scenes)
        chosen.append(None if each is None else each.track)
    return chosen


def test_the_largest_is_chosen_whatever_the_order():
    assert choices("largest", {0: 50, 1: 60, 2: 40}) == [1]
    assert choices("largest", {}, {2: 40}) == [None, 2]


def test_people_of_like_size_do_not_alternate():
    assert choices("largest", {0: 60, 1: 58}, {0: 58, 1: 60}, {0: 55, 1: 66}, {0: 60, 1: 58}) == [0, 0, 0, 0]


@pytest.mark.parametrize(("area", "taken_over"), [(0.99, False), (1.01, True)])
def test_a_clearly_larger_face_takes_over(area, taken_over):
    side = 60 * (CLEARLY_LARGER * area) ** 0.5
    later = 1 if taken_over else 0
    assert choices("largest", {0: 60, 1: 50}, {0: 60, 1: side}, {0: 60, 1: 58}) == [0, later, later]


def test_a_subject_missing_for_a_moment_comes_back():
    step_s = MAX_GAP_S / 2
    pictures = [{0: 60, 1: 58}, {1: 58}, {0: 56, 1: 58}]
    assert choices("largest", *pictures, step_s=step_s) == [0, 1, 0]
    # Missing for longer, or in another scene, it is not waited for.
    pictures = [{0: 60, 1: 58}, {1: 58}, {1: 58}, {1: 58}, {0: 60, 1: 58}]
    assert choices("largest", *pictures, step_s=step_s) == [0, 1, 1, 1, 1]
    assert choices("largest", {0: 60, 1: 58}, {0: 58, 1: 60}, scenes=(0, 1)) == [0, 1]


def test_left_and_right_are_sides_of_the_two_largest():
    # Faces lie from left to right by number; 2 is too small to count.
    sides = {1: 60, 0: 58, 2: 30}
    assert choices("left", sides) == [0]
    assert choices("right", sides) == [1]
    assert choices("right", {0: 30, 1: 60, 2: 61}) == [2]
    assert choices("left", {}) == choices("right", {}) == [None]


@pytest.mark.parametrize(("x", "is_left"), [(0, True), (289, True), (290, False), (600, False)])
def test_a_single_face_is_left_or_right_by_its_middle(x, is_left):
    # 60 wide in a picture of 640: the middle is at x + 30.
    faces = [TrackedFace(track=7, face=face(x))]
    left = FaceChooser("left").choose(faces, 0.0, 640, begins_scene=True)
    right = FaceChooser("right").choose(faces, 0.0, 640, begins_scene=True)
    assert (left is not None, right is not None) == (is_left, not is_left)


def test_faces_that_cannot_be_chosen_are_not_eligible():
    faces = [face(0, side=30), face(100, side=60), face(200, side=50), face(300, side=48)]
    # Areas in terms of the largest: 0.25, 1, 0.69, 0.64; a factor of 1.5 is 0.67.
    assert eligible(faces, "largest") == [1, 2]
    assert eligible(faces, "left") == eligible(faces, "right") == [1, 2]
    assert eligible(faces, "longest") == eligible(faces, "all") == [1, 2, 3, 0]
    assert eligible([], "largest") == eligible([], "left") == []
