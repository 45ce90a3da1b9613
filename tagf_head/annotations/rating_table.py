"""CSV files of labels with time stamps: one column of times, and one per rater.

time;valence;arousal                        both targets in one file, as SEWA's users have them
0.0;0.12;-0.3

time;valence_A1;valence_A2;arousal_A1       several raters

time;FM1;FM2;FF1                            one target per file (valence/CLIP.csv, arousal/CLIP.csv), as
0.00;0.01;0.05;-0.02                        in RECOLA: every other column is a rater
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tagf_head.annotations.clip_labels import NOT_ANNOTATED
from tagf_head.annotations.csv_table import CsvTable, parse_table, shown
from tagf_head.annotations.gold_standard import gold_standard
from tagf_head.annotations.timed_labels import LabelTrace, TimedLabels
from tagf_head.config import TARGETS, GoldStandard
from tagf_head.errors import AnnotationError

_TIME_WORDS = frozenset({"time", "times", "timestamp", "timestamps", "stamp", "t"})
_SECONDS = frozenset({"s", "sec", "secs", "second", "seconds"})
_MILLISECONDS = frozenset({"ms", "msec", "millisecond", "milliseconds"})
# What a column beside those of raters holds if it is called so.
_STATISTICS = frozenset(
    {
        "mean",
        "median",
        "average",
        "avg",
        "gold",
        "goldstandard",
        "ewe",
        "std",
        "stddev",
        "variance",
        "confidence",
    }
)
# A column that names no unit is in seconds if its steps are those of annotation; steps of 1 may be seconds,
# milliseconds or frames.
_MIN_STEP_S, _MAX_STEP_S = 0.001, 1.0


def has_times(columns: Sequence[str]) -> bool:
    """Whether column names are those of labels with time stamps.

    >>> [has_times([name]) for name in ("time", "Time [ms]", "timeStamp", "t_s", "valence", "")]
    [True, True, True, True, False, False]
    """
    return any(_is_time(name) for name in columns)


def parse_rated_labels(path: Path, text: str, kind: GoldStandard) -> TimedLabels:
    """Labels of one file that has both targets.

    Args:
        path: The file, for messages.
        text: Its content.
        kind: What several raters become.

    Raises:
        AnnotationError: Columns are missing or unclear, a time or a label is impossible; names line and
            column.
    """
    table = parse_table(path, text)
    time_s = _times_s(table)
    traces = []
    for target in TARGETS:
        columns = [index for index, name in enumerate(table.columns) if target in _targets(name)]
        both = [table.columns[index] for index in columns if len(_targets(table.columns[index])) > 1]
        if both or not columns:
            raise AnnotationError(
                f"{path}, line {table.header_line}: expected columns of times, valence and arousal, got "
                + (f"{shown(both[0])!r} for both" if both else f"no {target}")
                + f" among {shown(', '.join(table.columns))!r}; correct the column names, or put files of "
                "one target each into folders valence and arousal"
            )
        traces.append(_trace(table, time_s, columns, kind))
    return TimedLabels(valence=traces[0], arousal=traces[1])


def parse_rated_trace(path: Path, text: str, target: str, kind: GoldStandard) -> LabelTrace:
    """Labels of one file that has one target: every column but the times is a rater.

    Args:
        path: The file, for messages.
        text: Its content.
        target: Which target it is of.
        kind: What several raters become.

    Raises:
        AnnotationError: As `parse_rated_labels`, or there is a column of the other target.
    """
    table = parse_table(path, text)
    time_s = _times_s(table)
    # The index that pandas writes has no name.
    columns = [
        index for index, name in enumerate(table.columns) if not _is_time(name) and (index > 0 or name)
    ]
    others = [name for name in table.columns if _targets(name) - {target}]
    if others or not columns:
        raise AnnotationError(
            f"{path}, line {table.header_line}: expected a column of times and one per rater of {target}, "
            + (f"got a column {shown(others[0])!r}" if others else "got times alone")
            + "; a file of both targets belongs into the split's folder itself"
        )
    return _trace(table, time_s, columns, kind)


def _trace(
    table: CsvTable, time_s: NDArray[np.float64], columns: Sequence[int], kind: GoldStandard
) -> LabelTrace:
    """Gold standard of some columns."""
    _check_raters(table, columns)
    ratings = np.empty((len(table.rows), len(columns)))
    for place, column in enumerate(columns):
        values = np.array(table.numbers(column))
        values[values == NOT_ANNOTATED] = np.nan
        outside = np.abs(values) > 1
        if outside.any():
            row = int(outside.argmax())
            raise AnnotationError(
                f"{table.path}, line {table.lines[row]}: column {shown(table.columns[column])!r} must lie in "
                f"[-1, 1], or be -5 or empty (not annotated), got {values[row]:g}; correct the cell, or "
                "scale the labels"
            )
        ratings[:, place] = values
    return LabelTrace(time_s=time_s, value=gold_standard(ratings, kind))


def _check_raters(table: CsvTable, columns: Sequence[int]) -> None:
    """Refuse columns of which one cannot know whether they are raters, where there are several."""
    names = [table.columns[index] for index in columns]
    for index, name in enumerate(names):
        rater = re.sub("|".join(TARGETS), "", name.lower())
        is_nobody = not any(letter.isalnum() for letter in rater) or {*_words(rater)} & _STATISTICS
        if len(names) > 1 and (is_nobody or name in names[:index]):
            raise AnnotationError(
                f"{table.path}, line {table.header_line}: expected a rater's name for each of the columns "
                f"{shown(', '.join(names))!r}, got {shown(name)!r}; name it, or remove what is no rater"
            )


def _times_s(table: CsvTable) -> NDArray[np.float64]:
    """``(S,)`` seconds, rising strictly."""
    columns = [index for index, name in enumerate(table.columns) if _is_time(name)]
    where = f"{table.path}, line {table.header_line}"
    if len(columns) != 1:
        raise AnnotationError(
            f"{where}: expected one column of times (time_s or time_ms), got {len(columns)} among "
            f"{shown(', '.join(table.columns))!r}; correct the column names"
        )
    name = table.columns[columns[0]]
    times = np.array(table.numbers(columns[0]), np.float64)
    unknown = np.isnan(times)
    if unknown.any():
        raise AnnotationError(
            f"{table.path}, line {table.lines[int(unknown.argmax())]}: expected a time in column {name!r}, "
            "got an empty cell; fill it in or remove the line"
        )
    steps = np.diff(times)
    if (steps <= 0).any():
        row = int((steps <= 0).argmax()) + 1
        raise AnnotationError(
            f"{table.path}, line {table.lines[row]}: expected times that rise, got {times[row]:g} after "
            f"{times[row - 1]:g} in line {table.lines[row - 1]}; sort the lines, and keep one of each time"
        )
    words = {*_words(name)}
    if words & _MILLISECONDS:
        return times / 1000
    if not words & _SECONDS and len(steps):
        step = float(np.median(steps))
        if not _MIN_STEP_S <= step < _MAX_STEP_S:
            raise AnnotationError(
                f"{where}: column {name!r} names no unit, and its steps of {step:g} are not clearly seconds; "
                "call it time_s or time_ms (numbers of frames have to be made times first)"
            )
    return times


def _is_time(name: str) -> bool:
    words = {*_words(name)} - {"in"}
    # A column that is called `s` alone is as likely a rater.
    is_named = bool(words & _TIME_WORDS) or bool(words & (_SECONDS | _MILLISECONDS) - {"s"})
    return is_named and words <= _TIME_WORDS | _SECONDS | _MILLISECONDS


def _targets(name: str) -> set[str]:
    """Targets that a column's name speaks of.

    >>> _targets("A1_Valence"), _targets("valenceA1"), _targets("ambivalence")
    ({'valence'}, {'valence'}, set())
    """
    return {target for target in TARGETS if re.search(rf"(?<![a-z]){target}", name.lower())}


def _words(name: str) -> list[str]:
    return re.findall(r"[a-z]+", name.lower())
