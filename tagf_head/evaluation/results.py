"""Several runs side by side: the CCC of each, and its paired difference to a reference head.

Whether two heads differ is read from the interval of the *difference* on the same resamples of subjects: the
intervals of the two CCCs may well overlap where the difference is clear, for most of their width is the
subjects' difficulty. What is resampled are the groups of clips that the evaluation found.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cache.file_digest import file_digest
from tagf_head.annotations import Annotations, load_annotations
from tagf_head.config import EvaluatedSplit, LabelConfig
from tagf_head.data.clip_groups import counted
from tagf_head.errors import AnnotationError, HeadError
from tagf_head.evaluation.bootstrap import CccIntervals, Interval, ccc_interval, paired_ccc_difference
from tagf_head.evaluation.predictions import Predictions, read_predictions
from tagf_head.run_folder import CHECKPOINT_FILE, METRICS_FILE, PREDICTIONS_FILE

_COLUMNS = ("head", "valence CCC", "arousal CCC", "mean CCC", "mean CCC minus {reference}")

# metrics.json is taken from the numbers that stand in the predictions.
_TOLERANCE = 1e-6


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
        cells = [[cell.replace("|", r"\|") for cell in line] for line in self._cells()]
        widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
        header, *body = (
            "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
            for line in cells
        )
        rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
        return "\n".join([header, rule, *body, "", *self._notes()]) + "\n"

    def _cells(self) -> list[list[str]]:
        shown = len(_COLUMNS) if self.reference is not None else len(_COLUMNS) - 1
        header = [column.format(reference=self.reference) for column in _COLUMNS[:shown]]
        lines = []
        for row in self.rows:
            line = [
                row.name,
                *(_shown(interval, "") for interval in (row.ccc.valence, row.ccc.arousal, row.ccc.mean)),
            ]
            if self.reference is not None:
                line.append("reference" if row.difference is None else _shown(row.difference.mean, "+"))
            lines.append(line)
        return [header, *lines]

    def _notes(self) -> list[str]:
        units = counted(self.rows[0].ccc.num_groups, self.unit)
        notes = [f"Split {self.split}; in brackets 95 % bootstrap intervals over {units}."]
        if self.random_weights:
            notes.append(
                "The frozen backbones have random weights: these numbers say nothing about real media."
            )
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
    metrics = [_read_metrics(run, split) for run in runs]
    predictions = [read_predictions(run / PREDICTIONS_FILE) for run in runs]
    _check_alike(runs, metrics, predictions)
    labels = metrics[0].labels
    label, mask = _labels_of(
        predictions[0], load_annotations(annotations, labels.gold_standard), split, labels
    )
    group = predictions[0].groups.of_rows(predictions[0].row_size)
    names = _names(runs, metrics)
    base = None
    if reference is not None:
        heads = [each.head for each in metrics]
        if reference not in heads:
            raise HeadError(
                f"no run has the reference head {reference!r} (heads: {', '.join(heads)}); evaluate one"
            )
        base = heads.index(reference)
    rows = []
    for index, (run, each) in enumerate(zip(runs, predictions, strict=True)):
        ccc = ccc_interval(each.values, label, mask, group)
        _check_labels(run, metrics[index], ccc.mean.estimate, annotations)
        difference = None
        if base is not None and index != base:
            difference = paired_ccc_difference(each.values, predictions[base].values, label, mask, group)
            difference = _where_labels_vary(difference, label[mask])
        ccc = _where_labels_vary(ccc, label[mask])
        rows.append(ResultRow(name=names[index], ccc=ccc, difference=difference))
    return ResultsTable(
        split=split,
        rows=tuple(rows),
        reference=None if base is None else names[base],
        unit=predictions[0].groups.unit,
        random_weights=any(each.random_weights for each in metrics),
    )


@dataclass(frozen=True, kw_only=True)
class _RunMetrics:
    """What the table takes from a run's metrics.json."""

    head: str
    ensemble_size: int
    mean_ccc: float | None
    labels: LabelConfig
    random_weights: bool


