"""How the rows of a submission differ from those of the sample file.

Rows are compared by 64-bit digests of their first cells; the cells themselves are read again where two
files differ, to say how.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.clip_source import folded
from pipeline.submission.file_problems import FileProblem, ProblemCounts
from pipeline.submission.image_location import SUFFIX, ImageLocation, guess_location, parse_location
from pipeline.submission.template import BYTE_ORDER_MARK, shown, stream_locations

_NUM_NAMED = 5
_ALIKE = 0.6  # `difflib`'s usual ratio


def row_differences(
    path: Path,
    template: Path,
    got: NDArray[np.int64],
    wanted: NDArray[np.int64],
    lines: NDArray[np.int64],
    videos: Sequence[str],
) -> list[FileProblem]:
    """What keeps a file's rows from being the template's.

    Args:
        path: The submission.
        template: The sample file.
        got: ``(N,)`` digest of the first cell of each row of the submission.
        wanted: ``(M,)`` those of the template, each once.
        lines: ``(N,)`` number of each row's line.
        videos: All videos of the template.

    Returns:
        None where they are the same rows in the same order.
    """
    if len(got) == len(wanted) and bool((got == wanted).all()):
        return []
    problems = ProblemCounts()
    is_known = np.isin(got, wanted)
    is_repeated = is_known & ~_is_first(got)
    _add_repeated(path, lines[is_repeated], got, lines, problems)
    is_written = np.isin(wanted, got)
    meant = _add_foreign(path, lines[~is_known], template, wanted, is_written, videos, problems)
    kept = is_known & ~is_repeated
    _add_disorder(template, got[kept], lines[kept], wanted, problems)
    return [*problems.found(), *_missing(template, ~is_written & ~np.isin(wanted, meant))]


def _is_first(digest: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether a row is the first of its kind, (N,)."""
    first = np.zeros(len(digest), np.bool_)
    first[np.unique(digest, return_index=True)[1]] = True
    return first


def _add_repeated(
    path: Path,
    repeated: NDArray[np.int64],
    got: NDArray[np.int64],
    lines: NDArray[np.int64],
    problems: ProblemCounts,
) -> None:
    if not len(repeated):
        return
    digest = got[np.searchsorted(lines, repeated[0])]
    before = lines[int(np.flatnonzero(got == digest)[0])]
    _, text = next(_cells(path, repeated[:1]))
    for line in repeated.tolist():
        problems.add(
            "repeated", line, f"expected each row once, got {shown(text)} of line {before} again; remove it"
        )


def _add_foreign(
    path: Path,
    foreign: NDArray[np.int64],
    template: Path,
    wanted: NDArray[np.int64],
    is_written: NDArray[np.bool_],
    videos: Sequence[str],
    problems: ProblemCounts,
) -> NDArray[np.int64]:
    """Count rows that the template does not have; digests of those that were meant by them."""
    meant = array("q")
    if not len(foreign):
        return np.empty(0, np.int64)
    in_order = np.sort(wanted)
    num_digits, unwritten = _of_template(template, is_written)
    by_folded = {folded(video): video for video in videos}
    # A video is looked for once, however many rows it has.
    names: dict[str, str | None] = {}
    for line, cell in _cells(path, foreign):
        location = guess_location(cell)
        if location is None:
            problems.add(
                "location",
                line,
                f"expected an image like 'VIDEO/{1:0{num_digits}d}.jpg' in the first cell, got "
                f"{shown(cell)}; correct it",
            )
            continue
        if location.video not in names:
            names[location.video] = by_folded.get(folded(location.video)) or _alike(
                location.video, unwritten if unwritten else videos
            )
        video = names[location.video]
        asked = ImageLocation(video or location.video, location.frame, num_digits)
        digest = hash(str(asked))
        place = min(int(np.searchsorted(in_order, digest)), len(in_order) - 1)
        is_asked = bool(in_order[place] == digest)
        if is_asked:
            meant.append(digest)
        _add_foreign_row(line, cell, location, asked if is_asked else None, video, by_folded, problems)
    return np.array(meant, np.int64)


