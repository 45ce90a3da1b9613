"""Similarity transforms and crops, against linear least squares, SciPy's interpolation and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage

from pipeline.errors import FaceDetectionError
from pipeline.faces.alignment import TEMPLATE, box_crops, similarity_crops, similarity_transform


def least_squares_similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """x' = p x - q y + u and y' = q x + p y + v, solved for p, q, u, v as one linear system."""
    zero, one = np.zeros(len(source)), np.ones(len(source))
    x, y = source.T
    system = np.vstack((np.column_stack((x, -y, one, zero)), np.column_stack((y, x, zero, one))))
    p, q, u, v = np.linalg.lstsq(system, target.T.ravel(), rcond=None)[0]
    return np.array([[p, -q, u], [q, p, v]])


def similarity(scale: float, turn_deg: float, shift: tuple[float, float]) -> np.ndarray:
    angle = np.deg2rad(turn_deg)
    p, q = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[p, -q, shift[0]], [q, p, shift[1]]])


def moved(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    return points @ matrix[:, :2].T + matrix[:, 2]


def smooth_picture(height: int, width: int, stretch: float = 1.0) -> np.ndarray:
    """Waves that no step of the crop can alias or blur much, another in each channel."""
    y, x = np.mgrid[:height, :width] / stretch
    waves = [np.sin(x / 23 + y / 41), np.cos(x / 37 - y / 29), np.sin((x + y) / 53)]
    return np.round(np.stack([127.5 + 110 * wave for wave in waves], axis=2)).astype(np.uint8)


def similarity_crop(picture: np.ndarray, landmarks: np.ndarray, size_px: int = 48) -> np.ndarray:
    return similarity_crops(picture, landmarks, (size_px,))[size_px]


def crop_by_scipy(picture: np.ndarray, to_template: np.ndarray, size_px: int) -> np.ndarray:
    """Values at the middles of the crop's pixels: on a smooth picture, what any antialiasing gives."""
    inverse = np.linalg.inv(np.vstack((to_template, [0, 0, 1])))
    middle = (np.arange(size_px) + 0.5) * 112 / size_px - 0.5
    places = np.stack((*np.meshgrid(middle, middle), np.ones((size_px, size_px))))  # u, v, 1
    x, y, _ = np.tensordot(inverse, places, axes=1)
    channels = np.moveaxis(picture.astype(np.float64), 2, 0)
    return np.stack(
        [ndimage.map_coordinates(c, [y, x], order=1, mode="grid-constant") for c in channels], axis=2
    )


points = st.lists(st.tuples(st.floats(-500, 500), st.floats(-500, 500)), min_size=5, max_size=5)


def test_the_template_is_the_published_one():
    # SphereFace's template for pictures of 96 x 112, which ArcFace centres in 112 x 112.
    narrow = [
        (30.2946, 51.6963),
        (65.5318, 51.5014),
        (48.0252, 71.7366),
        (33.5493, 92.3655),
        (62.7299, 92.2041),
    ]
    np.testing.assert_allclose(TEMPLATE, np.add(narrow, (8, 0)), atol=1e-9)


@given(source=points, target=points)
def test_the_transform_is_the_least_squares_one(source, target):
    source, target = np.array(source), np.array(target)
    if np.ptp(source, axis=0).max() < 1 or np.ptp(target, axis=0).max() < 1:
        return
    try:
        ours = similarity_transform(source, target)
    except FaceDetectionError:
        return
    residual = np.sum((moved(source, ours) - target) ** 2)
    best = np.sum((moved(source, least_squares_similarity(source, target)) - target) ** 2)
    assert residual <= best * (1 + 1e-9) + 1e-6
    assert ours[0, 0] == ours[1, 1]
    assert ours[0, 1] == -ours[1, 0]


@pytest.mark.parametrize("turn_deg", [0, 30, -75, 180])
def test_a_known_transform_is_recovered(turn_deg):
    known = similarity(1.7, turn_deg, (12.5, -40))
    np.testing.assert_allclose(similarity_transform(TEMPLATE, moved(TEMPLATE, known)), known, atol=1e-9)


def test_mirrored_landmarks_are_not_answered_by_a_mirrored_crop():
    mirrored = TEMPLATE * (-1, 1)
    matrix = similarity_transform(mirrored, TEMPLATE)
    assert np.linalg.det(matrix[:, :2]) > 0


