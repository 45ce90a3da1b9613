"""Tables as spreadsheets and toolkits save them.

A byte order mark, Excel's line `sep=;`, semicolons or tabs for commas, carriage returns, blank lines and,
where the separator is another, commas in decimals are taken as they are.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from tagf_head.errors import AnnotationError

_DELIMITERS = (",", ";", "\t")
_EMPTY = frozenset({"", "nan", "na", "n/a", "null", "none"})
_NUM_SHOWN = 40


@dataclass(frozen=True, kw_only=True, eq=False)
class CsvTable:
    """Cells as text, without the spaces around them.

    Attributes:
        path: The file, for messages.
        header_line: Number of the line of column names, counted from 1.
        columns: Column names as written.
        lines: Number of each row's line.
        rows: One cell per column each; rows of empty cells are left out, unless they count.
    """

    path: Path
    header_line: int
    columns: tuple[str, ...]
    lines: tuple[int, ...]
    rows: tuple[tuple[str, ...], ...]

    def index_of(self, name: str, *, needed: Sequence[str]) -> int:
        """Place of a column by its name, upper or lower case.

        Args:
            name: The name, in lower case.
            needed: All columns that the table must have, for the message.

        Raises:
            AnnotationError: No such column, or two.
        """
        places = [index for index, column in enumerate(self.columns) if column.lower() == name]
        if len(places) != 1:
            raise AnnotationError(
                f"{self.path}, line {self.header_line}: expected one column {name!r} (needed: "
                f"{', '.join(needed)}), got {len(places)} among {shown(', '.join(self.columns))!r}; correct "
                "the column names"
            )
        return places[0]

    def numbers(self, column: int) -> list[float]:
        """A column's cells as numbers, NaN for empty ones.

        Raises:
            AnnotationError: A cell is no finite number; names line and column.
        """
        cells = [row[column] for row in self.rows]
        try:
            values = [float(cell) for cell in cells]
        except ValueError:
            values = [math.inf]
        if math.inf in values or -math.inf in values:
            # Slower by far, and rarely needed: empty cells, decimal commas, mistakes.
            return [
                _number(self.path, line, self.columns[column], cell)
                for line, cell in zip(self.lines, cells, strict=True)
            ]
        return values


def read_text(path: Path) -> str:
    """Text of a file in UTF-8, without a byte order mark.

    Raises:
        AnnotationError: It cannot be read, or is no text in UTF-8; names the line.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise AnnotationError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise AnnotationError(
            f"{path}, line {line}: expected text in UTF-8, got byte 0x{content[error.start]:02x}; save it as "
            "'CSV UTF-8'"
        ) from None


def parse_table(path: Path, text: str, *, rows_count: bool = False) -> CsvTable:
    """Cells of a table.

    Args:
        path: The file, for messages.
        text: Its content.
        rows_count: A row's place has a meaning: none is left out, and blank lines amid them and rows that
            lack a cell are refused.

    Raises:
        AnnotationError: It is empty, or a line is no row of the table; names the line.
    """
    delimiter, header_line = _delimiter(text)
    # Blank lines at the end are nothing; a tab there may stand between two empty cells.
    text = text.rstrip(" \r\n" if delimiter == "\t" else None)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    columns: tuple[str, ...] | None = None
    lines: list[int] = []
    rows: list[tuple[str, ...]] = []
    while True:
        line = reader.line_num + 1
        try:
            cells = [cell.strip() for cell in next(reader)]
        except StopIteration:
            break
        except csv.Error as error:
            raise AnnotationError(
                f"{path}, line {line}: expected cells between {delimiter!r}, quoted with '\"' where they "
                f"hold one, got: {error}; correct the line"
            ) from error
        if line < header_line or (not any(cells) and (columns is None or not rows_count)):
            continue
        if columns is None:
            # The line's trailing separators are not columns without a name.
            while not cells[-1]:
                cells.pop()
            columns, header_line = tuple(cells), line
            continue
        if any(cells[len(columns) :]):
            raise AnnotationError(
                f"{path}, line {line}: expected {len(columns)} cells ({shown(delimiter.join(columns))}), got "
                f"{len(cells)}; separate columns by semicolons, or quote cells, where decimals have commas"
            )
        if rows_count and len(cells) < len(columns):
            raise AnnotationError(
                f"{path}, line {line}: expected {len(columns)} cells ({shown(delimiter.join(columns))}), got "
                + (shown(repr(cells[0])) if any(cells) else "a blank line")
                + "; correct or remove the line (what nobody annotated is -5, or an empty cell)"
            )
        lines.append(line)
        rows.append(tuple(cells[: len(columns)]) + ("",) * (len(columns) - len(cells)))
    if columns is None:
        raise AnnotationError(
            f"{path}: expected a line of column names, got an empty file; fill or remove it"
        )
    return CsvTable(path=path, header_line=header_line, columns=columns, lines=tuple(lines), rows=tuple(rows))


def column_names(path: Path, text: str) -> tuple[str, ...]:
    """Names in the first line that is not blank, of any text; none for an empty one.

    Args:
        path: The file, for messages.
        text: Its content.

    Raises:
        AnnotationError: The line is no row of a table.
    """
    _, header_line = _delimiter(text)
    head = "".join(islice(io.StringIO(text, newline=None), header_line))
    return parse_table(path, head).columns if head.strip() else ()


def shown(text: str) -> str:
    """A text of the file, short enough for a message of one line."""
    text = " ".join(text.split())
    return text if len(text) <= _NUM_SHOWN else f"{text[:_NUM_SHOWN]}..."


def _delimiter(text: str) -> tuple[str, int]:
    """What separates cells, and the number of the first line that may hold column names."""
    for line, content in enumerate(io.StringIO(text, newline=None), start=1):
        stripped = content.strip()
        if stripped.lower().startswith("sep=") and len(stripped) <= len("sep=;"):
            return stripped[len("sep=") :] or "\t", line + 1
        if stripped:
            return max(_DELIMITERS, key=content.count), line
    return _DELIMITERS[0], 1


def _number(path: Path, line: int, column: str, cell: str) -> float:
    if cell.lower() in _EMPTY:
        return math.nan
    decimal = cell.replace(",", ".") if cell.count(",") == 1 and "." not in cell else cell
    try:
        value = float(decimal)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise AnnotationError(
            f"{path}, line {line}: expected a number or an empty cell in column {column!r}, got "
            f"{shown(cell)!r}; correct the cell, or remove a column without labels"
        )
    return value
