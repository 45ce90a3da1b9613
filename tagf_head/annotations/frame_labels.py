"""One label per decoded picture: the text files of Aff-Wild2.

The first line is `valence,arousal`, and the first one after it belongs to decoded picture 0. A label of -5 in
either column says that nobody annotated the frame, as an empty cell or NaN does: its row is kept and masked,
for deleting it would shift every later label onto the wrong picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tagf_head.annotations.clip_labels import NOT_ANNOTATED, AlignedLabels
from tagf_head.annotations.csv_table import parse_table, shown
from tagf_head.config import TARGETS
from tagf_head.errors import AnnotationError

HEADER = ",".join(TARGETS)
# Pictures whose rate goes on where the rows end. One step alone may be rounded to milliseconds, or a freeze.
_NUM_LOCAL = 50


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

        It may be a picture that the store has no row for; there is none outside the file alone.
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
    """Index of the picture nearest to each time, a tie goes to the earlier one; -1 where nothing is known.

    Between two rows the index runs with the time, so that a store of every fifth picture meets the labels of
    those between. Before the first row and after the last it runs on at the rate of the pictures there.
    """
    frame, first = np.unique(source_frame, return_index=True)
    if len(frame) < 2:
        # How long a picture lasts is not known.
        return np.where((wanted_s >= time_s[:1]) & (wanted_s <= time_s[-1:]), source_frame, -1)
    position = np.interp(wanted_s, time_s, source_frame)
    # A picture with several rows lies amid them.
    middle_s = (time_s[first] + time_s[np.append(first[1:], len(time_s)) - 1]) / 2
    num = min(_NUM_LOCAL, len(frame) - 1)
    for is_beyond, end, other in ((wanted_s < time_s[0], 0, num), (wanted_s > time_s[-1], -1, -1 - num)):
        per_second = (frame[end] - frame[other]) / (middle_s[end] - middle_s[other])
        position = np.where(is_beyond, frame[end] + per_second * (wanted_s - middle_s[end]), position)
    # Rounded first: a delay of whole pictures must not fall on either side of a tie by the last bit.
    return np.ceil(np.round(position, 6) - 0.5).astype(np.int64)


def parse_frame_labels(path: Path, text: str) -> FrameLabels:
    """Labels of one file.

    Args:
        path: The file, for messages.
        text: Its content, in any form that `parse_table` takes.

    Raises:
        AnnotationError: A line is malformed; names the line.
    """
    table = parse_table(path, text, rows_count=True)
    if tuple(name.lower() for name in table.columns) != TARGETS:
        raise AnnotationError(
            f"{path}, line {table.header_line}: expected the header {HEADER!r}, or a column 'time' among "
            f"others, got {shown(','.join(table.columns))!r}; correct the line"
        )
    values = np.array([table.numbers(column) for column in range(len(TARGETS))], np.float64).T
    values[np.isnan(values)] = NOT_ANNOTATED
    valid = (np.abs(values) <= 1) | (values == NOT_ANNOTATED)
    if not valid.all():
        row, column = (int(index) for index in np.argwhere(~valid)[0])
        raise AnnotationError(
            f"{path}, line {table.lines[row]}: {TARGETS[column]} must lie in [-1, 1] or be -5 (not "
            f"annotated), got {values[row, column]}; correct the line"
        )
    return FrameLabels(values=values.astype(np.float32))
