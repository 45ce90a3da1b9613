"""The first cell of a submission's row: `VIDEO/00001.jpg` is frame 0 of the video."""

from __future__ import annotations

import re
from typing import NamedTuple

from pipeline.clip_source import folded

HEADER = "image_location,valence,arousal"
SUFFIX = ".jpg"
_EXACT = re.compile(r"(?P<video>.+)/(?P<number>[0-9]+)\.jpg")
# Slashes of another system, any suffix or none.
_LOOSE = re.compile(r"[./\\ ]*(?P<video>.+)[/\\] *(?P<number>[0-9]+) *(?P<suffix>\.[A-Za-z]+)? *")


class ImageLocation(NamedTuple):
    """Where a row's picture lies.

    Attributes:
        video: Name of the video, or of the one of two people in it (`VIDEO_left`).
        frame: The frame, counted from 0; images are counted from 1.
        num_digits: How many digits the image's number is written with.
    """

    video: str
    frame: int
    num_digits: int

    def __str__(self) -> str:
        return f"{self.video}/{self.frame + 1:0{self.num_digits}d}{SUFFIX}"


def parse_location(text: str) -> ImageLocation | None:
    """A location in its one right form; None for any other text.

    >>> parse_location("video59_left/00300.jpg")
    ImageLocation(video='video59_left', frame=299, num_digits=5)
    """
    match = _EXACT.fullmatch(text)
    if match is None:
        return None
    number = match["number"]
    return ImageLocation(match["video"], int(number) - 1, len(number)) if number.strip("0") else None


def guess_location(text: str) -> ImageLocation | None:
    r"""What a location that is written otherwise seems to mean; None where it cannot be told.

    >>> guess_location(r".\video59\300.png")
    ImageLocation(video='video59', frame=299, num_digits=3)
    """
    match = _LOOSE.fullmatch(text)
    if match is None or not match["number"].strip("0"):
        return None
    return ImageLocation(match["video"].strip(), int(match["number"]) - 1, len(match["number"]))


def is_header(line: str) -> bool:
    """Whether a line names the three columns, whatever its spaces and case."""
    return "".join(folded(line).split()) == HEADER
