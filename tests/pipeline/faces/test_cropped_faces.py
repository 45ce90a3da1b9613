"""Faces from folders of images, against Pillow."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.errors import MediaError
from pipeline.faces.crop import FaceCrop
from pipeline.faces.cropped_faces import cropped_faces, num_surplus_images
from pipeline.media.video import VideoFrame


def times_alone(count: int) -> list[VideoFrame]:
    """Frames as they are decoded where nobody looks at their pictures."""
    return [
        VideoFrame(
            index=index, time_s=0.5 + index / 30, rgb=None, row_times_s=(0.5 + index / 30,) * (index % 3)
        )
        for index in range(count)
    ]


def smooth_face(height: int, width: int, mode: str = "RGB") -> Image.Image:
    y, x = np.mgrid[:height, :width] / max(height, width)
    channels = [127.5 + 110 * np.sin(6 * x + 2 * y), 127.5 + 110 * np.cos(5 * y), 255 * (1 - x) * y + 20]
    return Image.fromarray(np.stack(channels, axis=2).round().clip(0, 255).astype(np.uint8)).convert(mode)


def save(folder: Path, number: int, image: Image.Image) -> np.ndarray:
    """The image as a JPEG, and what Pillow reads from it."""
    path = folder / f"{number:05d}.jpg"
    image.save(path, quality=95)
    return np.asarray(Image.open(path).convert("RGB"))


def one(folder: Path, *sizes: int) -> FaceCrop:
    (crop,) = cropped_faces(times_alone(1), folder, sizes)
    return crop


def test_images_belong_to_the_frames_one_before_their_numbers(tmp_path):
    images = {number: save(tmp_path, number, smooth_face(112, 100 + number)) for number in (1, 3, 4, 12)}
    del images[12]  # beyond the last frame
    frames = times_alone(6)
    crops = list(cropped_faces(frames, tmp_path, (64,)))
    assert [crop.index for crop in crops] == list(range(6))
    assert [crop.time_s for crop in crops] == [frame.time_s for frame in frames]
    assert [crop.row_times_s for crop in crops] == [frame.row_times_s for frame in frames]
    assert [crop.index + 1 for crop in crops if crop.crops is not None] == list(images)
    for crop in crops:
        if crop.crops is None:
            assert crop.box is None
            assert crop.score == 0
        else:
            np.testing.assert_array_equal(crop.box, np.zeros(4, np.float32))
            assert crop.box.dtype == np.float32
            assert crop.score == 1


def test_frame_100000_has_a_number_of_six_digits(tmp_path):
    save(tmp_path, 100_000, smooth_face(48, 48))
    frame = VideoFrame(index=99_999, time_s=1.0, rgb=None, row_times_s=(1.0,))
    (crop,) = cropped_faces([frame], tmp_path, (48,))
    assert crop.crops is not None


def test_images_of_the_right_size_are_taken_as_they_are(tmp_path):
    image = save(tmp_path, 1, smooth_face(112, 112))
    np.testing.assert_array_equal(one(tmp_path, 112).crops[112], image)


@pytest.mark.parametrize("side", [30, 112, 113, 250])
@pytest.mark.parametrize("size", [48, 112, 160])
def test_images_of_other_sizes_are_resized_as_by_pillow(tmp_path, side, size):
    image = save(tmp_path, 1, smooth_face(side, side))
    expected = Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR)
    crop = one(tmp_path, size).crops[size]
    assert crop.shape == (size, size, 3)
    assert crop.dtype == np.uint8
    np.testing.assert_allclose(crop.astype(int), np.asarray(expected), atol=1)


def test_several_sizes_are_those_one_by_one(tmp_path):
    save(tmp_path, 1, smooth_face(112, 112))
    crops = one(tmp_path, 48, 112, 160).crops
    assert list(crops) == [48, 112, 160]
    for size, crop in crops.items():
        np.testing.assert_array_equal(crop, one(tmp_path, size).crops[size])
    assert one(tmp_path).crops == {}


def test_images_that_are_not_square_get_black_bars(tmp_path):
    tall = save(tmp_path, 1, smooth_face(100, 60))
    crop = one(tmp_path, 100).crops[100]
    np.testing.assert_array_equal(crop[:, 20:80], tall)
    assert not crop[:, :20].any()
    assert not crop[:, 80:].any()
    wide = save(tmp_path, 1, smooth_face(51, 90))
    np.testing.assert_array_equal(one(tmp_path, 90).crops[90][19:70], wide)


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_grey_and_cmyk_images_become_rgb(tmp_path, mode):
    image = save(tmp_path, 1, smooth_face(112, 112, mode))
    np.testing.assert_array_equal(one(tmp_path, 112).crops[112], image)


def test_png_under_the_name_of_a_jpeg_is_read(tmp_path):
    picture = np.asarray(smooth_face(112, 112))
    Image.fromarray(picture).save(tmp_path / "00001.jpg", format="PNG")
    np.testing.assert_array_equal(one(tmp_path, 112).crops[112], picture)


def whole(folder: Path) -> bytes:
    save(folder, 1, smooth_face(112, 112))
    return (folder / "00001.jpg").read_bytes()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda data: data[: len(data) // 2], "truncated"),
        (lambda data: b"", "of another format"),
        (lambda data: b"GIF89a" + data, "of another format"),
        (lambda data: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "of another format"),
        (lambda data: data[:4] + bytes(100), "of another format"),
    ],
)
def test_damaged_images_are_named(tmp_path, damage, reason):
    (tmp_path / "00001.jpg").write_bytes(damage(whole(tmp_path)))
    path = re.escape(str(tmp_path / "00001.jpg"))
    pattern = rf"^'{path}': expected a JPEG .*\(.*{reason}.*\); replace it, or delete it"
    with pytest.raises(MediaError, match=pattern) as caught:
        one(tmp_path, 48)
    assert "\n" not in str(caught.value)


def test_random_damage_is_a_media_error_or_none(tmp_path):
    rng = np.random.default_rng(0)
    data = np.frombuffer(whole(tmp_path), np.uint8)
    refused = 0
    for _ in range(150):
        damaged = data.copy()
        damaged[rng.integers(0, len(data), 8)] = rng.integers(0, 256, 8)
        (tmp_path / "00001.jpg").write_bytes(damaged.tobytes())
        try:
            assert one(tmp_path, 48).crops[48].shape == (48, 48, 3)
        except MediaError:
            refused += 1
    assert 0 < refused < 150


def test_huge_pictures_are_refused_unread(tmp_path):
    Image.new("L", (5000, 20)).save(tmp_path / "00001.jpg")
    with pytest.raises(MediaError, match=r"found a picture of 5000 x 20 px \(at most 4096 on a side\)"):
        one(tmp_path, 48)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(MediaError, match=r"nowhere': expected a folder of cropped faces"):
        list(cropped_faces(times_alone(2), tmp_path / "nowhere", (48,)))


def test_what_is_no_file_is_a_missing_face(tmp_path):
    (tmp_path / "00001.jpg").mkdir()
    assert one(tmp_path, 48).crops is None


def test_images_of_no_frame_are_counted(tmp_path):
    for name in ["00000.jpg", "00001.jpg", "00005.jpg", "00006.jpg", "123456.jpg", "7.jpg", "00009.png", "x"]:
        (tmp_path / name).touch()
    assert num_surplus_images(tmp_path, 5) == 3
    assert num_surplus_images(tmp_path, 4) == 4
    assert num_surplus_images(tmp_path, 200_000) == 1
