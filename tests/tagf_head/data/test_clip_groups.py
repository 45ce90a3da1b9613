"""Which clips belong together."""

from __future__ import annotations

from itertools import permutations

import numpy as np

from tagf_head.data.clip_groups import clip_groups, counted

VIDEOS = ("10-60", "10-60_left", "10-60_right", "2", "left_2", "2_left_x")


def test_subjects_where_every_clip_has_one() -> None:
    clips = ("a", "b_left", "b_right", "c")
    subjects = {"a": "anna", "b_left": "bo", "b_right": "cem", "c": "anna", "other": "dora"}
    groups = clip_groups(clips, subjects=subjects, media_sha256=dict.fromkeys(clips, "f" * 64))
    assert (groups.unit, groups.group) == ("subject", ("anna", "bo", "cem", "anna"))
    assert groups.num_groups == 3


def test_some_known_subjects_join_media_files() -> None:
    clips = ("a", "b_left", "b_right", "c", "d", "e")
    subjects = {"a": "anna", "b_left": "bo", "c": "anna", "d": "bo", "e": ""}
    groups = clip_groups(clips, subjects=subjects, media_sha256={clip: clip for clip in clips})
    assert groups.unit == "media file, with known subjects kept together"
    assert groups.group == ("a", "b", "b", "a", "b", "e")
    assert counted(groups.num_groups, groups.unit) == "3 media files, with known subjects kept together"
    without = clip_groups(clips, subjects=subjects, media_sha256={})
    assert (without.unit, without.group) == ("clip, with known subjects kept together", groups.group)
    # Of one file, two names and a subject, each alone joins two of them.
    digests = {"x": "1", "y": "1", "z": "2", "w": "3"}
    for order in permutations(digests):
        found = clip_groups(order, subjects={"y": "anna", "z": "anna"}, media_sha256=digests)
        assert dict(zip(order, found.group, strict=True)) == {"w": "w", "x": "x", "y": "x", "z": "x"}


def test_sides_of_a_video_are_one_group() -> None:
    groups = clip_groups(VIDEOS, subjects={}, media_sha256={})
    assert (groups.unit, groups.group) == ("clip", ("10-60", "10-60", "10-60", "2", "left_2", "2_left_x"))
    # As do files of their own for either side.
    own = clip_groups(VIDEOS, subjects={}, media_sha256={clip: f"of {clip}" for clip in VIDEOS})
    assert (own.unit, own.group) == ("media file", groups.group)


def test_a_digest_for_each_clip_is_needed() -> None:
    digests = {"a": "1", "b": "1"}
    assert clip_groups(("a", "b"), subjects={}, media_sha256=digests).group == ("a", "a")
    groups = clip_groups(("a", "b", "c"), subjects={}, media_sha256=digests)
    assert (groups.unit, groups.group) == ("clip", ("a", "b", "c"))


def test_groups_are_connected_components_in_any_order() -> None:
    # x_left shares a file with y, y_right another one with z; w stands alone.
    digests = {"x_left": "1", "x_right": "2", "y": "1", "y_right": "3", "z": "3", "w": "4"}
    for clips in permutations(digests):
        groups = clip_groups(clips, subjects={}, media_sha256=digests)
        assert dict(zip(clips, groups.group, strict=True)) == {
            clip: "w" if clip == "w" else "x" for clip in clips
        }


def test_rows_of_groups() -> None:
    groups = clip_groups(("b_left", "a", "b_right", "c"), subjects={}, media_sha256={})
    found = groups.of_rows(np.array([2, 1, 3, 0]))
    assert found.tolist() == [0, 0, 1, 0, 0, 0]
    assert clip_groups((), subjects={}, media_sha256={}).of_rows(np.array([], np.int64)).shape == (0,)
