"""One label per decoded picture: the text files of Aff-Wild2.

The first line is `valence,arousal`, and line i + 2 belongs to decoded picture i. A label of -5 in either
column says that nobody annotated the frame, as an empty cell or NaN does: its row is kept and masked, for
deleting it would shift every later label onto the wrong picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tagf_head.annotations.clip_labels import NOT_ANNOTATED, AlignedLabels
from tagf_head.config import TARGETS
from tagf_head.errors import AnnotationError

HEADER = ",".join(TARGETS)


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameLabels:
    """Labels by decoded picture.

    Attributes:
        values: ``(rows, 2)`` float32, row i belongs to decoded picture i; -5 where nobody annotated.
    """

    values: NDArray[np.float32]

    @property
    def num_labelled(self) -> int:
        """See `ClipLabels`."""
        return int(_annotated(self.values).sum())

    def align(
        self, source_frame: NDArray[np.int64], time_s: NDArray[np.float64], delay_s: float
    ) -> AlignedLabels:
        """See `ClipLabels`; with a delay, the label is that of the picture nearest to t + delay_s.

        There is none before the first picture or after the last, half a picture's time of grace.
        """
        frame = source_frame if delay_s == 0 else _frame_at(time_s + delay_s, source_frame, time_s)
        has_row = (frame >= 0) & (frame < len(self.values))
        labels = np.zeros((len(frame), len(TARGETS)), np.float32)
        labels[has_row] = self.values[frame[has_row]]
        mask = has_row & _annotated(labels)
        labels[~mask] = 0
        return AlignedLabels(
            labels=labels,
            mask=mask,
            num_not_annotated=int((has_row & ~mask).sum()),
            num_missing=int((~has_row).sum()),
            num_surplus=len(self.values) - len(np.unique(frame[has_row])),
        )

    def content(self) -> bytes:
        """See `ClipLabels`."""
        return f"frames {len(self.values)}\n".encode() + self.values.astype("<f4").tobytes()


def _annotated(values: NDArray[np.float32]) -> NDArray[np.bool_]:
    return np.asarray((values != np.float32(NOT_ANNOTATED)).all(axis=1))


def _frame_at(
    wanted_s: NDArray[np.float64], source_frame: NDArray[np.int64], time_s: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Index of the picture nearest to each time, a tie goes to the earlier one; -1 where there is none.

    Between two rows the index runs with the time, so that a store of every fifth picture meets the labels of
    those between.
    """
    if len(time_s) < 2:
        return np.where(wanted_s == time_s, source_frame, -1)
    grace_s = float(np.median(np.diff(time_s))) / 2
    # Rounded first: a delay of whole pictures must not fall on either side of a tie by the last bit.
    index = np.ceil(np.round(np.interp(wanted_s, time_s, source_frame), 6) - 0.5).astype(np.int64)
    inside = (wanted_s >= time_s[0] - grace_s) & (wanted_s <= time_s[-1] + grace_s)
    return np.where(inside, index, -1)


def parse_frame_labels(path: Path, text: str) -> FrameLabels:
    """Labels of one file.

    Args:
        path: The file, for messages.
        text: Its content. What a spreadsheet makes of it is taken too: semicolons or tabs, decimal commas.

    Raises:
        AnnotationError: A line is malformed; names the line.
    """
    lines = text.rstrip().splitlines() or [""]
    for delimiter in (";", "\t"):
        if delimiter in lines[0]:
            lines = [line.replace(",", ".").replace(delimiter, ",") for line in lines]
    header = "".join(lines[0].split())
    if header.lower() != HEADER:
        raise AnnotationError(
            f"{path}, line 1: expected the header {HEADER!r}, or a column 'time' among others, got "
            f"{header[:40]!r}; correct the first line"
        )
    rows = lines[1:]
    if not rows:
        return FrameLabels(values=np.zeros((0, len(TARGETS)), np.float32))
    try:
        values = np.loadtxt(rows, delimiter=",", comments=None, dtype=np.float64, ndmin=2)
    except ValueError:
        values = np.empty((0, 0))
    # loadtxt passes over blank lines, which would shift all later labels.
    if values.shape != (len(rows), len(TARGETS)):
        values = np.array([_cells(path, line, row) for line, row in enumerate(rows, start=2)])
    values[np.isnan(values)] = NOT_ANNOTATED
    valid = (np.abs(values) <= 1) | (values == NOT_ANNOTATED)
    if not valid.all():
        row, column = (int(index) for index in np.argwhere(~valid)[0])
        raise AnnotationError(
            f"{path}, line {row + 2}: {TARGETS[column]} must lie in [-1, 1] or be -5 (not annotated), "
            f"got {values[row, column]}; correct the line"
        )
    return FrameLabels(values=values.astype(np.float32))


def _cells(path: Path, line: int, row: str) -> list[float]:
    """Two numbers, NaN for empty cells."""
    try:
        values = [float(cell) if cell.strip() else np.nan for cell in row.split(",")]
    except ValueError:
        values = []
    if len(values) != len(TARGETS):
        raise AnnotationError(
            f"{path}, line {line}: expected two numbers 'valence,arousal', got {row[:40]!r}; correct the "
            "line (a frame without annotation is '-5,-5')"
        )
    return values