def test_coinciding_points_are_refused():
    with pytest.raises(FaceDetectionError, match="expected at least two different points"):
        similarity_transform(np.ones((5, 2)), TEMPLATE)
    with pytest.raises(FaceDetectionError):
        similarity_transform(TEMPLATE, np.ones((5, 2)))


@pytest.mark.parametrize(
    ("scale", "turn_deg"), [(0.4, 0), (0.8, 20), (1.0, -35), (1.6, 10), (2.5, 90), (3.99, 0), (6.3, -15)]
)
@pytest.mark.parametrize("size_px", [48, 112, 160, 224])
def test_aligned_crops_are_scipys(scale, turn_deg, size_px):
    # Scale: picture pixels per template pixel. The face lies in the middle of a picture that holds all of it.
    picture = smooth_picture(1100, 1200, stretch=max(1.0, scale))
    middle = moved(np.array([[55.5, 55.5]]), similarity(scale, turn_deg, (0, 0)))[0]
    to_picture = similarity(scale, turn_deg, tuple(np.array([600.3, 550.8]) - middle))
    landmarks = moved(TEMPLATE, to_picture).astype(np.float32)
    to_template = least_squares_similarity(landmarks.astype(np.float64), TEMPLATE)
    expected = crop_by_scipy(picture, to_template, size_px)
    crop = similarity_crop(picture, landmarks, size_px)
    assert crop.shape == (size_px, size_px, 3)
    assert crop.dtype == np.uint8
    inner = np.s_[1:-1, 1:-1]  # the resize weighs fewer neighbours in the outermost pixels
    difference = np.abs(crop[inner] - expected[inner])  # half a pixel of the template makes a mean of 1.4
    assert difference.max() < 1.5
    assert difference.mean() < 0.4


def test_a_turned_picture_with_turned_landmarks_gives_the_same_crop():
    picture = smooth_picture(300, 300)
    landmarks = moved(TEMPLATE, similarity(1.3, 12, (60, 70)))
    turned = np.ascontiguousarray(np.rot90(picture))  # (x, y) goes to (y, 299 - x)
    turned_landmarks = np.column_stack((landmarks[:, 1], 299 - landmarks[:, 0]))
    np.testing.assert_allclose(
        similarity_crop(turned, turned_landmarks).astype(int), similarity_crop(picture, landmarks), atol=1
    )


@pytest.mark.parametrize("scale", [1.0, 1.5, 2.0, 4.7, 9.0])
def test_fine_patterns_become_grey_and_do_not_alias(scale):
    y, x = np.mgrid[:1200, :1200]
    board = (((x + y) % 2) * 255).astype(np.uint8)[:, :, None].repeat(3, axis=2)
    landmarks = moved(TEMPLATE, similarity(scale, 3, (20, 60)))
    crop = similarity_crop(board, landmarks).astype(float)
    assert np.abs(crop[2:-2, 2:-2] - 127.5).max() < 12


def test_outside_the_picture_it_is_black():
    white = np.full((120, 120, 3), 255, np.uint8)
    half_out = similarity_crop(white, moved(TEMPLATE, similarity(1, 0, (-56, 0))))
    np.testing.assert_array_equal(half_out[:, :22], 0)
    np.testing.assert_array_equal(half_out[1:-1, 26:-1], 255)
    for shift in [(500, 0), (-500, 0), (0, 500), (0, -500)]:
        assert not similarity_crop(white, moved(TEMPLATE, similarity(1, 0, shift))).any()


def test_crops_of_read_only_and_cut_out_pictures_are_the_same():
    picture = smooth_picture(200, 220)
    landmarks = moved(TEMPLATE, similarity(1.2, 5, (30, 20)))
    expected = similarity_crop(picture, landmarks)
    frozen = picture.copy()
    frozen.setflags(write=False)
    np.testing.assert_array_equal(similarity_crop(frozen, landmarks), expected)
    larger = np.zeros((210, 240, 3), np.uint8)
    larger[5:205, 9:229] = picture
    np.testing.assert_array_equal(similarity_crop(larger[5:205, 9:229], landmarks), expected)


