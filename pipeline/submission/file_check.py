"""Whether a submission is what the organisers' sample file asks for, and what is wrong with it if not.

All that is wrong is told at once. The file is read as plainly as a scoring script may read it: in UTF-8
without a byte order mark, cells between commas, one row per line.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.submission.abaw_file import named
from pipeline.submission.errors import SubmissionError
from pipeline.submission.file_problems import FileProblem, ProblemCounts
from pipeline.submission.image_location import HEADER, is_header, parse_location
from pipeline.submission.row_differences import row_differences
from pipeline.submission.template import BYTE_ORDER_MARK, first_line_of, shown, stream_locations

_COLUMNS = tuple(HEADER.split(","))
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, kw_only=True)
class SubmissionCheck:
    """What a check found.

    Attributes:
        path: The file.
        num_rows: Its rows, without the header.
        num_videos: Videos of the template.
        problems: What makes it wrong.
        warnings: What is allowed and odd.
    """

    path: Path
    num_rows: int
    num_videos: int
    problems: tuple[FileProblem, ...]
    warnings: tuple[str, ...]


@dataclass
class _ReadRows:
    """What the file's rows hold, a few bytes each."""

    line: array[int] = field(default_factory=lambda: array("q"))
    digest: array[int] = field(default_factory=lambda: array("q"))
    values: array[float] = field(default_factory=lambda: array("d"))  # two per row, NaN where there is none
    # First row of each run of one video.
    runs: list[tuple[str, int]] = field(default_factory=list)


def check_submission(path: Path, template: Path) -> SubmissionCheck:
    """Hold a submission against a sample file.

    Args:
        path: The file that is to be handed in.
        template: The organisers' sample file.

    Raises:
        SubmissionError: One of the two cannot be read, or the template is none.
    """
    asked = array("q")
    asked_videos: dict[str, None] = {}
    for _, text, location in stream_locations(template):
        asked.append(hash(text))
        asked_videos[location.video] = None
    wanted = np.frombuffer(asked, np.int64)
    if len(np.unique(wanted)) != len(wanted):
        raise SubmissionError(
            f"template {str(template)!r}: expected each row once, got one twice or more; unpack the "
            "organisers' file again"
        )
    problems = ProblemCounts()
    rows = _ReadRows()
    try:
        with path.open("rb") as file:
            _read_rows(path, file, first_line_of(template), _line_end(template), problems, rows)
    except OSError as error:
        raise SubmissionError(
            f"submission {str(path)!r} cannot be read ({error.strerror}); check the path"
        ) from error
    differences = row_differences(
        path,
        template,
        np.frombuffer(rows.digest, np.int64) if rows.digest else np.empty(0, np.int64),
        wanted,
        np.frombuffer(rows.line, np.int64) if rows.line else np.empty(0, np.int64),
        [*asked_videos],
    )
    return SubmissionCheck(
        path=path,
        num_rows=len(rows.digest),
        num_videos=len(asked_videos),
        problems=(*problems.found(), *differences),
        warnings=tuple(_constants(rows)),
    )


def _line_end(template: Path) -> bytes:
    """How the template's lines end; a file may do as it does."""
    with template.open("rb") as file:
        return b"\r\n" if file.readline(1000).endswith(b"\r\n") else b"\n"


def _read_rows(
    path: Path,
    lines: Iterator[bytes],
    template_header: str,
    template_end: bytes,
    problems: ProblemCounts,
    rows: _ReadRows,
) -> None:
    """Take in all rows, and count what is wrong with each line by itself."""
    video = ""
    for number, line in enumerate(lines, start=1):
        if number == 1:
            if line.startswith(_UTF_16):
                raise SubmissionError(
                    f"submission {str(path)!r}: expected text in UTF-8, got UTF-16; save it as UTF-8 without "
                    "a byte order mark"
                )
            if line.startswith(BYTE_ORDER_MARK):
                line = line.removeprefix(BYTE_ORDER_MARK)
                problems.add(
                    "mark",
                    1,
                    "expected plain UTF-8, got a byte order mark before the header, which readers take for a "
                    "part of its first name; save it as UTF-8 without BOM",
                )
        text = _plain_text(number, line, template_end, problems)
        if number == 1 and _is_first_line(text, template_header, problems):
            continue
        if not text.strip():
            problems.add("blank", number, "expected a row, got a blank line; remove it")
            continue
        cells = text.split(",")
        rows.line.append(number)
        rows.digest.append(hash(cells[0]))
        rows.values.extend(_values(number, cells, problems))
        location = parse_location(cells[0])
        if location is not None and location.video != video:
            video = location.video
            rows.runs.append((video, len(rows.line) - 1))
    if not rows.line:
        problems.add("empty", 1, "expected rows after the header, got none; write the file again")


