"""Crops of every frame from detections on some, against detection on every frame."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from pipeline.alignment import box_crop, similarity_crop
from pipeline.config import FaceConfig
from pipeline.face_tracks import FaceCrop, intersection_over_union, track_faces
from pipeline.faces import Face
from pipeline.video import VideoFrame

SIZE = (320, 240)


def frames_of(pictures: list[np.ndarray], times_s: list[float] | None = None) -> list[VideoFrame]:
    times_s = times_s or [10 + index / 25 for index in range(len(pictures))]
    return [
        VideoFrame(index=index, time_s=time_s, rgb=picture)
        for index, (picture, time_s) in enumerate(zip(pictures, times_s, strict=True))
    ]


class Counting:
    """A detector that remembers which pictures it was shown."""

    def __init__(self, detector) -> None:
        self._detector = detector
        self.shown: list[np.ndarray] = []

    def detect(self, pictures):
        self.shown.extend(pictures)
        return self._detector.detect(pictures)

    def frames_shown(self, frames: list[VideoFrame]) -> list[int]:
        by_identity = {id(frame.rgb): frame.index for frame in frames}
        return [by_identity[id(picture)] for picture in self.shown]


class Scripted:
    """A detector that answers from a list: for the picture filled with value v, faces[v]."""

    def __init__(self, faces: list[list[Face]]) -> None:
        self._faces = faces

    def detect(self, pictures):
        return [tuple(self._faces[int(picture[0, 0, 0])]) for picture in pictures]


def face(x: float, y: float = 50.0, side: float = 60.0, score: float = 0.99) -> Face:
    points = np.array([(0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8)]) * side + (x, y)
    box = np.array([x, y, x + side, y + side], np.float32)
    return Face(box=box, score=score, landmarks=points.astype(np.float32))


def numbered(count: int, **kwargs) -> list[VideoFrame]:
    return frames_of([np.full((120, 160, 3), number, np.uint8) for number in range(count)], **kwargs)


def track(frames: list[VideoFrame], detector, **config) -> list[FaceCrop]:
    return list(track_faces(iter(frames), detector, FaceConfig(**config)))


@pytest.fixture(scope="module")
def moving(draw_face) -> list[VideoFrame]:
    """A face that moves and grows evenly."""
    return frames_of([draw_face(SIZE, (110 + 4 * k, 110 + k), 120 + 2 * k)[0] for k in range(18)])


def test_interpolation_is_close_to_detection_of_every_frame(moving, detector):
    counting = Counting(detector)
    tracked = track(moving, counting, detect_every=5)
    assert counting.frames_shown(moving) == [0, 5, 10, 15, 17]
    exact = track(moving, detector, detect_every=1)
    assert [crop.index for crop in tracked] == [crop.index for crop in exact] == list(range(18))
    assert [crop.time_s for crop in tracked] == [frame.time_s for frame in moving]
    for ours, theirs in zip(tracked, exact, strict=True):
        assert intersection_over_union(ours.box, theirs.box) > 0.85
        assert np.abs(ours.crop.astype(int) - theirs.crop).mean() < 12
    for key in (0, 5, 10, 15, 17):
        np.testing.assert_array_equal(tracked[key].box, exact[key].box)
        np.testing.assert_array_equal(tracked[key].crop, exact[key].crop)


def test_a_face_that_goes_and_comes_is_followed_to_the_frame(draw_face, detector):
    there, _ = draw_face(SIZE, (160, 125), 150)
    away, _ = draw_face(SIZE, None)
    presence = [True] * 8 + [False] * 11 + [True] * 4
    frames = frames_of([(there if present else away).copy() for present in presence])
    counting = Counting(detector)
    crops = track(frames, counting, detect_every=5)
    assert [crop.box is not None for crop in crops] == presence
    assert [crop.crop is not None for crop in crops] == presence
    assert [crop.score > 0 for crop in crops] == presence
    # 5..10 and 15..20 disagree; 10..15 agree on none; 22 is the last.
    assert sorted(counting.frames_shown(frames)) == [0, 5, 6, 7, 8, 9, 10, 15, 16, 17, 18, 19, 20, 22]


def test_a_cut_to_a_face_elsewhere_is_followed_to_the_frame(draw_face, detector):
    left, _ = draw_face(SIZE, (80, 125), 120)
    right, _ = draw_face(SIZE, (240, 125), 120)
    frames = frames_of([left.copy() for _ in range(7)] + [right.copy() for _ in range(6)])
    crops = track(frames, detector, detect_every=6)
    middles = [(crop.box[0] + crop.box[2]) / 2 for crop in crops]
    assert all(abs(middle - 80) < 15 for middle in middles[:7])
    assert all(abs(middle - 240) < 15 for middle in middles[7:])


def test_boxes_and_scores_move_evenly_in_time_not_in_frames():
    frames = numbered(5, times_s=[0.0, 0.1, 0.2, 0.7, 1.0])
    script = [[face(20.0, score=0.92)], [], [], [], [face(34.0, y=60, side=70, score=1.0)]]
    crops = track(frames, Scripted(script), detect_every=4)
    for crop, share in zip(crops, [0.0, 0.1, 0.2, 0.7, 1.0], strict=True):
        np.testing.assert_allclose(
            crop.box, [20 + 14 * share, 50 + 10 * share, 80 + 24 * share, 110 + 20 * share], atol=1e-4
        )
        assert crop.score == pytest.approx(0.92 + 0.08 * share)
        assert crop.box.dtype == np.float32
    # The landmarks move with the box: the crop is that of a face drawn there.
    between = face(20 + 14 * 0.7, y=57, side=67)
    np.testing.assert_array_equal(crops[3].crop, similarity_crop(frames[3].rgb, between.landmarks))


@pytest.mark.parametrize(("shift", "agree"), [(32.0, True), (33.0, False)])
def test_boxes_agree_from_an_overlap_of_three_tenths(shift, agree):
    # Squares of 60 shifted by s overlap by (60 - s) / (60 + s): 0.304 and 0.290.
    frames = numbered(4)
    script = [[face(10.0)], [], [], [face(10.0 + shift)]]
    crops = track(frames, Scripted(script), detect_every=3)
    assert [crop.box is not None for crop in crops] == [True, agree, agree, True]


def test_improbable_faces_are_none_and_the_largest_of_the_others_is_followed():
    frames = numbered(1)
    script = [
        [face(5.0, side=90, score=0.85), face(40.0, side=60, score=0.9), face(90.0, side=30, score=1.0)]
    ]
    (crop,) = track(frames, Scripted(script), min_probability=0.9)
    assert crop.box.tolist() == [40, 50, 100, 110]
    (crop,) = track(frames, Scripted(script), min_probability=0.8)
    assert crop.box.tolist() == [5, 50, 95, 140]


@pytest.mark.parametrize("count", [0, 1, 2, 5, 6, 7, 11])
@pytest.mark.parametrize("every", [1, 2, 5, 100])
def test_every_frame_comes_out_once_and_in_order(count, every):
    crops = track(numbered(count), Scripted([[face(20.0)]] * 11), detect_every=every)
    assert [crop.index for crop in crops] == list(range(count))
    assert all(crop.crop is not None for crop in crops)


def test_no_more_frames_are_read_than_are_needed_for_the_next_crop():
    read = []

    def frames() -> Iterator[VideoFrame]:
        for frame in numbered(30):
            read.append(frame.index)
            yield frame

    crops = track_faces(frames(), Scripted([[face(20.0)]] * 30), FaceConfig(detect_every=5))
    for index in range(25):
        assert next(crops).index == index
        assert len(read) <= index + 5


def test_frames_of_another_size_end_the_straight_line():
    small, large = np.zeros((120, 160, 3), np.uint8), np.zeros((240, 320, 3), np.uint8)
    pictures = [small.copy(), small.copy(), large.copy(), large.copy()]
    for number, picture in enumerate(pictures):
        picture[:] = number
    script = [[face(20.0)], [], [face(22.0)], [face(24.0)]]
    crops = track(frames_of(pictures), Scripted(script), detect_every=3)
    assert [crop.box is not None for crop in crops] == [True, False, True, True]
    assert crops[2].box[0] == 22


def test_the_crop_is_by_landmarks_or_by_box(moving, detector):
    (found,) = detector.detect([moving[0].rgb])[0]
    (aligned,) = track(moving[:1], detector, align="similarity")
    np.testing.assert_array_equal(aligned.crop, similarity_crop(moving[0].rgb, found.landmarks))
    (square,) = track(moving[:1], detector, align="box", margin=0.3)
    np.testing.assert_array_equal(square.crop, box_crop(moving[0].rgb, found.box, 0.3))
    assert (aligned.crop != square.crop).any()


def test_overlap_of_boxes():
    assert intersection_over_union(np.array([0, 0, 4, 4]), np.array([0, 0, 4, 4])) == 1
    assert intersection_over_union(np.array([0, 0, 4, 4]), np.array([5, 5, 6, 6])) == 0
    assert intersection_over_union(np.array([0, 0, 4, 2]), np.array([2, 1, 6, 3])) == pytest.approx(2 / 14)
