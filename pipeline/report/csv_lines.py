"""Reading the CSV files of a run, with errors that name file and line's column."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.report.errors import ReportError


def read_lines(path: Path, needed: Sequence[str], *, remedy: str) -> list[dict[str, str]]:
    """Lines of a CSV file by column; a cell that a short line lacks is empty.

    Raises:
        ReportError: The file cannot be read, or lacks a column.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restval="")
            names = list(reader.fieldnames or ())
            lines = [{name: line[name] for name in names} for line in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ReportError(f"{path} cannot be read as CSV ({error}); {remedy}") from error
    lacking = [name for name in needed if name not in names]
    if lacking:
        raise ReportError(
            f"{path}: expected columns {', '.join(needed)}, got no {', '.join(lacking)}; {remedy}"
        )
    return lines


def number(path: Path, line: Mapping[str, str], name: str) -> float | None:
    """A cell's number; None where the cell is empty or not finite.

    Raises:
        ReportError: The cell holds something else.
    """
    text = line.get(name, "")
    if not text:
        return None
    try:
        value = float(text)
    except ValueError as error:
        raise ReportError(
            f"{path}: expected a number as {name}, got {text!r}; write the file again, or move it away"
        ) from error
    return value if math.isfinite(value) else None
