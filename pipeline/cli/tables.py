"""Tables and quantities for people to read."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Sequence

# Of output that goes to a file or another program.
_WIDTH = 120
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def print_table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table on standard output; long texts go on in the next line, none is cut off.

    Args:
        title: Stands above it.
        header: Names of the columns.
        rows: As many texts each.
    """
    from io import StringIO

    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else _WIDTH
    console = Console(file=StringIO(), width=width, color_system=None, highlight=False)
    table = Table(box=SIMPLE)
    for name in header:
        table.add_column(Text(name), overflow="fold")
    for row in rows:
        table.add_row(*(Text(text) for text in row))
    with console.capture() as capture:
        console.print(table)
    # By itself: a table's own title is broken at the table's width.
    print(title)
    for line in capture.get().splitlines():
        print(line.rstrip())


def print_facts(title: str, rows: Sequence[tuple[str, str]]) -> None:
    """Print names and what they are; long texts run over, so that digests can be copied as a whole."""
    width = max((len(name) for name, _ in rows), default=0)
    print(title)
    print()
    for name, text in rows:
        print(f"  {name.ljust(width)}  {text}".rstrip())
    print()


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
