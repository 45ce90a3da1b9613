"""Cuts that are told at the first picture after them."""

from __future__ import annotations

import numpy as np

from pipeline.live.scene_watch import SceneWatch


def scene(seed: int) -> np.ndarray:
    cells = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    return cells.repeat(16, 0).repeat(20, 1)


def test_scenes_begin_with_the_first_picture_of_each():
    watch = SceneWatch()
    pictures = [scene(0)] * 6 + [scene(1)] * 5 + [scene(2)] * 4
    assert np.flatnonzero([watch.begins(picture) for picture in pictures]).tolist() == [0, 6, 11]


def test_exposure_and_movement_are_no_cuts():
    watch = SceneWatch()
    assert watch.begins(scene(0))
    for number in range(1, 8):
        moved = np.roll(scene(0), 3 * number, axis=1)
        assert not watch.begins((moved * (0.6 + 0.05 * number)).astype(np.uint8))


def test_what_was_seen_a_moment_ago_is_no_new_scene():
    watch = SceneWatch()
    pictures = [scene(0)] * 3 + [scene(1)] + [scene(0)] * 5  # a flash counts, what follows it does not
    assert np.flatnonzero([watch.begins(picture) for picture in pictures]).tolist() == [0, 3]


def test_another_size_is_another_scene():
    watch = SceneWatch()
    watch.begins(scene(0))
    assert watch.begins(scene(0)[:, :100])