@pytest.mark.parametrize(
    ("box", "margin"), [((40, 60, 152, 160), 0.0), ((50, 30, 130, 142), 0.25), ((10, 20, 250, 260), 0.0)]
)
@pytest.mark.parametrize("size_px", [48, 112, 160])
def test_box_crops_are_squares_resized_by_pillow(box, margin, size_px):
    picture = smooth_picture(300, 320)
    left, top, right, bottom = box
    half = max(right - left, bottom - top) * (1 + 2 * margin) / 2
    x, y = (left + right) / 2, (top + bottom) / 2
    square = (x - half, y - half, x + half, y + half)
    sides = (size_px, size_px)
    expected = Image.fromarray(picture).resize(sides, Image.Resampling.BILINEAR, box=square)
    crop = box_crops(picture, np.array(box, np.float32), margin, (size_px,))[size_px]
    inner = np.s_[1:-1, 1:-1]
    np.testing.assert_allclose(crop[inner].astype(int), np.asarray(expected)[inner], atol=2)


def crop_by_plain_poolings(picture: np.ndarray, to_picture: np.ndarray) -> np.ndarray:
    """The crop of 48 pixels by plain poolings of floats, for similarities without a turn."""
    scale = to_picture[0, 0]
    block = max(1, int(scale))
    samples = 2 if scale > block + 1e-6 else 1
    height, width = (-(-length // block) * block for length in picture.shape[:2])
    padded = np.zeros((height, width, 3), np.float32)
    padded[: picture.shape[0], : picture.shape[1]] = picture
    part = F.avg_pool2d(torch.from_numpy(padded).permute(2, 0, 1)[None], block)
    steps = (np.arange(112 * samples) + 0.5) / samples - 0.5
    x, y = (scale * steps + shift for shift in to_picture[:, 2])
    grid = np.stack(
        np.broadcast_arrays(
            (2 * (x + 0.5) / (block * part.shape[3]) - 1)[None, :],
            (2 * (y + 0.5) / (block * part.shape[2]) - 1)[:, None],
        ),
        axis=-1,
    )
    template = F.grid_sample(part, torch.from_numpy(grid)[None].float(), align_corners=False)
    template = F.avg_pool2d(template, samples)
    crop = F.interpolate(template, 48, mode="bilinear", align_corners=False, antialias=True)[0]
    return crop.round().clamp(0, 255).byte().permute(1, 2, 0).numpy()


@pytest.mark.parametrize("scale", [0.5, 1.0, 1.5, 2.0, 2.75, 5.5])
def test_crops_of_48_pixels_are_those_of_plain_poolings(scale):
    picture = np.random.default_rng(0).integers(0, 256, (640, 650, 3), np.uint8)
    side = 112 * scale
    box = np.array([0, 0, side, side])
    to_picture = np.array([[scale, 0, scale / 2 - 0.5], [0, scale, scale / 2 - 0.5]])
    expected = crop_by_plain_poolings(picture, to_picture)
    # Equal but for the last bit of the sampling places, which are counted from another corner.
    difference = np.abs(box_crops(picture, box, 0.0, (48,))[48].astype(int) - expected)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 5e-3


@pytest.mark.parametrize("sizes", [(48, 112, 160), (160, 48), (112,), (40, 48, 96, 112)])
def test_several_sizes_at_once_are_those_one_by_one(sizes):
    picture = np.random.default_rng(0).integers(0, 256, (300, 320, 3), np.uint8)
    landmarks = moved(TEMPLATE, similarity(1.7, 20, (60, 30)))
    crops = similarity_crops(picture, landmarks, sizes)
    assert list(crops) == list(sizes)
    for size_px, crop in crops.items():
        np.testing.assert_array_equal(crop, similarity_crop(picture, landmarks, size_px))
    assert similarity_crops(picture, landmarks, ()) == {}


def test_the_template_itself_is_the_crop_of_112_pixels():
    # The landmarks lie on the template, so that its pixels are the picture's.
    picture = np.random.default_rng(0).integers(0, 256, (130, 140, 3), np.uint8)
    landmarks = TEMPLATE + np.array((10, 5))
    np.testing.assert_array_equal(similarity_crop(picture, landmarks, 112), picture[5:117, 10:122])


def test_landmarks_that_no_face_has_give_no_giant_pictures():
    picture = np.full((200, 220, 3), 255, np.uint8)
    # Mirrored landmarks are fitted by shrinking all to a point: a template pixel spans millions of pixels.
    tangled = TEMPLATE[[1, 0, 2, 4, 3]] * (1, 1e-9) + TEMPLATE * (1e-7, 0)
    for size_px in (48, 160):
        assert similarity_crop(picture, tangled, size_px).shape == (size_px, size_px, 3)
    assert not similarity_crop(picture, np.outer(np.arange(5), (1e9, 1)), 48).any()
