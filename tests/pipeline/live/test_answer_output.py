"""Answers as CSV and on a terminal."""

from __future__ import annotations

import csv
import io
from itertools import pairwise

import pytest

from pipeline.errors import ExtractionError
from pipeline.live.answer_output import CsvOutput, TerminalOutput, new_file
from pipeline.live.live_prediction import LiveAnswer


def answer(time_s: float, valence: float = 0.25, face_found: bool = True) -> LiveAnswer:
    return LiveAnswer(
        frame=0, time_s=time_s, valence=valence, arousal=-1.0, face_found=face_found, latency_s=0.0421
    )


def test_each_answer_is_a_line_that_is_there_at_once(tmp_path):
    with new_file(tmp_path / "out.csv") as file:
        output = CsvOutput(file)
        output.add(answer(1 / 3))
        # Read while it is still open.
        (row,) = csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text()))
    assert row == {
        "time_s": "0.333333",
        "valence": "0.250000",
        "arousal": "-1.000000",
        "face_found": "1",
        "latency_ms": "42.1",
    }


def test_a_recording_is_not_written_over(tmp_path):
    (tmp_path / "out.csv").write_text("yesterday")
    with pytest.raises(ExtractionError, match=r"out\.csv.*--out"):
        new_file(tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == "yesterday"


def test_a_terminal_shows_one_line_ten_times_a_second():
    screen, clock = io.StringIO(), [0.0]
    output = TerminalOutput(screen, lambda: clock[0], columns=120)
    for number in range(50):
        clock[0] = number / 50
        output.add(answer(clock[0], 0.5, face_found=number >= 25))
    output.close()
    drawn = screen.getvalue().rstrip("\n").split("\r")[1:]
    assert 9 <= len(drawn) <= 11
    assert "\n" not in screen.getvalue()[:-1]
    assert "valence +0.50" in drawn[0]
    assert "arousal -1.00 [█·" in drawn[0]
    assert "no face" in drawn[0]
    assert "no face" not in drawn[-1]
    # What was longer is painted over.
    assert all(len(line) >= len(before.rstrip()) for before, line in pairwise(drawn))


@pytest.mark.parametrize("columns", [40, 80, 120, 300])
def test_no_line_wraps(columns):
    # A line that wraps is not drawn over by the next one.
    screen = io.StringIO()
    output = TerminalOutput(screen, lambda: float(columns), columns=columns)
    late = LiveAnswer(
        frame=0, time_s=99_999.5, valence=-0.123, arousal=0.5, face_found=False, latency_s=1.234
    )
    output.add(late)
    (line,) = screen.getvalue().split("\r")[1:]
    assert len(line) < columns
    assert line.startswith(" 99999.50 s  valence -0.12")
    assert line.endswith("no face  1234 ms") == (columns >= 80)
