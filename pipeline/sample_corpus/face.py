"""The face of a drawn person: eyes, brows, nose and mouth of an expression over the unchanging head."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter

from pipeline.sample_corpus.canvas import Canvas, Points, blend, ellipse, points, shade
from pipeline.sample_corpus.expression import Expression
from pipeline.sample_corpus.head import draw_head
from pipeline.sample_corpus.person import Person

MOUTH_CURVE = 0.20
"""Height of the mouth's corners above its middle at a full smile, in face units."""

_TEETH = (242, 238, 228)
_MOUTH_INSIDE = (70, 22, 26)
_EYE_WHITE = (238, 236, 232)
_ACROSS = np.linspace(-1.0, 1.0, 25)


class FacePainter:
    """Draws one person's head with any expression.

    Args:
        person: Whose face.
        unit_px: Pixels of one face unit.
    """

    def __init__(self, person: Person, unit_px: float) -> None:
        self._person = person
        self._head = draw_head(person, unit_px)
        self._nose = _draw_nose(person, self._head)

    def paint(self, expression: Expression, turn: tuple[float, float]) -> Image.Image:
        """Draw the head.

        Args:
            expression: State of the face.
            turn: Offset of the features within the face, in face units (x, y).

        Returns:
            RGBA image, transparent around the head, the middle of the face in its middle.
        """
        canvas = self._head.copy()
        # The nose stands out, so a turn moves it further.
        shift_px = tuple(round(part * canvas.unit_px * 1.3) for part in turn)
        canvas.image.alpha_composite(_moved(self._nose, (shift_px[0], shift_px[1])))
        offset = np.asarray(turn)
        for side in (-1.0, 1.0):
            self._draw_eye(canvas, side, expression, offset)
            self._draw_brow(canvas, side, expression, offset)
        self._draw_mouth(canvas, expression, offset)
        if self._person.glasses:
            self._draw_glasses(canvas, offset)
        return canvas.image

    def _draw_eye(self, canvas: Canvas, side: float, expression: Expression, offset: Points) -> None:
        person = self._person
        center = np.array([side * person.eye_spacing, person.eye_height]) + offset
        half = person.eye_size
        bow = 1.0 - _ACROSS**2
        upper = points(center[0] + half * _ACROSS, center[1] - (0.105 * expression.eye_open - 0.01) * bow)
        lower = points(
            center[0] + half * _ACROSS, center[1] + (0.01 + 0.045 * min(1.0, expression.eye_open)) * bow
        )
        opening = np.concatenate([upper, lower[::-1]])
        crease = upper + np.array([0.0, -0.05])
        canvas.line(crease, shade(person.skin, 0.68), 0.015)
        if expression.eye_open > 0.12:
            self._fill_eye(canvas, opening, center)
        lid = shade(blend(person.skin, (30, 20, 20), 0.75), 0.8)
        canvas.line(upper, lid, 0.035)
        canvas.line(lower, shade(person.skin, 0.62), 0.014)

    def _fill_eye(self, canvas: Canvas, opening: Points, center: Points) -> None:
        """White, iris and pupil, seen through the opening of the lids only."""
        pixels = np.asarray(canvas.to_pixels(opening))
        left, top = np.floor(pixels.min(axis=0)).astype(int) - 1
        right, bottom = np.ceil(pixels.max(axis=0)).astype(int) + 2
        size = (int(right - left), int(bottom - top))
        origin_px = (canvas.origin_px[0] - float(left), canvas.origin_px[1] - float(top))
        eye = Canvas(
            image=Image.new("RGBA", size, (*_EYE_WHITE, 255)), unit_px=canvas.unit_px, origin_px=origin_px
        )
        middle = (float(center[0]), float(center[1]) - 0.025)
        eye.polygon(ellipse(middle, (0.085, 0.085)), shade(self._person.iris, 0.7))
        eye.polygon(ellipse(middle, (0.070, 0.070)), self._person.iris)
        eye.polygon(ellipse(middle, (0.038, 0.038)), (14, 12, 12))
        eye.polygon(ellipse((middle[0] - 0.03, middle[1] - 0.03), (0.018, 0.018), 12), (250, 250, 250))
        canvas.image.paste(eye.image, (int(left), int(top)), eye.mask(opening))

    def _draw_brow(self, canvas: Canvas, side: float, expression: Expression, offset: Points) -> None:
        person = self._person
        share = np.linspace(0.0, 1.0, 13)
        slant = expression.frown + 0.3 * person.brow_tilt
        x = side * (person.eye_spacing - 0.20 + 0.42 * share) - side * 0.03 * max(0.0, expression.frown)
        y = person.eye_height - 0.25 - 0.10 * expression.brow_raise + slant * 0.11 * (1.0 - 1.6 * share)
        y = y - 0.05 * np.sin(np.pi * share)
        thickness = person.brow_thickness * (1.0 - 0.65 * share**2)
        upper = points(x, y - thickness / 2) + offset
        lower = points(x, y + thickness / 2) + offset
        canvas.polygon(np.concatenate([upper, lower[::-1]]), shade(person.hair, 0.7))

    def _draw_mouth(self, canvas: Canvas, expression: Expression, offset: Points) -> None:
        person = self._person
        smile, opening = expression.smile, 0.26 * expression.mouth_open
        width = person.mouth_width * (1.0 + 0.18 * smile - 0.10 * expression.mouth_open)
        x = width * _ACROSS
        bow = 1.0 - _ACROSS**2
        middle = person.mouth_height + MOUTH_CURVE * smile * (bow - 0.5)
        gap = opening * np.sqrt(np.maximum(0.0, bow))
        upper_edge, lower_edge = middle - 0.3 * gap, middle + 0.7 * gap
        lip = person.lip_thickness * (1.0 - 0.2 * abs(smile)) * np.sqrt(np.maximum(0.0, bow))
        cupid = 0.25 * lip * np.exp(-((_ACROSS / 0.18) ** 2))
        top = points(x, upper_edge - lip + cupid) + offset
        bottom = points(x, lower_edge + 1.25 * lip) + offset
        canvas.polygon(np.concatenate([top, bottom[::-1]]), person.lips)
        if opening > 0.02:
            inside = np.concatenate([points(x, upper_edge), points(x, lower_edge)[::-1]]) + offset
            canvas.polygon(inside, _MOUTH_INSIDE)
            teeth = np.minimum(0.45 * gap, 0.07)
            canvas.polygon(
                np.concatenate([points(x, upper_edge), points(x, upper_edge + teeth)[::-1]]) + offset, _TEETH
            )
        else:
            canvas.line(points(x, middle) + offset, shade(person.lips, 0.42), 0.024)
        for side in (-1.0, 1.0):
            corner = points([side * width], [float(middle[0])]) + offset
            canvas.polygon(
                ellipse((float(corner[0, 0]), float(corner[0, 1])), (0.025, 0.025), 12),
                shade(person.skin, 0.6),
            )
            if smile > 0.15:
                self._draw_fold(canvas, side, smile, corner)

    def _draw_fold(self, canvas: Canvas, side: float, smile: float, corner: Points) -> None:
        """The fold that a smile draws from the nose to beside the mouth."""
        person = self._person
        share = np.linspace(0.0, 1.0, 10)
        start = np.array([side * (person.nose_width + 0.06), person.eye_height + person.nose_length - 0.02])
        end = corner[0] + np.array([side * 0.09, 0.02])
        path = (
            start + (end - start) * share[:, None] + points(side * 0.06 * np.sin(np.pi * share), 0.0 * share)
        )
        canvas.line(path, shade(person.skin, 0.92 - 0.22 * smile), 0.022)

    def _draw_glasses(self, canvas: Canvas, offset: Points) -> None:
        person = self._person
        frame = (46, 42, 44)
        for side in (-1.0, 1.0):
            center = (side * person.eye_spacing + float(offset[0]), person.eye_height + float(offset[1]))
            rim = ellipse(center, (0.245, 0.20), 48)
            canvas.line(np.concatenate([rim, rim[:2]]), frame, 0.022)
            temple = points(
                [center[0] + side * 0.24, side * person.half_width], [center[1] - 0.03, center[1] - 0.06]
            )
            canvas.line(temple, frame, 0.022)
        bridge = points(
            [-person.eye_spacing + 0.245, person.eye_spacing - 0.245], [person.eye_height - 0.03] * 2
        )
        canvas.line(bridge + offset, frame, 0.022)


