"""The organisers' sample file: which rows a submission has, and in which order.

    image_location,valence,arousal
    video59_left/00001.jpg,,
    video59_left/00002.jpg,,

What its rows hold beside the location differs from year to year (nothing, commas, numbers) and is not looked
at. The file is read anew for each purpose and never held: it has half a million rows and more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.submission.errors import SubmissionError
from pipeline.submission.image_location import HEADER, ImageLocation, is_header, parse_location

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_RUN_ROWS = 1 << 16
_NUM_SHOWN = 60


@dataclass(frozen=True, kw_only=True, eq=False)
class TemplateRun:
    """Consecutive rows of one video.

    Attributes:
        video: The video.
        locations: Their first cells as they stand in the file.
        frame: ``(N,)`` int64, the frames, counted from 0.
    """

    video: str
    locations: tuple[str, ...]
    frame: NDArray[np.int64]


def stream_locations(path: Path) -> Iterator[tuple[int, str, ImageLocation]]:
    """The rows of a sample file.

    A byte order mark, carriage returns and blank lines are taken as they are.

    Args:
        path: The file.

    Yields:
        Number of the line, counted from 1, the row's location as it stands there, and what it says.

    Raises:
        SubmissionError: It cannot be read, or is no sample file; names the line.
    """
    try:
        with path.open("rb") as file:
            yield from _rows(path, file)
    except OSError as error:
        raise SubmissionError(
            f"template {str(path)!r} cannot be read ({error.strerror}); give the organisers' sample file"
        ) from error


def stream_runs(path: Path) -> Iterator[TemplateRun]:
    """The rows of a sample file by runs of one video, long ones in pieces.

    Args:
        path: The file.

    Raises:
        SubmissionError: As `stream_locations`.
    """
    video = ""
    texts: list[str] = []
    frames: list[int] = []
    for _, text, location in stream_locations(path):
        if texts and (location.video != video or len(texts) == _RUN_ROWS):
            yield TemplateRun(video=video, locations=tuple(texts), frame=np.array(frames, np.int64))
            texts, frames = [], []
        video = location.video
        texts.append(text)
        frames.append(location.frame)
    if texts:
        yield TemplateRun(video=video, locations=tuple(texts), frame=np.array(frames, np.int64))


def first_line_of(path: Path) -> str:
    """A sample file's line of column names, without what ends it."""
    try:
        with path.open("rb") as file:
            line = file.readline(1000)
    except OSError:
        return ""  # `stream_locations` says why
    return line.removeprefix(BYTE_ORDER_MARK).decode("utf-8", "replace").rstrip("\r\n")


def shown(text: str) -> str:
    """A text of a file, quoted, short enough for a message and without a line break."""
    return ascii(text if len(text) <= _NUM_SHOWN else f"{text[:_NUM_SHOWN]}...")


def _rows(path: Path, lines: Iterator[bytes]) -> Iterator[tuple[int, str, ImageLocation]]:
    is_first, num_rows = True, 0
    for number, line in enumerate(lines, start=1):
        try:
            text = line.removeprefix(BYTE_ORDER_MARK if number == 1 else b"").decode("utf-8").strip()
        except UnicodeDecodeError as error:
            raise SubmissionError(
                f"template {str(path)!r}, line {number}: expected text in UTF-8, got byte "
                f"0x{line[error.start]:02x}; unpack the organisers' file again"
            ) from None
        if not text:
            continue
        if is_first:
            is_first = False
            # Some years' files name the first column alone.
            if not (is_header(text) or text.rstrip(",") == HEADER.split(",")[0]):
                raise SubmissionError(
                    f"template {str(path)!r}, line {number}: expected the header {HEADER!r}, got "
                    f"{shown(text)}; give the organisers' sample file of the valence-arousal challenge"
                )
            continue
        cell = text.partition(",")[0].strip()
        location = parse_location(cell)
        if location is None:
            raise SubmissionError(
                f"template {str(path)!r}, line {number}: expected an image like 'VIDEO/00001.jpg', got "
                f"{shown(cell)}; give the organisers' sample file of the valence-arousal challenge"
            )
        num_rows += 1
        yield number, cell, location
    if not num_rows:
        raise SubmissionError(
            f"template {str(path)!r}: expected rows like 'VIDEO/00001.jpg,,', got none; give the organisers' "
            "sample file"
        )
