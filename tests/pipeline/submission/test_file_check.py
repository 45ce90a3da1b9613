"""Each mistake that a submission may have is named with its line; several are named at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.submission.errors import SubmissionError
from pipeline.submission.file_check import SubmissionCheck, check_submission

HEADER = "image_location,valence,arousal"
VIDEOS = {"video5_left": 6, "12-24-1920x1080": 4, "video5_right": 5}
NAMES = [f"{video}/{number:05d}.jpg" for video, num in VIDEOS.items() for number in range(1, num + 1)]
# Line n of the file is LINES[n - 1].
LINES = [
    HEADER,
    *(f"{name},{(place % 7) / 10 - 0.3:.6f},{place / 50:.6f}" for place, name in enumerate(NAMES)),
]


def changed(lines: list[str], line: int, old: str, new: str) -> list[str]:
    assert old in lines[line - 1]
    return [*lines[: line - 1], lines[line - 1].replace(old, new), *lines[line:]]


def moved(lines: list[str], line: int, to: int) -> list[str]:
    rest = [*lines[: line - 1], *lines[line:]]
    return [*rest[: to - 1], lines[line - 1], *rest[to - 1 :]]


def with_values(valence: str, arousal: str) -> list[str]:
    return [HEADER, *(f"{name},{valence},{arousal}" for name in NAMES)]


def checked(folder: Path, content: list[str] | bytes, *, template_end: str = "\n") -> SubmissionCheck:
    (folder / "t.txt").write_bytes(
        (template_end.join([HEADER, *(f"{name},," for name in NAMES), ""])).encode()
    )
    text = content if isinstance(content, bytes) else "".join(f"{line}\n" for line in content).encode()
    (folder / "s.txt").write_bytes(text)
    return check_submission(folder / "s.txt", folder / "t.txt")


MISTAKES: dict[str, tuple[Callable[[], list[str] | bytes], str]] = {
    "missing header": (lambda: LINES[1:], f"line 1: expected the header '{HEADER}', got a row; put"),
    "column order": (
        lambda: changed(LINES, 1, "valence,arousal", "arousal,valence"),
        f"line 1: expected the header '{HEADER}', got the columns in another order, "
        "'image_location,arousal,valence'; put the columns into this order, in all rows",
    ),
    "another header": (
        lambda: changed(LINES, 1, "image_location", "frame"),
        f"line 1: expected the header '{HEADER}', got 'frame,valence,arousal'; correct the header",
    ),
    "missing row": (
        lambda: [*LINES[:9], *LINES[10:]],
        "expected every row of the template, got none for '12-24-1920x1080/00003.jpg' (line 10); give",
    ),
    "missing end": (
        lambda: LINES[:-6],
        "got none for '12-24-1920x1080/00004.jpg' (line 11), 'video5_right/00001.jpg' (line 12), "
        "'video5_right/00002.jpg' (line 13), 'video5_right/00003.jpg' (line 14), "
        "'video5_right/00004.jpg' (line 15) and 1 more; not a single row of 1 videos, the first "
        "'video5_right'",
    ),
    "extra row": (
        lambda: [*LINES[:7], "video5_left/00007.jpg,0,0", *LINES[7:]],
        "line 8: expected no row that the template does not have, got 'video5_left/00007.jpg'; remove it",
    ),
    "duplicate row": (
        lambda: [*LINES[:4], LINES[2], *LINES[4:]],
        "line 5: expected each row once, got 'video5_left/00002.jpg' of line 3 again; remove it",
    ),
    "wrong order": (
        lambda: moved(LINES, 4, 12),
        "line 12: expected the template's order, got 'video5_left/00003.jpg' after "
        "'video5_right/00001.jpg'; sort",
    ),
    "neighbours swapped": (
        lambda: moved(LINES, 3, 4),
        "line 4: expected the template's order, got 'video5_left/00002.jpg' after 'video5_left/00003.jpg'",
    ),
    "videos in another order": (
        lambda: [HEADER, *LINES[7:11], *LINES[1:7], *LINES[11:]],
        "line 6: expected the template's order, got 'video5_left/00001.jpg' after "
        "'12-24-1920x1080/00004.jpg'; sort",
    ),
    "valence out of range": (
        lambda: changed(LINES, 5, ",0.000000,", ",1.000001,"),
        "line 5: valence: expected a number in [-1, 1], got 1.000001; clip the values",
    ),
    "arousal not annotated": (
        lambda: changed(LINES, 2, ",0.000000", ",-5"),
        "line 2: arousal: expected a number in [-1, 1], got -5 (the labels' mark for frames that nobody "
        "annotated); clip the values",
    ),
    "not a number": (
        lambda: changed(LINES, 3, "-0.200000", "nan"),
        "line 3: valence: expected a number in [-1, 1], got nan; give each frame one",
    ),
    "infinite": (
        lambda: changed(LINES, 3, "0.020000", "inf"),
        "line 3: arousal: expected a number in [-1, 1], got inf; give",
    ),
    "text": (
        lambda: changed(LINES, 4, "0.040000", "calm"),
        "line 4: arousal: expected a number in [-1, 1], got 'calm'; give",
    ),
    "empty cell": (
        lambda: changed(LINES, 4, "0.040000", ""),
        "line 4: arousal: expected a number in [-1, 1], got an empty cell; give",
    ),
    "decimal commas": (
        lambda: [LINES[0], *(line.replace("0.", "0,") for line in LINES[1:])],
        "lines 2, 3, 4, 5, 6 and 10 more: expected 3 cells (image_location,valence,arousal), got 5 in "
        "'video5_left/00001.jpg,-0,300000,0,000000'; decimals have points, no commas",
    ),
    "semicolons": (
        lambda: changed(LINES, 4, ",", ";"),
        "line 4: expected 3 cells (image_location,valence,arousal), got 1 in "
        "'video5_left/00003.jpg;-0.100000;0.040000'; separate three cells by commas",
    ),
    "video name": (
        lambda: [line.replace("video5_right", "video5right") for line in LINES],
        "lines 12, 13, 14, 15, 16: expected a video of the template, got 'video5right'; did you mean "
        "'video5_right'?",
    ),
    "unknown video": (
        lambda: [*LINES, "somewhere else/00001.jpg,0,0"],
        "line 17: expected a video of the template, got 'somewhere else'; remove its rows",
    ),
    "video name in another case": (
        lambda: changed(LINES, 12, "video5_right", "VIDEO5_RIGHT"),
        "line 12: expected 'video5_right/00001.jpg', got 'VIDEO5_RIGHT/00001.jpg'; write it the same way",
    ),
    "suffix": (
        lambda: changed(LINES, 8, ".jpg", ".png"),
        "line 8: expected '12-24-1920x1080/00001.jpg', got '12-24-1920x1080/00001.png'; images end in '.jpg'",
    ),
    "suffixes": (
        lambda: [line.replace(".jpg", ".JPG") for line in LINES],
        "lines 2, 3, 4, 5, 6 and 10 more: expected 'video5_left/00001.jpg', got 'video5_left/00001.JPG'",
    ),
    "zero padding": (
        lambda: [line.replace("/0000", "/") for line in LINES],
        "lines 2, 3, 4, 5, 6 and 10 more: expected 'video5_left/00001.jpg', got 'video5_left/1.jpg'; write "
        "numbers with 5 digits, zeros before them",
    ),
    "backslashes": (
        lambda: changed(LINES, 8, "/", "\\"),
        "line 8: expected '12-24-1920x1080/00001.jpg', got '12-24-1920x1080\\\\00001.jpg'; write it the same",
    ),
    "no location": (
        lambda: changed(LINES, 8, "12-24-1920x1080/00001.jpg", "7"),
        "line 8: expected an image like 'VIDEO/00001.jpg' in the first cell, got '7'; correct it",
    ),
    "byte order mark": (
        lambda: b"\xef\xbb\xbf" + "\n".join([*LINES, ""]).encode(),
        "line 1: expected plain UTF-8, got a byte order mark before the header",
    ),
    "carriage returns": (
        lambda: "\r\n".join([*LINES, ""]).encode(),
        "lines 1, 2, 3, 4, 5 and 11 more: expected lines that end in LF, as the template's, got CRLF",
    ),
    "encoding": (
        lambda: "\n".join([*LINES, ""]).encode().replace(b"0.040000", b"0\xb7040000"),
        "line 4: expected text in UTF-8, got byte 0xb7; save",
    ),
    "blank line": (
        lambda: [*LINES[:3], "", *LINES[3:]],
        "line 4: expected a row, got a blank line; remove it",
    ),
    "no rows": (lambda: LINES[:1], "line 1: expected rows after the header, got none; write the file again"),
    "nothing": (lambda: b"", "line 1: expected rows after the header, got none"),
}
# What follows from the mistake and is told as well.
FOLLOWING = {
    "missing header": 0,
    "text": 0,
    "semicolons": 2,  # its row is missing, and its first cell is no location
    "no location": 1,
    "no rows": 1,
    "nothing": 1,
    "encoding": 1,  # nor a number
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_each_mistake_is_named(tmp_path: Path, mistake: str) -> None:
    make, expected = MISTAKES[mistake]
    found = [str(problem) for problem in checked(tmp_path, make()).problems]
    assert any(expected in text for text in found), found
    assert len(found) == 1 + FOLLOWING.get(mistake, 0), found
    assert all("\n" not in text for text in found)


def test_a_right_file_has_none(tmp_path: Path) -> None:
    found = checked(tmp_path, LINES)
    assert (found.problems, found.warnings, found.num_rows, found.num_videos) == ((), (), 15, 3)
    # Line ends as the template's, spaces, no end of the last line.
    assert not checked(tmp_path, "\r\n".join(LINES).encode(), template_end="\r\n").problems
    assert not checked(
        tmp_path, [line.replace(",", ", ") if line != HEADER else line for line in LINES]
    ).problems
    assert not checked(tmp_path, [LINES[0], f"{NAMES[0]},1,-1e-3", *LINES[2:]]).problems


def test_several_mistakes_are_named_at_once_in_the_order_of_their_lines(tmp_path: Path) -> None:
    lines = changed(LINES, 1, "valence,arousal", "arousal,valence")
    lines = changed(lines, 3, "-0.200000", "nan")
    lines = [*lines[:5], *lines[6:9], lines[9].replace(".jpg", ".png"), lines[10], lines[10], *lines[11:]]
    found = [str(problem).partition(":")[0] for problem in checked(tmp_path, lines).problems]
    assert found[:-1] == ["line 1", "line 3", "line 9", "line 11"]
    assert found[-1].startswith("expected every row of the template, got none for 'video5_left/00005.jpg'")


def test_constant_predictions_are_a_warning(tmp_path: Path) -> None:
    found = checked(tmp_path, with_values("0", "0.25"))
    assert not found.problems
    assert found.warnings == (
        "valence is 0 in all 15 rows: are these predictions?",
        "arousal is 0.25 in all 15 rows: are these predictions?",
    )
    lines = [line.rpartition(",")[0] + ",0.5" if line.startswith("12-") else line for line in LINES]
    assert checked(tmp_path, lines).warnings == (
        "arousal is the same in all rows of 1 of 3 videos: '12-24-1920x1080'",
    )


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(SubmissionError, match="expected text in UTF-8, got UTF-16"):
        checked(tmp_path, "\n".join(LINES).encode("utf-16"))
    with pytest.raises(SubmissionError, match=r"submission '.*nowhere' cannot be read \(No such file"):
        check_submission(tmp_path / "nowhere", tmp_path / "t.txt")
    (tmp_path / "t.txt").write_text(f"{HEADER}\na/00001.jpg\na/00001.jpg\n")
    with pytest.raises(SubmissionError, match=r"t\.txt': expected each row once"):
        check_submission(tmp_path / "s.txt", tmp_path / "t.txt")
