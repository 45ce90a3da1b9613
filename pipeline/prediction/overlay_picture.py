r"""What an overlay draws on a picture: the face's box, and a panel with numbers, traces and a circumplex.

    +---------------------------------------------+
    |                 [ face ]                    |
    |---------------------------------------------|
    | valence +0.42 |  ~~~~\__/~~~~~  |  A |      |
    | arousal -0.13 |  __/~~\_/~~     |    |o     |
    | 12.40 s       |  last 10 s      |----+---V  |
    +---------------------------------------------+

The panel lies over the bottom of the picture and lets it shine through. The dot has a cross of one standard
deviation either way, where deviations are known, and is hollow where no face was found.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

TRACE_S = 10.0
_TRAIL_S = 1.5

# At 320 by 240; larger pictures have a panel that grows more slowly than they do.
_BASE_PX = (320, 240)
_GROWTH = 0.75
_PANEL_PX = 66
_NUMBERS_PX = 88
_MARGIN_PX = 4
_LARGE_PX, _SMALL_PX = 15, 10
# In small pictures lines are drawn so many times larger, then averaged; in large ones they are thick, and
# averaging costs more than all the rest (16 of 20 ms at 1920 by 1080).
_SMOOTHING = 2
_LARGE_SCALE = 2.0

_PAPER = (18, 20, 26, 176)
_SLOT = (255, 255, 255, 18)
_GRID = (255, 255, 255, 90)
_TEXT = (238, 240, 244)
_MISSING = (255, 138, 122)
_FACE = (94, 230, 140)
# Told apart also by people who do not see red or green.
_VALENCE, _AROUSAL = (110, 190, 255), (255, 184, 77)
_DOT = (255, 255, 255)
# Pillow's own font has no dashes.
_NONE = "--"


@dataclass(frozen=True, kw_only=True, eq=False)
class ShownRow:
    """What is known at a picture.

    Attributes:
        time_s: Time of the row.
        values: Valence and arousal.
        deviation: Standard deviations of their errors; None where they are not known.
        face_found: Whether a face was found.
        box: Left, top, right, bottom in pixels of the picture; None where there is no box to draw.
    """

    time_s: float
    values: tuple[float, float]
    deviation: tuple[float, float] | None
    face_found: bool
    box: tuple[float, float, float, float] | None


class OverlayPainter:
    """Draws on pictures of one size.

    Args:
        width: Of the pictures, in pixels.
        height: The same.
        note: A line that stands in every picture, as a warning; empty for none.
    """

    def __init__(self, width: int, height: int, note: str = "") -> None:
        self._scale: float = min(width / _BASE_PX[0], height / _BASE_PX[1]) ** _GROWTH
        self._smoothing = _SMOOTHING if self._scale < _LARGE_SCALE else 1
        self._note = note
        self._top = max(0, height - self._px(_PANEL_PX))
        panel = (width, height - self._top)
        margin = self._px(_MARGIN_PX)
        side = max(8, panel[1] - 2 * margin)
        # Left, top, right, bottom within the panel.
        self._circle = (width - margin - side, margin, width - margin, margin + side)
        self._trace = (self._px(_NUMBERS_PX), margin, self._circle[0] - 2 * margin, panel[1] - margin)
        self._base = self._empty_panel(panel)

    def paint(self, rgb: NDArray[np.uint8], time_s: float, rows: Sequence[ShownRow]) -> NDArray[np.uint8]:
        """One picture.

        Args:
            rgb: The picture, (height, width, 3).
            time_s: Its time.
            rows: What is known so far, at least the last `TRACE_S` seconds; the last one belongs to this
                picture. None where nothing is known of it.

        Returns:
            A picture of its own, (height, width, 3).
        """
        picture = Image.fromarray(rgb)
        row = rows[-1] if rows else None
        if row is not None and row.box is not None and row.face_found:
            self._draw_box(picture, row.box)
        self._draw_panel(picture, rows)
        self._write(picture, time_s, row)
        return np.asarray(picture)

    def _px(self, at_base: float) -> int:
        size_px: int = round(at_base * self._scale)
        return max(1, size_px)

    def _larger(self, box: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
        left, top, right, bottom = (edge * self._smoothing for edge in box)
        return left, top, right, bottom

    def _empty_panel(self, size: tuple[int, int]) -> Image.Image:
        """The panel without what changes, in the larger size."""
        panel = Image.new("RGBA", (size[0] * self._smoothing, size[1] * self._smoothing), _PAPER)
        over = Image.new("RGBA", panel.size)
        draw = ImageDraw.Draw(over)
        line = self._px(0.7) * self._smoothing
        left, top, right, bottom = self._larger(self._trace)
        if right > left:
            draw.rectangle((left, top, right, bottom), fill=_SLOT)
            draw.line((left, (top + bottom) / 2, right, (top + bottom) / 2), fill=_GRID, width=line)
        left, top, right, bottom = self._larger(self._circle)
        draw.ellipse((left, top, right, bottom), fill=_SLOT, outline=_GRID, width=line)
        draw.line((left, (top + bottom) / 2, right, (top + bottom) / 2), fill=_GRID, width=line)
        draw.line(((left + right) / 2, top, (left + right) / 2, bottom), fill=_GRID, width=line)
        # Beneath the dot and its trail.
        font, gap = _font(self._px(_SMALL_PX) * self._smoothing), 3 * line
        draw.text((right - gap, (top + bottom) / 2 + gap), "V", fill=_VALENCE, font=font, anchor="rt")
        draw.text(((left + right) / 2 - gap, top + gap), "A", fill=_AROUSAL, font=font, anchor="rt")
        return Image.alpha_composite(panel, over)

    def _draw_box(self, picture: Image.Image, box: Iterable[float]) -> None:
        draw = ImageDraw.Draw(picture)
        left, top, right, bottom = (round(edge) for edge in box)
        width, rim = self._px(2), self._px(1)
        draw.rectangle((left - rim, top - rim, right + rim, bottom + rim), outline=0, width=width + 2 * rim)
        draw.rectangle((left, top, right, bottom), outline=_FACE, width=width)

    def _draw_panel(self, picture: Image.Image, rows: Sequence[ShownRow]) -> None:
        """Lines and dots."""
        panel = self._base.copy()
        draw = ImageDraw.Draw(panel)
        if rows:
            self._draw_traces(draw, rows)
            self._draw_circumplex(draw, rows)
        panel = panel.reduce(self._smoothing)
        picture.paste(panel, (0, self._top), panel)

    def _draw_traces(self, draw: ImageDraw.ImageDraw, rows: Sequence[ShownRow]) -> None:
        left, top, right, bottom = self._larger(self._trace)
        if right <= left:
            return
        end_s = rows[-1].time_s
        shown = [row for row in rows if row.time_s > end_s - TRACE_S]
        radius = self._px(1.8) * self._smoothing
        for place, colour in ((1, _AROUSAL), (0, _VALENCE)):
            points = [
                (
                    right - radius - (right - left - radius) * (end_s - row.time_s) / TRACE_S,
                    (top + bottom) / 2 - _clipped(row.values[place]) * (bottom - top) / 2,
                )
                for row in shown
            ]
            if len(points) > 1:
                draw.line(points, fill=colour, width=self._px(1.4) * self._smoothing, joint="curve")
            _dot(draw, points[-1], radius, colour)

    def _draw_circumplex(self, draw: ImageDraw.ImageDraw, rows: Sequence[ShownRow]) -> None:
        left, top, right, bottom = self._larger(self._circle)
        half = (right - left) / 2
        end_s = rows[-1].time_s
        places = [
            (
                (left + right) / 2 + _clipped(row.values[0]) * half,
                (top + bottom) / 2 - _clipped(row.values[1]) * half,
            )
            for row in rows
            if row.time_s > end_s - _TRAIL_S
        ]
        if len(places) > 1:
            draw.line(places, fill=(*_DOT, 150), width=self._px(1) * self._smoothing, joint="curve")
        x, y = places[-1]
        if rows[-1].deviation is not None:
            across, along = (min(2.0, deviation) * half for deviation in rows[-1].deviation)
            width = self._px(1) * self._smoothing
            draw.line((max(left, x - across), y, min(right, x + across), y), fill=_VALENCE, width=width)
            draw.line((x, max(top, y - along), x, min(bottom, y + along)), fill=_AROUSAL, width=width)
        radius = self._px(3.2) * self._smoothing
        if rows[-1].face_found:
            _dot(draw, (x, y), radius + self._smoothing, (0, 0, 0))
            _dot(draw, (x, y), radius, _DOT)
        else:
            line = self._px(1.2) * self._smoothing
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline=_DOT, width=line)

    def _write(self, picture: Image.Image, time_s: float, row: ShownRow | None) -> None:
        """Numbers and words, in the picture's own size: fonts are drawn smoothly."""
        draw = ImageDraw.Draw(picture)
        left, right = self._px(_MARGIN_PX), self._px(_NUMBERS_PX - 5)
        small, large = _font(self._px(_SMALL_PX)), _font(self._px(_LARGE_PX))
        height = picture.height - self._top
        for line, (name, place, colour) in enumerate((("valence", 0, _VALENCE), ("arousal", 1, _AROUSAL))):
            y = self._top + round(height * (0.30 + 0.30 * line))
            draw.text((left, y), name, fill=colour, font=small, anchor="ls")
            number = _NONE if row is None else f"{row.values[place]:+.2f}"
            draw.text((right, y), number, fill=colour, font=large, anchor="rs")
        y = self._top + round(height * 0.88)
        draw.text((left, y), f"{time_s:.2f} s", fill=_TEXT, font=small, anchor="ls")
        if row is not None and not row.face_found:
            draw.text((right, y), "no face", fill=_MISSING, font=small, anchor="rs")
        if self._note:
            frame = draw.textbbox((left, left), self._note, font=small, anchor="la")
            draw.rectangle((0, 0, frame[2] + left, frame[3] + left), fill=_PAPER[:3])
            draw.text((left, left), self._note, fill=_MISSING, font=small, anchor="la")


def _clipped(value: float) -> float:
    return min(1.0, max(-1.0, value))


def _dot(
    draw: ImageDraw.ImageDraw, centre: tuple[float, float], radius: float, colour: tuple[int, ...]
) -> None:
    x, y = centre
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)


def _font(size_px: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size_px)
    assert isinstance(font, ImageFont.FreeTypeFont), "Pillow with FreeType, as its wheels are"
    return font
