"""Tracks of boxes, and overlap against counting."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.faces.track_links import MAX_GAP_S, TrackLinker, intersection_over_union, overlap_pairs

_spec = importlib.util.spec_from_file_location("scripted", Path(__file__).with_name("scripted_faces.py"))
scripted = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(scripted)
face = scripted.face

boxes = st.tuples(*[st.integers(0, 12)] * 2, *[st.integers(1, 8)] * 2).map(
    lambda box: np.array([box[0], box[1], box[0] + box[2], box[1] + box[3]], np.float32)
)


@given(boxes, boxes)
def test_overlap_is_the_share_of_pixels_in_both(first, second):
    y, x = np.mgrid[:20, :20] + 0.5
    a, b = ((x > box[0]) & (x < box[2]) & (y > box[1]) & (y < box[3]) for box in (first, second))
    assert intersection_over_union(first, second) == pytest.approx((a & b).sum() / (a | b).sum())


@pytest.mark.parametrize(("shift", "same"), [(32, True), (33, False)])
def test_boxes_are_the_same_face_from_an_overlap_of_three_tenths(shift, same):
    # Squares of 60 shifted by s overlap by (60 - s) / (60 + s): 0.304 and 0.290.
    assert overlap_pairs([face(10).box], [face(10 + shift).box]) == ([(0, 0)] if same else [])


def test_the_best_overlap_is_served_first():
    first = [face(0).box, face(30).box]
    # The second box overlaps both of the first; the other of the first is left with the first box.
    assert overlap_pairs(first, [face(12).box, face(24).box]) == [(1, 1), (0, 0)]
    assert overlap_pairs(first, [face(28).box]) == [(1, 0)]
    assert overlap_pairs([], [face(28).box]) == overlap_pairs(first, []) == []


def test_faces_that_move_past_each_other_keep_their_tracks():
    linker = TrackLinker()
    for step in range(12):
        left, right = face(20 + 10 * step, y=20), face(140 - 10 * step, y=75)
        faces = [left, right] if step % 2 == 0 else [right, left]
        tracks = linker.link(step * 0.2, faces)
        assert tracks == ((0, 1) if step % 2 == 0 else (1, 0))


def test_tracks_are_numbered_as_they_appear():
    linker = TrackLinker()
    assert linker.link(0.0, [face(0)]) == (0,)
    assert linker.link(0.1, [face(100), face(2), face(200)]) == (1, 0, 2)
    assert linker.link(0.2, []) == ()
    assert linker.link(0.3, [face(300), face(200)]) == (3, 2)


@pytest.mark.parametrize(("gap_s", "tracks"), [(MAX_GAP_S, (0,)), (MAX_GAP_S + 0.01, (1,))])
def test_a_face_that_is_back_in_its_place_soon_is_the_same(gap_s, tracks):
    linker = TrackLinker()
    linker.link(5.0, [face(0)])
    linker.link(5.0 + gap_s / 2, [])
    assert linker.link(5.0 + gap_s, [face(3)]) == tracks


def test_a_face_seen_just_now_goes_before_one_lost():
    linker = TrackLinker()
    linker.link(0.0, [face(0)])
    linker.link(0.1, [face(40)])  # overlap 0.2: another face, and the first is lost
    assert linker.link(0.2, [face(15)]) == (1,)  # overlap 0.6 with the lost one, 0.41 with the other


def test_a_scene_ends_all_tracks():
    linker = TrackLinker()
    linker.link(0.0, [face(0), face(100)])
    linker.link(0.1, [face(0)])
    linker.begin_scene()
    assert linker.link(0.2, [face(0), face(100)]) == (2, 3)
