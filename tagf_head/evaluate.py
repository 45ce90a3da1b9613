"""Evaluation of a checkpoint on one split: metrics, predictions per frame, traces to plot.

The metric is that of the ABAW challenges: windows that overlap are averaged per frame, then the CCC is
taken over all labelled frames of the split together.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tagf_head.annotations import TARGETS, load_annotations
from tagf_head.bootstrap import CONFIDENCE, NUM_RESAMPLES, Interval, ccc_interval, subject_of_rows
from tagf_head.checkpoint import Checkpoint, load_checkpoint
from tagf_head.config import EvaluateConfig
from tagf_head.data import Features, SplitData, load_split, open_features
from tagf_head.devices import resolve_device
from tagf_head.metrics import regression_metrics
from tagf_head.predictions import Predictions, write_predictions
from tagf_head.run_folder import csv_bytes, write_file
from tagf_head.stitching import predict_rows
from tagf_head.windows import plan_windows

_SUBJECT_UNIT = "clip, with _left and _right of one video as one"


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """What an evaluation found.

    Attributes:
        metrics: Content of metrics.json.
        predictions: One row per frame of the split.
    """

    metrics: dict[str, Any]
    predictions: Predictions


def evaluate_head(
    features: Features,
    annotations: Path,
    checkpoint: Path,
    out_metrics: Path,
    predictions: Path | None = None,
    plots: Path | None = None,
    *,
    config: EvaluateConfig,
    device: str | torch.device = "cpu",
) -> Evaluation:
    """Evaluate a checkpoint and write the results.

    Args:
        features: Feature store, or its path or URL, or those of several stores of one fingerprint, which must
            be the checkpoint's.
        annotations: Folder of the labels.
        checkpoint: A run's best.safetensors.
        out_metrics: Where to write metrics.json.
        predictions: Where to write predictions.parquet, if at all.
        plots: Where to write the traces of the split's first clips as CSV, if at all.
        config: Split and batch size.
        device: Where the rows and the head live; ``auto`` is a GPU where there is one.

    Returns:
        The metrics and the predictions.

    Raises:
        HeadError: Checkpoint, labels or device cannot be used.
        StaleFeatureError: The store holds other features than those that the head was trained on.
        CacheError: The store cannot be used.
    """
    target = resolve_device(device)
    store = open_features(features)
    trained = load_checkpoint(checkpoint, device=target)
    store.require_spec(trained.info.spec, where=str(checkpoint))
    data = load_split(store, load_annotations(annotations), config.split, target)
    plan = plan_windows(data.row_size, trained.info.train.window, trained.info.train.stride)
    found = Predictions(
        clip_ids=data.clip_ids,
        row_size=data.row_size,
        frame=data.source_frame,
        time_s=data.time_s,
        values=predict_rows(trained.head, data.rows, plan, config.batch_size),
        face_found=data.face_found,
    )
    metrics = split_metrics(found, data, trained)
    if predictions is not None:
        write_predictions(predictions, found)
    if plots is not None:
        write_traces(plots, found, data, config.trace_clips)
    write_file(out_metrics, (json.dumps(metrics, indent=2, allow_nan=False) + "\n").encode())
    return Evaluation(metrics=metrics, predictions=found)


def split_metrics(predictions: Predictions, data: SplitData, checkpoint: Checkpoint) -> dict[str, Any]:
    """Content of metrics.json: metrics per target, intervals of the CCC, and what they rest on.

    The bounds of an interval are null where fewer than two subjects have labels.
    """
    subject = subject_of_rows(data.clip_ids, data.row_size)
    intervals = ccc_interval(predictions.values, data.label, data.label_mask, subject)
    metrics: dict[str, Any] = {}
    for column, name in enumerate(TARGETS):
        values = regression_metrics(predictions.values[:, column], data.label[:, column], data.label_mask)
        metrics[name] = values | _bounds(getattr(intervals, name))
    mean_ccc = (metrics["valence"]["ccc"] + metrics["arousal"]["ccc"]) / 2
    return metrics | {
        "mean_ccc": mean_ccc,
        **{f"mean_{name}": bound for name, bound in _bounds(intervals.mean).items()},
        "interval": {
            "confidence": CONFIDENCE,
            "unit": _SUBJECT_UNIT,
            "num_units": intervals.num_subjects,
            "num_resamples": NUM_RESAMPLES,
        },
        "split": data.split,
        "num_clips": len(data.clip_ids),
        "num_frames": data.counts.num_frames,
        "num_labelled_frames": data.counts.num_labelled,
        "num_masked_frames": data.counts.num_not_annotated,
        "num_missing_label_rows": data.counts.num_missing,
        "num_surplus_label_rows": data.counts.num_surplus,
        "num_clips_without_labels": data.counts.num_unlabelled_clips,
        "head": checkpoint.info.train.head.name,
        "seed": checkpoint.info.train.seed,
        "random_weights": checkpoint.info.random_weights,
    }


def write_traces(path: Path, predictions: Predictions, data: SplitData, num_clips: int) -> None:
    """True and predicted course of the first clips, one line per frame, target and series, for `dvc plots`.

    Columns: clip_id, time_s, target (valence or arousal), series (true or predicted), value. There is no
    `true` line where a frame has no label.
    """
    starts = np.cumsum(data.row_size) - data.row_size
    lines = [
        (clip_id, f"{data.time_s[row]:.6f}", target, series, f"{values[row, column]:.6f}")
        for clip_id, start, size in list(zip(data.clip_ids, starts, data.row_size, strict=True))[:num_clips]
        for column, target in enumerate(TARGETS)
        for series, values, shown in (
            ("true", data.label, data.label_mask),
            ("predicted", predictions.values, np.ones_like(data.label_mask)),
        )
        for row in range(start, start + size)
        if shown[row]
    ]
    write_file(path, csv_bytes(("clip_id", "time_s", "target", "series", "value"), lines))


def _bounds(interval: Interval) -> dict[str, float | None]:
    return {
        f"ccc_{name}": bound if math.isfinite(bound) else None
        for name, bound in (("low", interval.low), ("high", interval.high))
    }
