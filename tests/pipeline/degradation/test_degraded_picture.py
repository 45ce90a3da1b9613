"""Blur, darkness and occlusion, pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from pipeline.degradation import read_condition
from pipeline.degradation.degraded_picture import PictureDegradation
from pipeline.degradation.face_places import FacePlaces

PICTURE = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
BOX = np.array([20.4, 10.0, 50.0, 50.0], np.float32)


def degraded(name: str, rgb=PICTURE, *, index=0, box=BOX, face_width_px=30.0, seed=0, clip="x"):
    before = rgb.copy()
    pictures = PictureDegradation(read_condition(name), clip, seed)
    after = pictures.apply(rgb, index=index, box=box, face_width_px=face_width_px)
    assert np.array_equal(rgb, before)
    assert after.dtype == np.uint8
    assert after.shape == rgb.shape
    assert after.flags.c_contiguous
    return after


@pytest.mark.parametrize("share", [2, 10, 60])
def test_blur_is_gaussian_of_a_share_of_the_face(share: float) -> None:
    sigma = share / 100 * 30
    expected = ndimage.gaussian_filter(PICTURE.astype(np.float64), (sigma, sigma, 0), mode="nearest")
    assert np.abs(degraded(f"blur={share}") - expected).max() <= 0.51  # half a byte for the rounding


def test_blur_goes_by_a_face_and_leaves_a_clip_without_one() -> None:
    assert degraded("blur=10", face_width_px=None) is PICTURE
    assert degraded("blur=0") is PICTURE
    assert not np.array_equal(degraded("blur=10"), degraded("blur=10", face_width_px=60.0))


def light(srgb: np.ndarray) -> np.ndarray:
    """IEC 61966-2-1."""
    value = np.asarray(srgb, np.float64) / 255
    return np.where(value > 0.04045, ((value + 0.055) / 1.055) ** 2.4, value / 12.92)


@pytest.mark.parametrize("stops", [0, 1, 3])
def test_darkness_takes_light_and_adds_the_noise_of_light_and_sensor(stops: int) -> None:
    grey = np.full((200, 200, 3), 200, np.uint8)
    dark = light(degraded(f"darkness={stops}", grey))
    expected = light(200) / 2**stops
    assert dark.mean() == pytest.approx(expected, rel=0.01)
    electrons = 4000 * expected
    byte = light(degraded(f"darkness={stops}", grey).mean() + np.array([-0.5, 0.5]))
    noise = np.sqrt(electrons + 4**2) / 4000
    rounding = (byte[1] - byte[0]) / np.sqrt(12)
    assert dark.std() == pytest.approx(np.hypot(noise, rounding), rel=0.03)


def test_noise_of_the_dark_is_another_in_each_frame_clip_and_study() -> None:
    first = degraded("darkness=3")
    assert np.array_equal(first, degraded("darkness=3"))
    for other in ({"index": 1}, {"clip": "y"}, {"seed": 1}):
        assert not np.array_equal(first, degraded("darkness=3", **other))


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("occlusion_lower=25", slice(40, 50)),
        ("occlusion_upper=25", slice(10, 20)),
        ("occlusion_lower=100", slice(10, 50)),
        ("occlusion_upper=0", slice(10, 10)),
    ],
)
def test_occlusion_covers_its_share_of_the_face_and_nothing_else(name: str, rows: slice) -> None:
    expected = PICTURE.copy()
    expected[rows, 20:50] = 128
    assert np.array_equal(degraded(name), expected)


def test_occlusion_ends_with_the_picture_and_needs_a_face() -> None:
    expected = PICTURE.copy()
    expected[20:, :10] = 128
    beyond = np.array([-30.0, -20.0, 10.0, 60.0])
    assert np.array_equal(degraded("occlusion_lower=50", box=beyond), expected)
    outside = np.array([90.0, -40.0, 120.0, -10.0])
    assert np.array_equal(degraded("occlusion_lower=50", box=outside), PICTURE)
    assert degraded("occlusion_lower=50", box=None) is PICTURE


def test_places_of_a_face() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 0, 0], [5, 5, 25, 20], [5, 5, 25, 20]], np.float32)
    # Row 1 shows no face, rows 2 and 3 are of one frame; frames 1 and 3 have no row.
    places = FacePlaces(np.array([0, 2, 4, 4]), np.array([True, False, True, True]), boxes)
    assert places.width_px == 20
    assert [None if places.at(frame) is None else places.at(frame)[2] for frame in range(6)] == [
        10,
        10,
        None,
        None,
        25,
        25,
    ]
    cropped = FacePlaces(np.arange(2), np.array([True, True]), np.zeros((2, 4), np.float32))
    assert cropped.width_px is None
    assert cropped.at(0) is None
