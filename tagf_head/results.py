"""Several runs side by side: the CCC of each, and its paired difference to a reference head.

Whether two heads differ is read from the interval of the *difference* on the same resamples of subjects: the
intervals of the two CCCs may well overlap where the difference is clear, for most of their width is the
subjects' difficulty.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tagf_head.annotations import Annotations, Split, align_labels, load_annotations
from tagf_head.bootstrap import CccIntervals, Interval, ccc_interval, paired_ccc_difference, subject_of_rows
from tagf_head.errors import AnnotationError, HeadError
from tagf_head.predictions import Predictions, read_predictions
from tagf_head.run_folder import METRICS_FILE, PREDICTIONS_FILE

_COLUMNS = ("head", "valence CCC", "arousal CCC", "mean CCC", "mean CCC minus {reference}")

# metrics.json and the predictions of one evaluation give the same CCC but for rounding.
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
        random_weights: Whether the features of any run came from backbones with random weights.
    """

    split: str
    rows: tuple[ResultRow, ...]
    reference: str | None
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
        num_subjects = self.rows[0].ccc.num_subjects
        notes = [f"Split {self.split}; in brackets 95 % bootstrap intervals over {num_subjects} subjects."]
        if self.random_weights:
            notes.append(
                "The frozen backbones have random weights: these numbers say nothing about real media."
            )
        return notes


def collect_results(
    runs: Sequence[Path], annotations: Path, split: Split, *, reference: str | None = None
) -> ResultsTable:
    """Compare evaluated runs.

    Args:
        runs: Folders that hold metrics.json and predictions.parquet of one split.
        annotations: Folder of the labels.
        split: The split that was evaluated.
        reference: Name of the head to which the others are compared; no comparison by default.

    Raises:
        HeadError: A run lacks its files, was evaluated on another split or other frames, or no run has the
            reference head.
        AnnotationError: The labels are no longer those of the evaluation.
    """
    if not runs:
        raise HeadError("no runs to compare; give at least one run folder")
    metrics = [_read_metrics(run, split) for run in runs]
    predictions = [read_predictions(run / PREDICTIONS_FILE) for run in runs]
    for run, each in zip(runs, predictions, strict=True):
        if each.clip_ids != predictions[0].clip_ids or not np.array_equal(each.frame, predictions[0].frame):
            raise HeadError(
                f"{run / PREDICTIONS_FILE} and {runs[0] / PREDICTIONS_FILE} cover different frames "
                f"({len(each.frame)} and {len(predictions[0].frame)}); evaluate both on the same store"
            )
    label, mask = _labels_of(predictions[0], load_annotations(annotations), split)
    subject = subject_of_rows(predictions[0].clip_ids, predictions[0].row_size)
    names = _names(runs, metrics)
    base = None
    if reference is not None:
        heads = [str(each["head"]) for each in metrics]
        if reference not in heads:
            raise HeadError(
                f"no run has the reference head {reference!r} (heads: {', '.join(heads)}); evaluate one"
            )
        base = heads.index(reference)
    rows = []
    for index, (run, each) in enumerate(zip(runs, predictions, strict=True)):
        ccc = ccc_interval(each.values, label, mask, subject)
        if not math.isclose(ccc.mean.estimate, metrics[index]["mean_ccc"], rel_tol=0, abs_tol=_TOLERANCE):
            raise AnnotationError(
                f"{run / METRICS_FILE} gives a mean CCC of {metrics[index]['mean_ccc']:.6f}, its predictions "
                f"and the labels in {annotations} give {ccc.mean.estimate:.6f}; the labels have changed: "
                "evaluate again"
            )
        difference = None
        if base is not None and index != base:
            difference = paired_ccc_difference(each.values, predictions[base].values, label, mask, subject)
        rows.append(ResultRow(name=names[index], ccc=ccc, difference=difference))
    return ResultsTable(
        split=split,
        rows=tuple(rows),
        reference=None if base is None else names[base],
        random_weights=any(bool(each["random_weights"]) for each in metrics),
    )


def _read_metrics(run: Path, split: Split) -> dict[str, Any]:
    path = run / METRICS_FILE
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
        found = {name: metrics[name] for name in ("head", "split", "mean_ccc", "random_weights")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HeadError(f"{path} is missing or damaged ({error!r}); run the evaluation again") from error
    if found["split"] != split:
        raise HeadError(
            f"{path} is of split {found['split']!r}, expected {split!r}; evaluate the run on {split!r}"
        )
    return found


def _labels_of(
    predictions: Predictions, annotations: Annotations, split: Split
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """``(N, 2)`` labels and ``(N,)`` mask of the predictions' frames."""
    labels = annotations.clips(split)
    lacking = [clip_id for clip_id in predictions.clip_ids if clip_id not in labels]
    if lacking or len(labels) != len(predictions.clip_ids):
        raise AnnotationError(
            f"the predictions cover {len(predictions.clip_ids)} clips, split {split!r} in "
            f"{annotations.directory} has {len(labels)}"
            + (f" and lacks {lacking[0]!r}" if lacking else "")
            + "; the labels have changed: evaluate again"
        )
    frames = np.split(predictions.frame, np.cumsum(predictions.row_size)[:-1])
    aligned = [
        align_labels(labels[clip_id], frame)
        for clip_id, frame in zip(predictions.clip_ids, frames, strict=True)
    ]
    return np.concatenate([each.labels for each in aligned]), np.concatenate([each.mask for each in aligned])


def _names(runs: Sequence[Path], metrics: Sequence[dict[str, Any]]) -> list[str]:
    heads = [str(each["head"]) for each in metrics]
    return [
        head if heads.count(head) == 1 else f"{head} ({run.name})"
        for head, run in zip(heads, runs, strict=True)
    ]


def _shown(interval: Interval, sign: str) -> str:
    bounds = (
        f"[{interval.low:{sign}.3f}, {interval.high:{sign}.3f}]" if math.isfinite(interval.low) else "[n/a]"
    )
    return f"{interval.estimate:{sign}.3f} {bounds}"
