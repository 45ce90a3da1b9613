"""Crops of every frame from detections on some: against detection on every frame, and with scripted faces."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from pipeline.config import FaceConfig
from pipeline.faces.alignment import box_crops, similarity_crops
from pipeline.faces.crop import FaceCrop
from pipeline.faces.track_links import intersection_over_union
from pipeline.faces.tracks import TrackedClip, track_clips, track_faces
from pipeline.media.video import VideoFrame

_spec = importlib.util.spec_from_file_location("scripted", Path(__file__).with_name("scripted_faces.py"))
scripted = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(scripted)
Scripted, face, frames_of, numbered = scripted.Scripted, scripted.face, scripted.frames_of, scripted.numbered

SIZE = (320, 240)


def track(frames, detector, spill: Path, who: str = "largest", sizes=(48,), **config) -> list[FaceCrop]:
    crops = list(track_faces(iter(frames), detector, FaceConfig(**config), sizes, who, spill))
    assert not list(spill.iterdir())
    return crops


def tracks(frames, detector, spill: Path, sizes=(48,), **config) -> list[TrackedClip]:
    config = FaceConfig(subject="all", **config)
    return track_clips(iter(frames), detector, config, sizes, spill)


def lefts(crops) -> list[float | None]:
    return [None if crop.box is None else float(crop.box[0]) for crop in crops]


@pytest.fixture(scope="module")
def moving(draw_face) -> list[VideoFrame]:
    """A face that moves and grows evenly."""
    return frames_of([draw_face(SIZE, (110 + 4 * k, 110 + k), 120 + 2 * k)[0] for k in range(18)])


def test_interpolation_is_close_to_detection_of_every_frame(moving, detector, tmp_path):
    tracked = track(moving, detector, tmp_path, detect_every=5)
    exact = track(moving, detector, tmp_path, detect_every=1)
    assert [crop.index for crop in tracked] == [crop.index for crop in exact] == list(range(18))
    assert [crop.time_s for crop in tracked] == [frame.time_s for frame in moving]
    assert [crop.row_times_s for crop in tracked] == [frame.row_times_s for frame in moving]
    for ours, theirs in zip(tracked, exact, strict=True):
        assert intersection_over_union(ours.box, theirs.box) > 0.85
        assert np.abs(ours.crops[48].astype(int) - theirs.crops[48]).mean() < 12
    for key in (0, 5, 10, 15, 17):
        np.testing.assert_array_equal(tracked[key].box, exact[key].box)
        np.testing.assert_array_equal(tracked[key].crops[48], exact[key].crops[48])


def test_a_drawn_cut_ends_the_straight_line(draw_face, detector, tmp_path):
    first, _ = draw_face(SIZE, (140, 125), 130, (180, 120, 60))
    second, _ = draw_face(SIZE, (172, 125), 130, (40, 90, 160))
    # Two people in nearly the same place: their boxes overlap.
    frames = frames_of([first] * 7 + [second] * 6)
    crops = track(frames, detector, tmp_path, detect_every=6)
    middles = [(crop.box[0] + crop.box[2]) / 2 for crop in crops]
    assert intersection_over_union(crops[6].box, crops[7].box) > 0.3
    np.testing.assert_allclose(middles, [middles[0]] * 7 + [middles[12]] * 6)
    assert middles[12] - middles[0] > 25


def test_the_crop_is_by_landmarks_or_by_box_in_all_sizes(moving, detector, tmp_path):
    picture = moving[0].rgb
    (found,) = detector.detect([picture])[0]
    sizes = (48, 112, 160)
    (aligned,) = track(moving[:1], detector, tmp_path, sizes=sizes, align="similarity")
    (square,) = track(moving[:1], detector, tmp_path, sizes=sizes, align="box", margin=0.3)
    assert set(aligned.crops) == set(square.crops) == set(sizes)
    for size in sizes:
        np.testing.assert_array_equal(
            aligned.crops[size], similarity_crops(picture, found.landmarks, sizes)[size]
        )
        np.testing.assert_array_equal(square.crops[size], box_crops(picture, found.box, 0.3, sizes)[size])
        assert (aligned.crops[size] != square.crops[size]).any()


def test_without_sizes_the_faces_are_found_all_the_same(moving, detector, tmp_path):
    (crop,) = track(moving[:1], detector, tmp_path, sizes=())
    assert crop.crops == {}
    assert crop.box is not None


def test_a_frame_without_the_face_keeps_its_place(tmp_path):
    script = [[face(20)], [], [face(21)], []]
    crops = track(numbered(4), Scripted(script), tmp_path, detect_every=1)
    assert lefts(crops) == [20, None, 21, None]
    assert [crop.score for crop in crops] == [0.99, 0, 0.99, 0]
    assert [crop.crops is None for crop in crops] == [False, True, False, True]


def test_left_and_right_follow_one_person_each(tmp_path):
    # Two people of like size; then the left one alone, in the left half; then nobody.
    script = [[face(90), face(10, side=58)]] * 3 + [[face(10)]] * 3 + [[]] * 2
    frames = numbered(8)
    left = track(frames, Scripted(script), tmp_path, "left", detect_every=1)
    right = track(frames, Scripted(script), tmp_path, "right", detect_every=1)
    assert lefts(left) == [10] * 6 + [None] * 2
    assert lefts(right) == [90] * 3 + [None] * 5


def many_tracks() -> tuple[list[VideoFrame], list[list]]:
    """A small face all along but for two frames; a large one for a while; another after the cut."""
    script = [[face(100 + number * 0.5, side=40)] for number in range(30)]
    for number in range(5, 17):
        script[number] = [face(5), *script[number]]
    script[10] = script[11] = [face(5)]
    for number in range(22, 30):
        script[number] = [face(8)]
    return numbered(30, cuts=[22]), script


@pytest.mark.parametrize("every", [1, 5])
def test_the_longest_track_is_followed_through_the_whole_clip(tmp_path, every):
    frames, script = many_tracks()
    crops = track(frames, Scripted(script), tmp_path, "longest", detect_every=every)
    assert [crop.index for crop in crops] == list(range(30))
    small = [100 + number * 0.5 for number in range(22)]
    small[10] = small[11] = None
    assert lefts(crops) == small + [None] * 8
    assert [crop.row_times_s for crop in crops] == [frame.row_times_s for frame in frames]
    for crop, frame, faces in zip(crops, frames, script, strict=True):
        if crop.box is not None and every == 1:
            expected = similarity_crops(frame.rgb, faces[-1].landmarks, (48,))[48]
            np.testing.assert_array_equal(crop.crops[48], expected)
            assert crop.score == 0.99


def test_of_equally_long_tracks_the_earliest_is_the_longest(tmp_path):
    script = [[face(20)]] * 3 + [[]] + [[face(100)]] * 3
    crops = track(numbered(7), Scripted(script), tmp_path, "longest", detect_every=1)
    assert lefts(crops) == [20] * 3 + [None] * 4
    # Also where the earlier one is over later.
    script = [[face(20)], [face(100), face(20)], [face(100)], [face(20), face(100)]]
    assert lefts(track(numbered(4), Scripted(script), tmp_path, "longest", detect_every=1)) == [
        20, 20, None, 20,
    ]  # fmt: skip


def test_without_faces_the_longest_track_is_none(tmp_path):
    assert lefts(track(numbered(3), Scripted([[]] * 3), tmp_path, "longest")) == [None] * 3
    assert track([], Scripted([]), tmp_path, "longest") == []


def test_every_track_that_lasts_is_a_clip_of_its_own(tmp_path):
    frames, script = many_tracks()
    clips = tracks(frames, Scripted(script), tmp_path, detect_every=1, min_track_s=0.3)
    # 22, 12 and 8 frames at 25 per second: 0.88, 0.48 and 0.32 s.
    assert [(clip.num_frames, clip.num_faces) for clip in clips] == [(22, 20), (12, 12), (8, 8)]
    assert [(clip.first_s, clip.last_s) for clip in clips] == [
        (frames[first].time_s, frames[last].time_s) for first, last in [(0, 21), (5, 16), (22, 29)]
    ]
    small, large, other = ([*clip.crops()] for clip in clips)
    assert [crop.index for crop in small] == list(range(22))
    assert [crop.index for crop in large] == list(range(5, 17))
    assert lefts(small)[9:13] == [104.5, None, None, 106]
    assert lefts(large) == [5] * 12
    assert [crop.index for crop in other] == list(range(22, 30))
    for crop in (*small, *large, *other):
        assert crop.time_s == frames[crop.index].time_s
        assert crop.row_times_s == frames[crop.index].row_times_s
        if crop.box is not None:
            (of_script,) = (each for each in script[crop.index] if each.box[0] == crop.box[0])
            expected = similarity_crops(frames[crop.index].rgb, of_script.landmarks, (48,))[48]
            np.testing.assert_array_equal(crop.crops[48], expected)
    # Read again, in any order.
    assert lefts(clips[1].crops()) == lefts(large)


@pytest.mark.parametrize(("min_track_s", "count"), [(0.32, 3), (0.33, 2), (0.88, 1), (0.89, 0)])
def test_short_tracks_give_no_clip_and_no_file(tmp_path, min_track_s, count):
    frames, script = many_tracks()
    clips = tracks(frames, Scripted(script), tmp_path, detect_every=1, min_track_s=min_track_s)
    assert len(clips) == count
    assert len(list(tmp_path.rglob("track-*"))) == count


def test_clips_that_begin_together_are_ordered_from_left_to_right(tmp_path):
    script = [[face(60, side=40), face(100, side=38), face(10, side=36)]] * 30
    clips = tracks(numbered(30), Scripted(script), tmp_path, detect_every=5)
    assert [next(clip.crops()).box[0] for clip in clips] == [10, 60, 100]


def test_a_single_frame_is_no_track_unless_asked_for(tmp_path):
    assert tracks(numbered(1), Scripted([[face(20)]]), tmp_path) == []
    (clip,) = tracks(numbered(1), Scripted([[face(20)]]), tmp_path, min_track_s=0)
    assert lefts(clip.crops()) == [20]


def test_frames_with_several_rows_and_none_keep_them_on_the_disk(tmp_path):
    rows = [(10.0, 10.01), (), (10.08,)]
    frames = [
        VideoFrame(index=2 * frame.index, time_s=frame.time_s, rgb=frame.rgb, row_times_s=row_times_s)
        for frame, row_times_s in zip(numbered(3), rows, strict=True)
    ]
    script = [[face(20)]] * 3
    crops = track(frames, Scripted(script), tmp_path, "longest", detect_every=1)
    assert [crop.row_times_s for crop in crops] == rows
    assert [crop.index for crop in crops] == [0, 2, 4]


def test_a_track_over_for_good_is_closed_and_one_back_in_time_goes_on(tmp_path):
    script = [[face(20)], [], [face(20)], [], [], [face(20)]]
    times_s = [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]  # gaps of 1 s and of 1.5 s
    clips = tracks(numbered(6, times_s=times_s), Scripted(script), tmp_path, detect_every=1, min_track_s=0)
    assert [(clip.first_s, clip.last_s, clip.num_faces) for clip in clips] == [(0, 1, 2), (2.5, 2.5, 1)]


def test_two_people_drawn_are_two_tracks(draw_face, detector, tmp_path):
    pictures = [
        np.concatenate(
            (draw_face((160, 200), (75 + k, 100), 110)[0], draw_face((160, 200), (85 - k, 95), 96)[0]), axis=1
        )
        for k in range(12)
    ]
    clips = tracks(frames_of(pictures), detector, tmp_path, sizes=(48, 112), min_track_s=0.4)
    assert [(clip.num_frames, clip.num_faces) for clip in clips] == [(12, 12)] * 2
    for clip, middle in zip(clips, (75, 245), strict=True):
        for crop in clip.crops():
            assert abs((crop.box[0] + crop.box[2]) / 2 - middle) < 25
            assert {size: each.shape for size, each in crop.crops.items()} == {
                48: (48, 48, 3),
                112: (112, 112, 3),
            }
