"""A face drawn with Pillow, near enough to a photograph for MTCNN: no pictures of people are needed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

BACKGROUND = (96, 110, 120)
_OVERSAMPLING = 4
_HALF_WIDTH = 0.74  # of half the face's height


def draw_face(
    size_px: tuple[int, int],
    center_px: tuple[float, float] | None,
    height_px: float = 150.0,
    background: tuple[int, int, int] = BACKGROUND,
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """A picture with one face seen from the front.

    Args:
        size_px: Width and height of the picture.
        center_px: Middle of the face's oval, None for a picture without a face.
        height_px: From chin to hairline.
        background: Colour around the head.

    Returns:
        The picture (height, width, 3), and left, top, right, bottom of the oval, (4,).
    """
    width, height = size_px
    canvas = Image.new("RGB", (width * _OVERSAMPLING, height * _OVERSAMPLING), background)
    if center_px is not None:
        canvas = _with_head(canvas, center_px, height_px)
    picture = np.asarray(canvas.resize(size_px, Image.Resampling.LANCZOS))
    x, y = center_px if center_px is not None else (np.nan, np.nan)
    half = height_px / 2
    return picture, np.array([x - _HALF_WIDTH * half, y - half, x + _HALF_WIDTH * half, y + half])


def _with_head(canvas: Image.Image, center_px: tuple[float, float], height_px: float) -> Image.Image:
    draw = ImageDraw.Draw(canvas)
    middle_x, middle_y = center_px[0] * _OVERSAMPLING, center_px[1] * _OVERSAMPLING
    unit = height_px * _OVERSAMPLING / 2

    def corners(x: float, y: float, radius_x: float, radius_y: float) -> list[float]:
        left, top = middle_x + (x - radius_x) * unit, middle_y + (y - radius_y) * unit
        return [left, top, left + 2 * radius_x * unit, top + 2 * radius_y * unit]

    def oval(x: float, y: float, radius_x: float, radius_y: float, colour: tuple[int, int, int]) -> None:
        draw.ellipse(corners(x, y, radius_x, radius_y), fill=colour)

    oval(0, -0.15, 0.90, 1.08, (52, 36, 28))  # hair
    draw.rectangle(corners(0, 1.0, 0.35, 0.4), fill=(196, 150, 124))  # neck
    oval(0, 0, _HALF_WIDTH, 1.0, (224, 178, 150))
    for side in (-1, 1):
        oval(side * 0.42, 0.28, 0.20, 0.14, (228, 160, 140))  # cheek
        oval(side * 0.32, -0.16, 0.17, 0.09, (196, 146, 120))  # shade of the eye's socket
        oval(side * 0.32, -0.14, 0.15, 0.075, (246, 244, 240))
        oval(side * 0.32, -0.14, 0.072, 0.072, (70, 50, 36))  # iris
        oval(side * 0.32, -0.14, 0.036, 0.036, (16, 12, 10))
        draw.arc(corners(side * 0.32, -0.29, 0.2, 0.13), 200, 340, fill=(60, 40, 30), width=int(0.06 * unit))
    nose = [(-0.05, -0.10), (0.05, -0.10), (0.14, 0.26), (-0.14, 0.26)]
    draw.polygon([(middle_x + x * unit, middle_y + y * unit) for x, y in nose], fill=(212, 162, 134))
    oval(0, 0.24, 0.13, 0.07, (206, 150, 124))
    oval(-0.07, 0.27, 0.03, 0.02, (120, 70, 60))
    oval(0.07, 0.27, 0.03, 0.02, (120, 70, 60))
    mouth = corners(0, 0.52, 0.30, 0.16)
    draw.chord(mouth, 10, 170, fill=(170, 70, 70))
    draw.arc(mouth, 10, 170, fill=(120, 46, 46), width=int(0.03 * unit))
    return canvas.filter(ImageFilter.GaussianBlur(0.02 * unit))