def _add_foreign_row(
    line: int,
    cell: str,
    location: ImageLocation,
    asked: ImageLocation | None,
    video: str | None,
    by_folded: dict[str, str],
    problems: ProblemCounts,
) -> None:
    """Count one row that the template does not have, by what is wrong with it."""
    if by_folded.get(folded(location.video)) is None:
        alike = f"did you mean {video!a}?" if video else "remove its rows"
        problems.add(
            f"video {location.video}",
            line,
            f"expected a video of the template, got {shown(location.video)}; {alike}",
        )
    elif asked is None:
        problems.add(
            "surplus", line, f"expected no row that the template does not have, got {shown(cell)}; remove it"
        )
    elif parse_location(cell) is None and not cell.endswith(SUFFIX):
        problems.add("suffix", line, f"expected {str(asked)!a}, got {shown(cell)}; images end in {SUFFIX!r}")
    elif location.num_digits != asked.num_digits:
        problems.add(
            "digits",
            line,
            f"expected {str(asked)!a}, got {shown(cell)}; write numbers with {asked.num_digits} digits, "
            "zeros before them",
        )
    else:
        problems.add("form", line, f"expected {str(asked)!a}, got {shown(cell)}; write it the same way")


def _of_template(template: Path, is_written: NDArray[np.bool_]) -> tuple[int, list[str]]:
    """Digits of the template's numbers, and its videos of which the submission has not a single row."""
    num_digits = 0
    has_row: dict[str, bool] = {}
    for row, (_, _, location) in enumerate(stream_locations(template)):
        num_digits = num_digits or location.num_digits
        has_row[location.video] = has_row.get(location.video, False) or bool(is_written[row])
    return num_digits, [video for video, has in has_row.items() if not has]


def _alike(name: str, videos: Sequence[str]) -> str | None:
    close = get_close_matches(name, videos, n=1, cutoff=_ALIKE)
    return close[0] if close else None


def _add_disorder(
    template: Path,
    got: NDArray[np.int64],
    lines: NDArray[np.int64],
    wanted: NDArray[np.int64],
    problems: ProblemCounts,
) -> None:
    """Count rows that come after one that the template has later."""
    if len(got) < 2:
        return
    order = np.argsort(wanted, kind="stable")
    place = order[np.searchsorted(wanted[order], got)]
    falls = np.flatnonzero(np.diff(place) < 0)
    if not len(falls):
        return
    texts = {}
    asked = {int(place[falls[0]]), int(place[falls[0] + 1])}
    for row, (_, text, _) in enumerate(stream_locations(template)):
        if row in asked:
            texts[row] = text
            if len(texts) == len(asked):
                break
    before, after = texts[int(place[falls[0]])], texts[int(place[falls[0] + 1])]
    for fall in falls.tolist():
        problems.add(
            "order",
            int(lines[fall + 1]),
            f"expected the template's order, got {shown(after)} after {shown(before)}; sort the rows as the "
            "template's",
        )


def _missing(template: Path, is_missing: NDArray[np.bool_]) -> Iterator[FileProblem]:
    """Rows of the template that nothing in the file stands for."""
    count = int(is_missing.sum())
    if not count:
        return
    named: list[str] = []
    num_rows: dict[str, int] = {}
    num_missing: dict[str, int] = {}
    for row, (line, text, location) in enumerate(stream_locations(template)):
        num_rows[location.video] = num_rows.get(location.video, 0) + 1
        if is_missing[row]:
            num_missing[location.video] = num_missing.get(location.video, 0) + 1
            if len(named) < _NUM_NAMED:
                named.append(f"{shown(text)} (line {line})")
    gone = [video for video, num in num_missing.items() if num == num_rows[video]]
    of_videos = f"; not a single row of {len(gone)} videos, the first {gone[0]!a}" if gone else ""
    more = f" and {count - len(named)} more" if count > len(named) else ""
    yield FileProblem(
        what=f"expected every row of the template, got none for {', '.join(named)}{more}{of_videos}; give "
        "every frame a row, one that was not predicted that of the nearest frame",
        lines=(),
        count=count,
    )


def _cells(path: Path, lines: NDArray[np.int64]) -> Iterator[tuple[int, str]]:
    """First cells of some lines, whose numbers rise."""
    asked = iter(lines.tolist())
    next_line = next(asked, None)
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if number == next_line:
                next_line = next(asked, None)
                plain = line.removeprefix(BYTE_ORDER_MARK) if number == 1 else line
                yield number, plain.rstrip(b"\r\n").decode("utf-8", "replace").partition(",")[0]
