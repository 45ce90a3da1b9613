"""Where answers go while they come: lines of CSV, or one line of a terminal that changes."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from pipeline.errors import ExtractionError
from pipeline.live.live_prediction import LiveAnswer

COLUMNS = ("time_s", "valence", "arousal", "face_found", "latency_ms")
# Often enough to look alive, seldom enough to be read.
_SECONDS_BETWEEN_DRAWINGS = 0.1
# A line that wraps could not be drawn over: without its bars it has 65 characters.
_FEWEST_CELLS, _MOST_CELLS, _CHARACTERS_BESIDE = 5, 21, 70


class CsvOutput:
    """One line per answer, there for other programs as soon as it is written.

    Args:
        file: Where to.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._write(",".join(COLUMNS))

    def add(self, answer: LiveAnswer) -> None:
        """Write an answer."""
        self._write(
            f"{answer.time_s:.6f},{answer.valence:.6f},{answer.arousal:.6f},{int(answer.face_found)},"
            f"{1000 * answer.latency_s:.1f}"
        )

    def close(self) -> None:
        """Nothing is left to write."""

    def _write(self, line: str) -> None:
        self._file.write(line + "\n")
        self._file.flush()


class TerminalOutput:
    """A line that shows the latest answer.

    Args:
        file: A terminal.
        now: Clock in seconds.
        columns: The terminal's width; None to ask it, again for each line.
    """

    def __init__(
        self, file: TextIO, now: Callable[[], float] = time.monotonic, columns: int | None = None
    ) -> None:
        self._file, self._now, self._columns = file, now, columns
        self._drawn_s: float | None = None
        self._width = 0

    def add(self, answer: LiveAnswer) -> None:
        """Show an answer, unless another was drawn a moment ago."""
        if self._drawn_s is not None and self._now() - self._drawn_s < _SECONDS_BETWEEN_DRAWINGS:
            return
        self._drawn_s = self._now()
        columns = self._columns or shutil.get_terminal_size().columns
        num_cells = min(max((columns - _CHARACTERS_BESIDE) // 2, _FEWEST_CELLS), _MOST_CELLS)
        line = (
            f"{answer.time_s:9.2f} s  valence {answer.valence:+.2f} {_bar(answer.valence, num_cells)}  "
            f"arousal {answer.arousal:+.2f} {_bar(answer.arousal, num_cells)}  "
            f"{'face' if answer.face_found else 'no face'}  {1000 * answer.latency_s:.0f} ms"
        )[: columns - 1]
        self._file.write("\r" + line.ljust(min(self._width, columns - 1)))
        self._file.flush()
        self._width = len(line)

    def close(self) -> None:
        """Leave the line as it is."""
        if self._drawn_s is not None:
            self._file.write("\n")
            self._file.flush()


def new_file(path: Path) -> TextIO:
    """A file for answers that is not there yet: a recording cannot be made again.

    Raises:
        ExtractionError: Something lies there already.
    """
    try:
        return path.open("x", encoding="utf-8", newline="")
    except FileExistsError as error:
        raise ExtractionError(
            f"{path}: expected no file of that name, found one; move it away, or give another --out"
        ) from error


def _bar(value: float, num_cells: int) -> str:
    """A value from -1 to 1 as a mark on a scale."""
    place = round((value + 1) / 2 * (num_cells - 1))
    cells = ["·"] * num_cells
    cells[min(max(place, 0), num_cells - 1)] = "█"
    return "[" + "".join(cells) + "]"
