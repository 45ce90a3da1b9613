"""Evaluated runs side by side: the same frames, labels and groups, so that their CCCs can be compared.

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
from tagf_head.errors import AnnotationError, HeadError
from tagf_head.evaluation.bootstrap import (
    CccIntervals,
    ccc_interval,
    paired_ccc_difference,
    where_labels_vary,
)
from tagf_head.evaluation.predictions import Predictions, read_predictions
from tagf_head.run_folder import CHECKPOINT_FILE, METRICS_FILE, PREDICTIONS_FILE

# metrics.json is taken from the numbers that stand in the predictions.
_TOLERANCE = 1e-6


@dataclass(frozen=True, kw_only=True)
class RunMetrics:
    """What a comparison takes from a run's metrics.json.

    Attributes:
        head: Name of the head.
        ensemble_size: Number of heads whose mean is a clip's prediction.
        mean_ccc: Mean CCC; None where the labels do not settle it.
        labels: How the labels were made.
        random_weights: Whether the features came from backbones with random weights.
    """

    head: str
    ensemble_size: int
    mean_ccc: float | None
    labels: LabelConfig
    random_weights: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class EvaluatedRuns:
    """Runs that were evaluated on the same frames of one split.

    Attributes:
        metrics: Of each run.
        predictions: Of each run.
        label: ``(N, 2)`` float32.
        mask: ``(N,)`` bool, false where there is no label.
        group: ``(N,)`` int64, number of each row's group.
    """

    metrics: tuple[RunMetrics, ...]
    predictions: tuple[Predictions, ...]
    label: NDArray[np.float32]
    mask: NDArray[np.bool_]
    group: NDArray[np.int64]

    @property
    def unit(self) -> str:
        """What the intervals resample."""
        return self.predictions[0].groups.unit

    @property
    def random_weights(self) -> bool:
        """Whether the features of any run came from backbones with random weights."""
        return any(each.random_weights for each in self.metrics)

    def ccc(self, runs: Sequence[int]) -> CccIntervals:
        """CCC with intervals, averaged over some runs; NaN where the labels do not settle it.

        Args:
            runs: Their numbers.
        """
        return where_labels_vary(
            ccc_interval(self._values(runs), self.label, self.mask, self.group), self.label, self.mask
        )

    def difference(self, runs: Sequence[int], others: Sequence[int]) -> CccIntervals:
        """CCC of some runs minus that of others, each averaged, on the same resamples."""
        return where_labels_vary(
            paired_ccc_difference(
                self._values(runs), self._values(others), self.label, self.mask, self.group
            ),
            self.label,
            self.mask,
        )

    def _values(self, runs: Sequence[int]) -> NDArray[np.float32]:
        return np.stack([self.predictions[run].values for run in runs])


def read_runs(runs: Sequence[Path], annotations: Path, split: EvaluatedSplit) -> EvaluatedRuns:
    """Read evaluated runs, and check that they can be compared.

    Args:
        runs: Folders that hold metrics.json and predictions.parquet of one split, at least one.
        annotations: The labels, as `load_annotations` takes them.
        split: The split that was evaluated.

    Raises:
        HeadError: A run lacks its files, or was evaluated on another split, other frames, other labels or
            other groups of clips than the rest.
        AnnotationError: The labels are no longer those of the evaluation.
    """
    metrics = [_read_metrics(run, split) for run in runs]
    predictions = _read_alike(runs, metrics)
    labels = metrics[0].labels
    label, mask = _labels_of(
        predictions[0], load_annotations(annotations, labels.gold_standard), split, labels
    )
    found = EvaluatedRuns(
        metrics=tuple(metrics),
        predictions=tuple(predictions),
        label=label,
        mask=mask,
        group=predictions[0].groups.of_rows(predictions[0].row_size),
    )
    for index, run in enumerate(runs):
        _check_labels(run, metrics[index], found.ccc([index]).mean.estimate, annotations)
    return found


def _read_metrics(run: Path, split: str) -> RunMetrics:
    path = run / METRICS_FILE
    if not path.exists() and (trial := next(run.glob("*/seed-*"), None)) is not None:
        raise HeadError(
            f"{run} is a folder of 'tagf compare', expected that of a run; read its comparison.md, or give "
            f"its trials (HEAD/seed-N), for example {trial}"
        )
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        found = RunMetrics(
            head=str(content["head"]),
            ensemble_size=int(content["ensemble_size"]),
            mean_ccc=None if content["mean_ccc"] is None else float(content["mean_ccc"]),
            labels=LabelConfig(**content["labels"]),
            random_weights=bool(content["random_weights"]),
        )
        found_split, checkpoints = content["split"], content["checkpoints_sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        what = "is missing" if isinstance(error, FileNotFoundError) else f"is damaged ({error!r})"
        raise HeadError(f"{path} {what}; run 'tagf evaluate' of this run again") from error
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


def _read_alike(runs: Sequence[Path], metrics: Sequence[RunMetrics]) -> list[Predictions]:
    """Differences are paired: all runs must have the same frames, labels and groups.

    What they share is held once: a table has a hundred runs of a million frames.
    """
    first = read_predictions(runs[0] / PREDICTIONS_FILE)
    found = [first]
    for run, of_run in zip(runs[1:], metrics[1:], strict=True):
        each = read_predictions(run / PREDICTIONS_FILE)
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
        found.append(replace(first, values=each.values, face_found=each.face_found, deviation=each.deviation))
    return found


def _check_labels(run: Path, metrics: RunMetrics, mean_ccc: float, annotations: Path) -> None:
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