def _plain_text(number: int, line: bytes, template_end: bytes, problems: ProblemCounts) -> str:
    """A line's text without what ends it."""
    content = line.removesuffix(b"\n")
    if content.endswith(b"\r"):
        content = content.removesuffix(b"\r")
        if template_end != b"\r\n":
            problems.add(
                "end",
                number,
                "expected lines that end in LF, as the template's, got CRLF (Windows); save the file with "
                "Unix line ends",
            )
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        problems.add(
            "encoding",
            number,
            f"expected text in UTF-8, got byte 0x{content[error.start]:02x}; save the file as UTF-8",
        )
        return content.decode("utf-8", "replace")


def _is_first_line(text: str, template_header: str, problems: ProblemCounts) -> bool:
    """Whether the first line is no row; counts what is wrong with the header."""
    if text == HEADER or (text == template_header and is_header(text)):
        return True
    if parse_location(text.split(",")[0]) is not None:
        problems.add(
            "header", 1, f"expected the header {HEADER!r}, got a row; put the header before the first row"
        )
        return False
    names = [name.strip().lower() for name in text.split(",")]
    reordered = sorted(names) == sorted(_COLUMNS) and names != [*_COLUMNS]
    remedy = "put the columns into this order, in all rows" if reordered else "correct the header"
    problems.add(
        "header",
        1,
        f"expected the header {HEADER!r}, got {'the columns in another order, ' if reordered else ''}"
        f"{shown(text)}; {remedy}",
    )
    return True


def _values(number: int, cells: list[str], problems: ProblemCounts) -> tuple[float, float]:
    """Valence and arousal of a row, NaN where there is no such number."""
    if len(cells) != len(_COLUMNS):
        hint = "decimals have points, no commas" if len(cells) == 5 else "separate three cells by commas"
        problems.add(
            "cells",
            number,
            f"expected {len(_COLUMNS)} cells ({HEADER}), got {len(cells)} in {shown(','.join(cells))}; "
            + hint,
        )
        return math.nan, math.nan
    valence, arousal = (
        _value(number, name, cell, problems) for name, cell in zip(_COLUMNS[1:], cells[1:], strict=True)
    )
    return valence, arousal


def _value(number: int, name: str, cell: str, problems: ProblemCounts) -> float:
    try:
        value = float(cell)
    except ValueError:
        found = f"{shown(cell)}" if cell.strip() else "an empty cell"
        problems.add(
            f"text {name}", number, f"{name}: expected a number in [-1, 1], got {found}; give each frame one"
        )
        return math.nan
    if not math.isfinite(value):
        problems.add(
            f"infinite {name}",
            number,
            f"{name}: expected a number in [-1, 1], got {cell.strip()}; give each frame one, for instance "
            "that of the nearest frame",
        )
        return math.nan
    if abs(value) > 1:
        marks = " (the labels' mark for frames that nobody annotated)" if value == -5 else ""
        problems.add(
            f"range {name}",
            number,
            f"{name}: expected a number in [-1, 1], got {cell.strip()}{marks}; clip the values",
        )
    return value


def _constants(rows: _ReadRows) -> Iterator[str]:
    """What hardly is a prediction: one value all over a video, or all over the file."""
    if len(rows.line) < 2:
        return
    values = np.frombuffer(rows.values, np.float64).reshape(-1, 2)
    # Rows before the first video that can be told belong to none.
    stops = [*(first for _, first in rows.runs[1:]), len(rows.line)]
    for place, name in enumerate(_COLUMNS[1:]):
        column = values[:, place]
        if _is_constant(column):
            yield f"{name} is {column[0]:g} in all {len(column)} rows: are these predictions?"
            continue
        still = [
            video
            for (video, first), stop in zip(rows.runs, stops[: len(rows.runs)], strict=True)
            if stop - first > 1 and _is_constant(column[first:stop])
        ]
        if still:
            yield (
                f"{name} is the same in all rows of {len(still)} of {len(rows.runs)} videos: "
                + named([repr(video) for video in still])
            )


def _is_constant(column: NDArray[np.float64]) -> bool:
    return bool((column == column[0]).all())
