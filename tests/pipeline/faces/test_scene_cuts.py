"""Cuts between drawn shots, and what only looks like one."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from pipeline.config import CorpusConfig
from pipeline.faces.scene_cuts import REACH, changed_cells, scenes_of, thumbnail_of
from pipeline.media.video import VideoFrame
from pipeline.sample_corpus import plan_corpus
from pipeline.sample_corpus.clip import pictures, voice

SIZE = (320, 240)


@pytest.fixture(scope="module")
def shots() -> list[list[np.ndarray]]:
    """Five people, 20 pictures of each."""
    plans = plan_corpus(CorpusConfig(clips=5, seconds=2, seed=2))
    return [list(islice(pictures(plan, voice(plan)), 20)) for plan in plans]


def frames_of(pictures: list[np.ndarray]) -> list[VideoFrame]:
    return [
        VideoFrame(index=index, time_s=index / 25, rgb=picture, row_times_s=(index / 25,))
        for index, picture in enumerate(pictures)
    ]


def first_frames(pictures: list[np.ndarray]) -> list[int]:
    """Numbers of the frames with which scenes begin."""
    found = list(scenes_of(frames_of(pictures)))
    assert [each.frame.index for each in found] == list(range(len(pictures)))
    assert all(each.frame.rgb is picture for each, picture in zip(found, pictures, strict=True))
    return [each.frame.index for each in found if each.is_first]


def brighter(picture: np.ndarray, gain: float, offset: float = 0.0) -> np.ndarray:
    return np.clip(picture * gain + offset, 0, 255).astype(np.uint8)


def test_cuts_are_found_to_the_frame(shots):
    assert first_frames([picture for shot in shots for picture in shot]) == [0, 20, 40, 60, 80]


def test_neither_the_clips_ends_nor_short_shots_hide_a_cut(shots):
    cut = [shots[0][:1], shots[1][:2], shots[2][:5], shots[3][:1]]
    assert first_frames([picture for shot in cut for picture in shot]) == [0, 1, 3, 8]
    assert first_frames([]) == []
    assert first_frames(shots[0][:1]) == [0]


def test_exposure_and_white_balance_are_no_cuts_and_hide_none(shots):
    rng = np.random.default_rng(0)
    flickering = [brighter(picture, rng.uniform(0.65, 1.4)) for shot in shots[:3] for picture in shot]
    assert first_frames(flickering) == [0, 20, 40]
    tinted = [
        np.clip(picture * rng.uniform(0.8, 1.1, 3) + rng.uniform(-15, 15, 3), 0, 255).astype(np.uint8)
        for picture in shots[3]
    ]
    assert first_frames(tinted) == [0]


@pytest.mark.parametrize("length", [1, 2, REACH - 1])
@pytest.mark.parametrize("at", [1, 9, 16])
def test_a_flash_is_no_cut(shots, length, at):
    y, x = np.mgrid[-1:1:240j, -1:1:320j]
    light = (np.exp(-1.5 * (x**2 + y**2)) * 220 + 50)[:, :, None]
    flashed = [
        np.clip(picture + light, 0, 255).astype(np.uint8) if at <= number < at + length else picture
        for number, picture in enumerate(shots[0])
    ]
    assert changed_cells(thumbnail_of(flashed[at - 1]), thumbnail_of(flashed[at])) > 0.4
    assert first_frames(flashed) == [0]


def test_a_picture_that_stays_is_a_cut_however_it_looks(shots):
    inserted = [*shots[0][:8], *shots[1][: REACH + 1], *shots[0][8:]]
    assert first_frames(inserted) == [0, 8, 8 + REACH + 1]


@pytest.mark.parametrize("step_px", [5, 15, 30])
def test_a_head_that_moves_fast_is_no_cut(draw_face, step_px):
    middles = 160 + 90 * np.sin(np.arange(24) * step_px / 90)  # at most step_px per frame
    moving = [draw_face(SIZE, (middle, 125), 150)[0] for middle in middles]
    moving = [picture // 2 + backdrop() // 2 for picture in moving]
    assert first_frames(moving) == [0]


def backdrop() -> np.ndarray:
    coarse = np.random.default_rng(1).integers(0, 256, (6, 8, 3), np.uint8)
    return coarse.repeat(40, axis=0).repeat(40, axis=1)


def pan(step_px: int, count: int) -> list[np.ndarray]:
    wide = np.random.default_rng(1).integers(0, 256, (6, 60, 3), np.uint8).repeat(40, 0).repeat(40, 1)
    return [wide[:, step_px * number :][:, :320] for number in range(count)]


def test_a_pan_is_no_cut(shots):
    assert first_frames(pan(16, 60)) == [0]
    for step_px in (10, 14, 18, 24, 30):
        assert first_frames([*shots[0][:8], *pan(step_px, 30)]) == [0, 8]


@pytest.mark.parametrize("brightness", [1.0, 0.15])
def test_noise_is_no_cut_and_hides_none(shots, brightness):
    rng = np.random.default_rng(0)
    noisy = [
        brighter(picture * brightness + rng.normal(0, 15 * brightness, picture.shape), 1)
        for shot in shots[:3]
        for picture in shot
    ]
    assert first_frames(noisy) == [0, 20, 40]


def test_black_pictures_and_their_noise_are_one_scene():
    rng = np.random.default_rng(0)
    dark = [rng.integers(0, 3, (240, 320, 3)).astype(np.uint8) for _ in range(12)]
    assert first_frames(dark) == [0]
    assert first_frames([np.full((240, 320, 3), level, np.uint8) for level in range(0, 240, 20)]) == [0]


def test_pictures_of_another_size_begin_a_scene():
    small, large = np.zeros((120, 160, 3), np.uint8), np.zeros((240, 320, 3), np.uint8)
    assert first_frames([small, small, large, large, small]) == [0, 2, 4]


@pytest.mark.parametrize("shape", [(1, 1), (3, 500), (17, 16), (2160, 3840)])
def test_pictures_of_any_size_have_a_thumbnail(shape):
    thumbnail = thumbnail_of(np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8))
    assert thumbnail.shape == (16, 16, 3)
    assert thumbnail.dtype == np.float32
    np.testing.assert_allclose(thumbnail.mean(axis=(0, 1)), 0, atol=1e-5)


def test_a_thumbnail_holds_the_mean_colours_of_the_cells():
    cells = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    thumbnail = thumbnail_of(cells.repeat(15, axis=0).repeat(20, axis=1))
    centered = cells - cells.mean(axis=(0, 1))
    np.testing.assert_allclose(thumbnail, centered / np.sqrt(np.mean(centered**2)), atol=1e-4)


def test_no_more_frames_are_held_back_than_a_flash_may_last(shots):
    read = []

    def frames():
        for frame in frames_of(shots[0]):
            read.append(frame.index)
            yield frame

    scenes = scenes_of(frames())
    for number in range(10):
        next(scenes)
        assert len(read) == number + REACH
