"""Tables in Markdown that read as well in a terminal."""

from __future__ import annotations

from collections.abc import Sequence


def markdown_table(lines: Sequence[Sequence[str]]) -> str:
    """A table whose columns are aligned, with a line feed behind each line.

    Args:
        lines: The header and the rows, as many cells each.
    """
    cells = [[cell.replace("|", r"\|") for cell in line] for line in lines]
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    header, *body = (
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in cells
    )
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "".join(f"{line}\n" for line in (header, rule, *body))
