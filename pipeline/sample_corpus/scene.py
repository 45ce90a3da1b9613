"""Pictures of a clip: wall, body, head and what covers the face, drawn at twice the size and scaled down."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from pipeline.sample_corpus.canvas import Canvas, ellipse, points, shade
from pipeline.sample_corpus.expression import Expression, Pose
from pipeline.sample_corpus.face import FacePainter
from pipeline.sample_corpus.person import Person

WIDTH_PX = 320
HEIGHT_PX = 240
SUPERSAMPLING = 2
_SIZE = (WIDTH_PX * SUPERSAMPLING, HEIGHT_PX * SUPERSAMPLING)


@dataclass(frozen=True, kw_only=True)
class Cover:
    """What covers the face in one picture.

    Attributes:
        variant: `hand` before the mouth and nose, or `card` before the whole face.
        weight: How far it has come up, 0 (out of sight) to 1 (in place).
    """

    variant: str
    weight: float


class ScenePainter:
    """Draws the pictures of one subject.

    Args:
        person: The subject.
    """

    def __init__(self, person: Person) -> None:
        self._person = person
        self._unit_px = person.face_height_px / 2 * SUPERSAMPLING
        self._face = FacePainter(person, self._unit_px)
        self._wall = _draw_wall(person)
        self._body = _draw_body(person, self._unit_px)
        self._covers = {"hand": _draw_hand(person, self._unit_px), "card": _draw_card(person, self._unit_px)}
        self._light = _light_table(person)

    def paint(self, expression: Expression, pose: Pose, cover: Cover | None) -> NDArray[np.uint8]:
        """Draw one picture.

        Args:
            expression: State of the face.
            pose: Place and turn of the head.
            cover: What covers the face.

        Returns:
            RGB picture, shape (240, 320, 3).
        """
        picture = self._wall.copy()
        unit_px = self._unit_px
        rest_x = (self._person.center[0] + pose.lean) * _SIZE[0]
        rest_y = self._person.center[1] * _SIZE[1]
        head_x, head_y = rest_x + pose.shift[0] * unit_px, rest_y + pose.shift[1] * unit_px
        body_x = round(rest_x + 0.3 * pose.shift[0] * unit_px - self._body.width / 2)
        _paste(picture, self._body, (body_x, round(rest_y)))

        head = self._face.paint(expression, pose.turn)
        left, top = int(np.floor(head_x - head.width / 2)), int(np.floor(head_y - head.height / 2))
        rest = (head_x - head.width / 2 - left, head_y - head.height / 2 - top)
        _paste(picture, turned(head, pose.roll_deg, rest), (left, top))
        if cover is not None and cover.weight > 0:
            layer = self._covers[cover.variant]
            layer_y = head_y + (1.0 - cover.weight) * (_SIZE[1] - head_y + layer.height / 2)
            _paste(picture, layer, (round(head_x - layer.width / 2), round(layer_y - layer.height / 2)))
        return np.asarray(picture.reduce(SUPERSAMPLING).point(self._light))


def turned(image: Image.Image, angle_deg: float, shift_px: tuple[float, float]) -> Image.Image:
    """Turn an image about its middle, then move it.

    Args:
        image: RGBA image.
        angle_deg: Turn in degrees, counter-clockwise.
        shift_px: Move to the right and down, also by parts of a pixel.

    Returns:
        RGBA image of the same size, transparent where nothing was.
    """
    cosine, sine = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    middle_x, middle_y = image.width / 2, image.height / 2
    # Pillow asks where each pixel comes from: the inverse of the turn.
    from_x, from_y = middle_x + shift_px[0], middle_y + shift_px[1]
    matrix = (
        cosine,
        -sine,
        middle_x - cosine * from_x + sine * from_y,
        sine,
        cosine,
        middle_y - sine * from_x - cosine * from_y,
    )
    method, resample = Image.Transform.AFFINE, Image.Resampling.BILINEAR
    return image.transform(image.size, method, matrix, resample=resample)


def _paste(picture: Image.Image, layer: Image.Image, corner: tuple[int, int]) -> None:
    """Put an RGBA layer over the picture; what lies outside is cut off."""
    picture.paste(layer, corner, layer)


def _light_table(person: Person) -> list[int]:
    """Exposure and tint of the light as a table for `Image.point`, 3 x 256 entries."""
    gains = person.brightness * np.array([1.0 + 0.05 * person.warmth, 1.0, 1.0 - 0.07 * person.warmth])
    table = np.clip(np.rint(gains[:, None] * np.arange(256)), 0, 255)
    return [int(value) for value in table.ravel()]


def _draw_wall(person: Person) -> Image.Image:
    """A wall in uneven light with a few things on it, out of focus."""
    rng = np.random.default_rng(person.decor_seed)
    x, y = np.linspace(-1, 1, _SIZE[0])[None, :], np.linspace(-1, 1, _SIZE[1])[:, None]
    lit = 0.88 + 0.16 * person.light[0] * x - 0.10 * y
    wall = np.clip(np.asarray(person.wall) * lit[..., None], 0, 255).astype(np.uint8)
    image = Image.fromarray(wall)
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(1, 4))):
        left, top = rng.uniform(0, _SIZE[0]), rng.uniform(-0.1, 0.5) * _SIZE[1]
        width, height = rng.uniform(80, 220, 2)
        color = tuple(
            int(part)
            for part in np.clip(
                np.asarray(person.wall) + rng.uniform(-55, 10) + rng.uniform(-22, 22, 3), 0, 255
            )
        )
        draw.rectangle(
            (left, top, left + width, top + height), fill=color, outline=shade(person.wall, 0.55), width=8
        )
    return image.filter(ImageFilter.GaussianBlur(5))


def _draw_body(person: Person, unit_px: float) -> Image.Image:
    """Neck, shoulders and shirt; the middle of the face lies in the middle of the upper edge."""
    canvas = Canvas(
        image=Image.new("RGBA", (round(4.4 * unit_px), _SIZE[1]), (*person.clothes, 0)),
        unit_px=unit_px,
        origin_px=(2.2 * unit_px, 0.0),
    )
    neck = 0.62 * person.half_width
    canvas.polygon(
        points([-neck, neck, neck * 1.15, -neck * 1.15], [0.3, 0.3, 1.5, 1.5]), shade(person.skin, 0.66)
    )
    share = np.linspace(0.0, 1.0, 20)
    x = neck * 1.1 + (1.85 - neck * 1.1) * share
    y = 1.18 + 0.42 * share**2 + 0.1 * share
    bottom = _SIZE[1] / unit_px + 1.0
    right, left = points(x, y), points(-x[::-1], y[::-1])
    collar = points(neck * 1.1 * np.linspace(-1, 1, 15), 1.18 + 0.2 * (1 - np.linspace(-1, 1, 15) ** 2))
    canvas.polygon(
        np.concatenate([left, collar, right, points([2.0, -2.0], [bottom, bottom])]), person.clothes
    )
    canvas.line(collar, shade(person.clothes, 0.75), 0.05)
    return canvas.image


def _draw_hand(person: Person, unit_px: float) -> Image.Image:
    """A hand held before mouth and nose, coming from below, in a picture centred on the face."""
    canvas = Canvas.empty((0.95, 2.6), unit_px, person.skin)
    skin, line = shade(person.skin, 0.92), shade(person.skin, 0.66)
    canvas.polygon(points([-0.30, 0.30, 0.42, -0.42], [1.2, 1.2, 2.6, 2.6]), shade(person.clothes, 0.85))
    canvas.polygon(points([-0.26, 0.26, 0.27, -0.27], [0.9, 0.9, 1.35, 1.35]), skin)
    for index, (x, length) in enumerate(((-0.39, 0.52), (-0.14, 0.64), (0.12, 0.60), (0.37, 0.46))):
        finger = np.concatenate(
            [ellipse((x, 0.62 - length), (0.135, 0.16)), ellipse((x * 0.95, 0.62), (0.135, 0.1))]
        )
        outline = points(
            [x - 0.135, x + 0.135, x * 0.95 + 0.135, x * 0.95 - 0.135],
            [0.62 - length, 0.62 - length, 0.7, 0.7],
        )
        canvas.polygon(finger[:40], skin)
        canvas.polygon(outline, skin)
        if index:
            canvas.line(points([x - 0.128] * 2, [0.62 - length, 0.66]), line, 0.022)
    canvas.polygon(ellipse((0.0, 0.74), (0.53, 0.36)), skin)
    thumb = ellipse((0.0, 0.0), (0.13, 0.36)) @ np.array([[0.82, 0.57], [-0.57, 0.82]])
    canvas.polygon(thumb + np.array([0.60, 0.62]), skin)
    return canvas.image


def _draw_card(person: Person, unit_px: float) -> Image.Image:
    """A card held before the whole face, in a picture centred on the face."""
    canvas = Canvas.empty((1.2, 1.5), unit_px, (236, 232, 220))
    canvas.polygon(points([-1.0, 1.0, 1.0, -1.0], [-1.12, -1.06, 1.26, 1.2]), (236, 232, 220))
    for row, width in enumerate((1.5, 1.3, 1.45, 0.9)):
        y = -0.75 + 0.4 * row
        canvas.line(points([-0.78, -0.78 + width], [y, y + 0.03 * width]), shade(person.clothes, 0.9), 0.09)
    for side in (-1.0, 1.0):
        canvas.polygon(ellipse((side * 0.95, 0.75), (0.16, 0.1)), shade(person.skin, 0.92))
    return canvas.image