def _draw_nose(person: Person, head: Canvas) -> Image.Image:
    """A shaded nose on a transparent image of the head's size."""
    clear = Image.new("RGBA", head.image.size, (*shade(person.skin, 0.6), 0))
    layer = Canvas(image=clear, unit_px=head.unit_px, origin_px=head.origin_px)
    tip = person.eye_height + person.nose_length
    wide = person.nose_width
    # The side away from the light lies in shadow.
    dark_side = -1.0 if person.light[0] > 0 else 1.0
    bridge = points(
        [dark_side * 0.05, dark_side * 0.10, dark_side * wide, dark_side * 0.04],
        [person.eye_height - 0.02, person.eye_height, tip, tip],
    )
    layer.polygon(bridge, shade(person.skin, 0.70))
    layer.polygon(ellipse((0.0, tip + 0.055), (wide * 1.05, 0.035)), shade(person.skin, 0.58))
    image = layer.image.filter(ImageFilter.GaussianBlur(0.035 * head.unit_px))
    details = Canvas(image=image, unit_px=head.unit_px, origin_px=head.origin_px)
    for side in (-1.0, 1.0):
        details.polygon(
            ellipse((side * wide * 0.5, tip + 0.035), (0.035, 0.02), 16), shade(person.skin, 0.34)
        )
        wing = ellipse((side * wide, tip), (0.035, 0.055), 24)
        outer = wing[wing[:, 0] * side >= wide]
        details.line(outer[np.argsort(outer[:, 1])], shade(person.skin, 0.66), 0.018)
    highlight = Image.new("RGBA", head.image.size, (*shade(person.skin, 1.18), 0))
    glow = Canvas(image=highlight, unit_px=head.unit_px, origin_px=head.origin_px)
    glow.polygon(ellipse((-dark_side * 0.015, tip - 0.06), (0.05, 0.06)), shade(person.skin, 1.18))
    glow.polygon(ellipse((-dark_side * 0.015, tip - 0.22), (0.022, 0.14)), shade(person.skin, 1.10))
    details.image.alpha_composite(highlight.filter(ImageFilter.GaussianBlur(0.025 * head.unit_px)))
    return details.image


def _moved(image: Image.Image, shift_px: tuple[int, int]) -> Image.Image:
    """The image moved by whole pixels, transparent where nothing was."""
    moved = Image.new("RGBA", image.size, (0, 0, 0, 0))
    moved.paste(image, shift_px)
    return moved