def _read_metrics(run: Path, split: str) -> _RunMetrics:
    path = run / METRICS_FILE
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        found = _RunMetrics(
            head=str(content["head"]),
            ensemble_size=int(content["ensemble_size"]),
            mean_ccc=None if content["mean_ccc"] is None else float(content["mean_ccc"]),
            labels=LabelConfig(**content["labels"]),
            random_weights=bool(content["random_weights"]),
        )
        found_split, checkpoints = content["split"], content["checkpoints_sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HeadError(f"{path} is missing or damaged ({error!r}); run the evaluation again") from error
    if found_split != split:
        raise HeadError(
            f"{path} is of split {found_split!r}, expected {split!r}; evaluate the run on {split!r}"
        )
    # A run that was trained again has the former head's metrics until it is evaluated.
    checkpoint = run / CHECKPOINT_FILE
    if checkpoint.is_file() and file_digest(checkpoint) not in checkpoints:
        raise HeadError(
            f"{path} is of another head than {checkpoint}, which was trained since; evaluate the run again"
        )
    return found


def _check_alike(
    runs: Sequence[Path], metrics: Sequence[_RunMetrics], predictions: Sequence[Predictions]
) -> None:
    """Differences are paired: all runs must have the same frames, labels and groups."""
    first = predictions[0]
    for run, of_run, each in zip(runs, metrics, predictions, strict=True):
        here, there = run / PREDICTIONS_FILE, runs[0] / PREDICTIONS_FILE
        if each.clip_ids != first.clip_ids or not np.array_equal(each.frame, first.frame):
            raise HeadError(
                f"{here} and {there} cover different frames ({len(each.frame)} and {len(first.frame)}); "
                "evaluate both on the same store"
            )
        if each.groups != first.groups:
            raise HeadError(
                f"{here} groups its clips by {each.groups.unit}, {there} by {first.groups.unit}, or into "
                "others; evaluate both on the same store and the same labels"
            )
        if of_run.labels != metrics[0].labels:
            raise HeadError(
                f"{run / METRICS_FILE} is of labels with {of_run.labels}, {runs[0] / METRICS_FILE} of labels "
                f"with {metrics[0].labels}; compare heads that were trained on the same labels"
            )


def _check_labels(run: Path, metrics: _RunMetrics, mean_ccc: float, annotations: Path) -> None:
    """The labels at hand must be those of the evaluation."""
    said = metrics.mean_ccc
    if said is not None and not math.isclose(mean_ccc, said, rel_tol=0, abs_tol=_TOLERANCE):
        raise AnnotationError(
            f"{run / METRICS_FILE} gives a mean CCC of {said:.6f}, its predictions and the labels in "
            f"{annotations} give {mean_ccc:.6f}; the labels have changed: evaluate again"
        )


def _labels_of(
    predictions: Predictions, annotations: Annotations, split: EvaluatedSplit, labels: LabelConfig
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """``(N, 2)`` labels and ``(N,)`` mask of the predictions' frames."""
    if split != "fold":
        expected = set(annotations.clip_ids(split))
        lacking = [clip_id for clip_id in predictions.clip_ids if clip_id not in expected]
        if lacking or len(expected) != len(predictions.clip_ids):
            raise AnnotationError(
                f"the predictions cover {len(predictions.clip_ids)} clips, split {split!r} in "
                f"{annotations.path} has {len(expected)}"
                + (f" and lacks {lacking[0]!r}" if lacking else "")
                + "; the labels have changed: evaluate again"
            )
    stops = np.cumsum(predictions.row_size)[:-1]
    aligned = [
        annotations.align(clip_id, source_frame=frame, time_s=time_s, delay_s=labels.delay_s)
        for clip_id, frame, time_s in zip(
            predictions.clip_ids,
            np.split(predictions.frame, stops),
            np.split(predictions.time_s, stops),
            strict=True,
        )
    ]
    return np.concatenate([each.labels for each in aligned]), np.concatenate([each.mask for each in aligned])


def _where_labels_vary(intervals: CccIntervals, label: NDArray[np.float32]) -> CccIntervals:
    """The intervals, NaN for a target whose labels are all the same and for the mean that it enters."""
    is_constant = (label == label[0]).all(axis=0)
    nothing = Interval(estimate=math.nan, low=math.nan, high=math.nan)
    return replace(
        intervals,
        valence=nothing if is_constant[0] else intervals.valence,
        arousal=nothing if is_constant[1] else intervals.arousal,
        mean=nothing if is_constant.any() else intervals.mean,
    )


def _names(runs: Sequence[Path], metrics: Sequence[_RunMetrics]) -> list[str]:
    heads = [
        each.head if each.ensemble_size == 1 else f"{each.head}, ensemble of {each.ensemble_size}"
        for each in metrics
    ]
    return [
        head if heads.count(head) == 1 else f"{head} ({run.name})"
        for head, run in zip(heads, runs, strict=True)
    ]


def _shown(interval: Interval, sign: str) -> str:
    if math.isnan(interval.estimate):
        return "n/a"
    bounds = (
        f"[{interval.low:{sign}.3f}, {interval.high:{sign}.3f}]" if math.isfinite(interval.low) else "[n/a]"
    )
    return f"{interval.estimate:{sign}.3f} {bounds}"
