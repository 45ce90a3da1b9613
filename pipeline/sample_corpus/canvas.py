"""A picture with its own unit of length: shapes are given in face units and drawn in pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from pipeline.sample_corpus.person import Color

Points = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Canvas:
    """An image to draw on in face units.

    Attributes:
        image: The image, RGBA.
        unit_px: Pixels of one face unit.
        origin_px: Pixel of the middle of the face (x, y).
    """

    image: Image.Image
    unit_px: float
    origin_px: tuple[float, float]

    @classmethod
    def empty(cls, half_size: tuple[float, float], unit_px: float, color: Color) -> Canvas:
        """A transparent canvas around the middle of the face.

        Args:
            half_size: Half its width and height in face units.
            unit_px: Pixels of one face unit.
            color: What the transparent pixels hold, and so what soft edges fade to.

        Returns:
            The canvas.
        """
        width, height = (2 * round(half * unit_px) for half in half_size)
        image = Image.new("RGBA", (width, height), (*color, 0))
        return cls(image=image, unit_px=unit_px, origin_px=(width / 2, height / 2))

    def copy(self) -> Canvas:
        """A canvas with a copy of the image."""
        return Canvas(image=self.image.copy(), unit_px=self.unit_px, origin_px=self.origin_px)

    def to_pixels(self, points: Points) -> list[tuple[float, float]]:
        """Pixels of points in face units, shape (K, 2)."""
        pixels = points * self.unit_px + np.asarray(self.origin_px)
        return [(float(x), float(y)) for x, y in pixels]

    def polygon(self, points: Points, color: Color) -> None:
        """Fill a polygon; points in face units, shape (K, 2)."""
        ImageDraw.Draw(self.image).polygon(self.to_pixels(points), fill=(*color, 255))

    def line(self, points: Points, color: Color, width: float) -> None:
        """Draw a polyline of a width in face units; points shape (K, 2)."""
        pixels = self.to_pixels(points)
        width_px = max(1, round(width * self.unit_px))
        ImageDraw.Draw(self.image).line(pixels, fill=(*color, 255), width=width_px, joint="curve")

    def grid(self) -> tuple[Points, Points]:
        """Face units of each pixel's middle: x of shape (1, W) and y of shape (H, 1)."""
        width, height = self.image.size
        x = (np.arange(width, dtype=np.float64) + 0.5 - self.origin_px[0]) / self.unit_px
        y = (np.arange(height, dtype=np.float64) + 0.5 - self.origin_px[1]) / self.unit_px
        return x[None, :], y[:, None]

    def mask(self, points: Points) -> Image.Image:
        """Coverage of a polygon as an 8-bit image of the canvas's size; points shape (K, 2)."""
        mask = Image.new("L", self.image.size, 0)
        ImageDraw.Draw(mask).polygon(self.to_pixels(points), fill=255)
        return mask


def points(x: Sequence[float] | NDArray[np.float64], y: Sequence[float] | NDArray[np.float64]) -> Points:
    """Points of shape (K, 2) from coordinates of shape (K,)."""
    return np.stack([np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)], axis=1)


def ellipse(center: tuple[float, float], radii: tuple[float, float], num_points: int = 40) -> Points:
    """Points of an ellipse, shape (`num_points`, 2)."""
    angle = np.linspace(0.0, 2.0 * np.pi, num_points, endpoint=False)
    return points(center[0] + radii[0] * np.cos(angle), center[1] + radii[1] * np.sin(angle))


def shade(color: Color, factor: float) -> Color:
    """A darker (factor < 1) or lighter colour."""
    red, green, blue = (min(255, max(0, round(part * factor))) for part in color)
    return red, green, blue


def blend(first: Color, second: Color, share: float) -> Color:
    """The colour `share` of the way from the first to the second."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue
