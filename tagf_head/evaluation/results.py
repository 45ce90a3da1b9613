"""Several runs side by side: the CCC of each, and its paired difference to a reference head."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tagf_head.config import EvaluatedSplit
from tagf_head.data.clip_groups import counted
from tagf_head.errors import HeadError
from tagf_head.evaluation.bootstrap import CccIntervals, Interval
from tagf_head.evaluation.evaluated_runs import RunMetrics, read_runs
from tagf_head.evaluation.markdown import markdown_table

#: Of features from backbones with random weights.
RANDOM_WEIGHTS_NOTE = "The frozen backbones have random weights: these numbers say nothing about real media."

_COLUMNS = ("head", "valence CCC", "arousal CCC", "mean CCC", "mean CCC minus {reference}")


@dataclass(frozen=True, kw_only=True)
class ResultRow:
    """One run.

    Attributes:
        name: Name of the head, with the run's folder where several runs have the same head.
        ccc: CCC with intervals.
        difference: CCC minus the reference's, paired; None for the reference itself.
    """

    name: str
    ccc: CccIntervals
    difference: CccIntervals | None


@dataclass(frozen=True, kw_only=True)
class ResultsTable:
    """Runs on one split of the same features.

    Attributes:
        split: The split.
        rows: One per run, in the order given.
        reference: Name of the row to which the others are compared; None where there is none.
        unit: What the intervals resample.
        random_weights: Whether the features of any run came from backbones with random weights.
    """

    split: str
    rows: tuple[ResultRow, ...]
    reference: str | None
    unit: str
    random_weights: bool

    def as_markdown(self) -> str:
        """The table in Markdown, its columns aligned so that it reads as well in a terminal."""
        return "\n".join([markdown_table(self._cells()), *self._notes()]) + "\n"

    def _cells(self) -> list[list[str]]:
        shown = len(_COLUMNS) if self.reference is not None else len(_COLUMNS) - 1
        header = [column.format(reference=self.reference) for column in _COLUMNS[:shown]]
        lines = []
        for row in self.rows:
            line = [
                row.name,
                *(shown_interval(interval) for interval in (row.ccc.valence, row.ccc.arousal, row.ccc.mean)),
            ]
            if self.reference is not None:
                line.append(
                    "reference" if row.difference is None else shown_interval(row.difference.mean, "+")
                )
            lines.append(line)
        return [header, *lines]

    def _notes(self) -> list[str]:
        units = counted(self.rows[0].ccc.num_groups, self.unit)
        notes = [f"Split {self.split}; in brackets 95 % bootstrap intervals over {units}."]
        if self.random_weights:
            notes.append(RANDOM_WEIGHTS_NOTE)
        return notes


def collect_results(
    runs: Sequence[Path], annotations: Path, split: EvaluatedSplit, *, reference: str | None = None
) -> ResultsTable:
    """Compare evaluated runs.

    Args:
        runs: Folders that hold metrics.json and predictions.parquet of one split.
        annotations: The labels, as `load_annotations` takes them.
        split: The split that was evaluated.
        reference: Name of the head to which the others are compared; no comparison by default.

    Raises:
        HeadError: A run lacks its files, was evaluated on another split, other frames, other labels or other
            groups of clips than the rest, or no run has the reference head.
        AnnotationError: The labels are no longer those of the evaluation.
    """
    if not runs:
        raise HeadError("no runs to compare; give at least one run folder")
    found = read_runs(runs, annotations, split)
    names = _names(runs, found.metrics)
    base = None
    if reference is not None:
        heads = [each.head for each in found.metrics]
        if reference not in heads:
            raise HeadError(
                f"no run has the reference head {reference!r} (heads: {', '.join(heads)}); evaluate one"
            )
        base = heads.index(reference)
    return ResultsTable(
        split=split,
        rows=tuple(
            ResultRow(
                name=name,
                ccc=found.ccc([index]),
                difference=None if base in (None, index) else found.difference([index], [base]),
            )
            for index, name in enumerate(names)
        ),
        reference=None if base is None else names[base],
        unit=found.unit,
        random_weights=found.random_weights,
    )


def _names(runs: Sequence[Path], metrics: Sequence[RunMetrics]) -> list[str]:
    heads = [
        each.head if each.ensemble_size == 1 else f"{each.head}, ensemble of {each.ensemble_size}"
        for each in metrics
    ]
    return [
        head if heads.count(head) == 1 else f"{head} ({run.name})"
        for head, run in zip(heads, runs, strict=True)
    ]


def shown_interval(interval: Interval, sign: str = "") -> str:
    """``0.712 [0.650, 0.761]``.

    Args:
        interval: What to show.
        sign: ``+`` to show the sign of positive numbers too.
    """
    if math.isnan(interval.estimate):
        return "n/a"
    return f"{interval.estimate:{sign}.3f} {shown_bounds(interval, sign)}"


def shown_bounds(interval: Interval, sign: str = "") -> str:
    """``[0.650, 0.761]``."""
    if not math.isfinite(interval.low):
        return "[n/a]"
    return f"[{interval.low:{sign}.3f}, {interval.high:{sign}.3f}]"
