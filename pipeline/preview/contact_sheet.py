"""One picture with a dozen frames of a clip: boxes drawn, times and probabilities beneath, crops beside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

FRAME_PX = (320, 240)  # width and height that a frame fits into
_CROP_PX = 112
_SMALL_CROP_PX = 54  # where there are more than two faces
_WIDTH_PX = 1360  # three frames of 4:3 with their crops
_GAP_PX = 14
_LINE_PX = 22
_HEADER_PX = 62
_MAX_SIGNS = 300  # more fit on no line, and measuring them takes long

_PAPER = (32, 35, 41)
_SLOT = (44, 48, 56)
_TEXT = (232, 234, 238)
_FAINT = (158, 164, 174)
_MISSING = (255, 108, 96)
# Of one track after the other.
_COLOURS = ((94, 230, 140), (255, 196, 84), (110, 190, 255), (240, 130, 230), (250, 250, 120))


@dataclass(frozen=True, kw_only=True, eq=False)
class SheetFace:
    """A face in a frame of the sheet.

    Attributes:
        track: Number of its track, from 1.
        box: Left, top, right, bottom in pixels of the sheet's small picture, (4,); None where the face came
            cropped.
        score: Its probability.
        crop: Its crop, (C, C, 3) uint8; None where nothing takes crops.
    """

    track: int
    box: NDArray[np.float32] | None
    score: float
    crop: NDArray[np.uint8] | None


@dataclass(frozen=True, kw_only=True, eq=False)
class SheetFrame:
    """A frame of the sheet.

    Attributes:
        index: Its number in the clip.
        time_s: Its time.
        picture: Its picture, which fits into `FRAME_PX`.
        faces: The faces in it.
    """

    index: int
    time_s: float
    picture: Image.Image
    faces: tuple[SheetFace, ...]


def draw_sheet(
    title: str, summary: str, frames: Sequence[SheetFrame], *, number_tracks: bool = False
) -> Image.Image:
    """The contact sheet of a clip.

    Args:
        title: First line.
        summary: Second line.
        frames: The frames, in order.
        number_tracks: Whether faces are numbered by their tracks.
    """
    width = max((frame.picture.width for frame in frames), default=FRAME_PX[0])
    height = max((frame.picture.height for frame in frames), default=FRAME_PX[1])
    crops = min(2, max((len(frame.faces) for frame in frames), default=1))  # above each other
    height = max(height, crops * (_CROP_PX + 4) - 4)
    cell_width, cell_height = width + 4 + _CROP_PX + _GAP_PX, height + _LINE_PX + _GAP_PX
    columns = max(1, min(_WIDTH_PX // cell_width, len(frames)))
    rows = -(-len(frames) // columns)
    size = (_GAP_PX + max(columns * cell_width, 600), _HEADER_PX + max(rows * cell_height, _LINE_PX))
    sheet = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(sheet)
    _write(draw, (_GAP_PX, 10), title, 20, _TEXT, size[0] - 2 * _GAP_PX)
    _write(draw, (_GAP_PX, 36), summary if frames else "no frames", 14, _FAINT, size[0] - 2 * _GAP_PX)
    for number, frame in enumerate(frames):
        row, column = divmod(number, columns)
        _draw_frame(
            sheet,
            (_GAP_PX + column * cell_width, _HEADER_PX + row * cell_height),
            (width, height),
            frame,
            number_tracks=number_tracks,
        )
    return sheet


def clock_time(time_s: float) -> str:
    """A time as people read it.

    >>> clock_time(7.04), clock_time(3671.5)
    ('7.04 s', '1:01:11.50')
    """
    time_s = round(time_s, 2)
    if abs(time_s) < 60:
        return f"{time_s:.2f} s"
    minutes, seconds = divmod(abs(time_s), 60)
    hours, minutes = divmod(int(minutes), 60)
    sign = "-" if time_s < 0 else ""
    return f"{sign}{hours}:{minutes:02d}:{seconds:05.2f}" if hours else f"{sign}{minutes}:{seconds:05.2f}"


def _draw_frame(
    sheet: Image.Image,
    corner: tuple[int, int],
    slot: tuple[int, int],
    frame: SheetFrame,
    *,
    number_tracks: bool,
) -> None:
    """One frame with its boxes, the crops to its right, and a line of text below."""
    draw = ImageDraw.Draw(sheet)
    x, y = corner
    right = x + slot[0] + 4
    draw.rectangle((x, y, x + slot[0] - 1, y + slot[1] - 1), fill=_SLOT)
    left, top = x + (slot[0] - frame.picture.width) // 2, y + (slot[1] - frame.picture.height) // 2
    sheet.paste(_with_boxes(frame, number_tracks=number_tracks), (left, top))
    if not frame.faces:
        draw.rectangle((x, y, x + slot[0] - 1, y + slot[1] - 1), outline=_MISSING, width=3)
    side = _CROP_PX if len(frame.faces) <= 2 else _SMALL_CROP_PX
    per_line = _CROP_PX // side
    for number in range(max(1, len(frame.faces))):
        line, place = divmod(number, per_line)
        box_x, box_y = right + place * (side + 4), y + line * (side + 4)
        if box_y + side > y + slot[1]:
            break
        face = frame.faces[number] if frame.faces else None
        draw.rectangle((box_x, box_y, box_x + side - 1, box_y + side - 1), fill=_SLOT)
        if face is not None and face.crop is not None:
            crop = Image.fromarray(face.crop).resize((side, side), Image.Resampling.BICUBIC)
            sheet.paste(crop, (box_x, box_y))
        if face is not None and number_tracks:
            _label(draw, (box_x, box_y), str(face.track), _colour(face.track))
    text = f"{clock_time(frame.time_s)}   frame {frame.index}"
    end = _write(draw, (x, y + slot[1] + 3), text, 13, _FAINT, slot[0])
    if frame.faces:
        scores = ", ".join(f"{face.score:.3f}" for face in frame.faces)
        cropped = all(face.box is None for face in frame.faces)
        _write(draw, (end + 12, y + slot[1] + 3), "cropped image" if cropped else scores, 13, _TEXT, 230)
    else:
        _write(draw, (end + 12, y + slot[1] + 3), "no face", 13, _MISSING, 200)


def _with_boxes(frame: SheetFrame, *, number_tracks: bool) -> Image.Image:
    """The picture with the boxes drawn; darkened where there is no face."""
    picture = frame.picture.copy()
    draw = ImageDraw.Draw(picture)
    for face in frame.faces:
        if face.box is not None:
            left, top, right, bottom = (round(edge) for edge in face.box.tolist())
            draw.rectangle((left - 1, top - 1, right + 1, bottom + 1), outline=(0, 0, 0), width=4)
            draw.rectangle((left, top, right, bottom), outline=_colour(face.track), width=2)
            if number_tracks:
                _label(draw, (left, top), str(face.track), _colour(face.track))
    return picture if frame.faces else Image.blend(picture, Image.new("RGB", picture.size), 0.45)


def _label(draw: ImageDraw.ImageDraw, corner: tuple[int, int], text: str, colour: tuple[int, ...]) -> None:
    x, y = corner
    font = _font(13)
    draw.rectangle((x, y, x + font.getlength(text) + 7, y + 17), fill=colour)
    draw.text((x + 4, y + 1), text, fill=_PAPER, font=font)


def _write(
    draw: ImageDraw.ImageDraw,
    corner: tuple[float, float],
    text: str,
    size_px: int,
    colour: tuple[int, ...],
    width_px: float,
) -> float:
    """Write one line, shortened to a width; where it ends."""
    font = _font(size_px)
    text = "".join(sign if sign.isprintable() else " " for sign in text[:_MAX_SIGNS])
    if font.getlength(text) > width_px:
        while text and font.getlength(text + "…") > width_px:
            text = text[:-1]
        text += "…"
    draw.text(corner, text, fill=colour, font=font)
    return corner[0] + font.getlength(text)


def _colour(track: int) -> tuple[int, int, int]:
    return _COLOURS[(track - 1) % len(_COLOURS)]


def _font(size_px: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size_px)
    assert isinstance(font, ImageFont.FreeTypeFont), "Pillow with FreeType, as its wheels are"
    return font
