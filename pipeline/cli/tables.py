"""Tables and quantities for people to read."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

# Of output that goes to a file or another program.
_WIDTH = 120
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def print_table(title: str, header: Sequence[str] | None, rows: Iterable[Sequence[str]]) -> None:
    """Print a table on standard output; long texts go on in the next line, none is cut off.

    Args:
        title: Stands above it.
        header: Names of the columns; None for none.
        rows: As many texts each.
    """
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    rows = list(rows)
    width = None if sys.stdout.isatty() else _WIDTH
    console = Console(file=sys.stdout, width=width, highlight=False)
    table = Table(box=SIMPLE, show_header=header is not None)
    for column in range(len(rows[0]) if rows else 0):
        table.add_column(
            Text(header[column]) if header else "", overflow="fold", no_wrap=column == 0 and not header
        )
    for row in rows:
        table.add_row(*(Text(text) for text in row))
    # By itself: a table's own title is broken at the table's width.
    console.print(Text(title, "bold"), soft_wrap=True)
    console.print(table)


def size_text(num_bytes: int) -> str:
    """Bytes in decimal units: ``1.2 GB``."""
    size = float(num_bytes)
    for unit in _UNITS[:-1]:
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} {_UNITS[-1]}"


def duration_text(seconds: float) -> str:
    """Seconds, and hours where it is as long: ``5400.0 s (1.50 h)``."""
    return f"{seconds:.1f} s" + (f" ({seconds / 3600:.2f} h)" if seconds >= 360 else "")
