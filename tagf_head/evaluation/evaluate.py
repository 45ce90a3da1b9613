"""Evaluation of one head or an ensemble on some clips: metrics, predictions per frame, and what lies behind.

The metric is that of the ABAW challenges: windows that overlap are averaged per frame, then the CCC is
taken over all labelled frames of the clips together. docs/evaluation.md has the formulas.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tagf_head.annotations import load_annotations
from tagf_head.config import TARGETS, EvaluateConfig
from tagf_head.data.muted_rows import MutedRows
from tagf_head.data.split_data import Features, SplitData, load_clips, load_split, open_features
from tagf_head.devices import resolve_device
from tagf_head.errors import HeadError
from tagf_head.evaluation.calibration import Calibration, calibrate, write_calibration
from tagf_head.evaluation.clip_metrics import ClipMetrics, metrics_of_clips, write_clip_metrics
from tagf_head.evaluation.ensemble import check_official_split, load_ensemble, predict, unseen_clips
from tagf_head.evaluation.gate_weights import GateWeights, write_gates
from tagf_head.evaluation.metrics_file import metrics_content
from tagf_head.evaluation.predictions import Predictions, write_predictions
from tagf_head.evaluation.reliability import MODALITIES, Reliability, write_reliability
from tagf_head.evaluation.smoothing import Smoothing, smooth_clips
from tagf_head.evaluation.traces import write_traces
from tagf_head.run_folder import write_file


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """What an evaluation found.

    Attributes:
        metrics: Content of metrics.json.
        predictions: One row per frame of the clips.
        clips: Metrics of each clip.
        gates: Gate -> the weights that it gave its candidates; empty for heads without gates.
        calibration: Target -> how its deviations and its errors agree; empty where no deviations are known.
        reliability: Predictions without each modality, where they were asked for.
    """

    metrics: dict[str, Any]
    predictions: Predictions
    clips: tuple[ClipMetrics, ...]
    gates: dict[str, GateWeights]
    calibration: dict[str, Calibration]
    reliability: Reliability | None


def evaluate_head(
    features: Features,
    annotations: Path,
    checkpoint: Path | Sequence[Path],
    out_metrics: Path,
    predictions: Path | None = None,
    traces: Path | None = None,
    *,
    config: EvaluateConfig,
    clip_metrics: Path | None = None,
    gates: Path | None = None,
    calibration: Path | None = None,
    reliability: Path | None = None,
    smoothing: Smoothing | None = None,
    device: str | torch.device = "cpu",
) -> Evaluation:
    """Evaluate a checkpoint, or several as an ensemble, and write the results.

    Args:
        features: Feature store, or its path or URL, or those of several stores of one fingerprint, which must
            be the checkpoint's.
        annotations: The labels, as `load_annotations` takes them.
        checkpoint: A run's best.safetensors. Of several, each predicts by itself, with its own windows, and
            the predictions are averaged in float64. On the split `fold` each predicts the clips of its own
            fold alone, so that the folds of a cross-validation give out-of-fold predictions.
        out_metrics: Where to write metrics.json.
        predictions: Where to write predictions.parquet, if at all.
        traces: Where to write the traces of the first clips as CSV, if at all.
        config: Split, batch size and memory for rows.
        clip_metrics: Where to write the metrics of each clip as CSV, if at all.
        gates: Where to write the gates' weights per frame as Parquet, if at all.
        calibration: Where to write the coverage of the deviations' intervals as CSV, if at all.
        reliability: Where to write the predictions without each modality as Parquet, if at all; the heads
            then predict three times.
        smoothing: What is done to each clip's predictions over time before anything is measured or written;
            None for nothing. Metrics.json then says what the metrics are without it. Deviations and gates
            are not smoothed.
        device: Where the rows and the heads live; ``auto`` is a GPU where there is one. The heads compute in
            float32, or in float64 if they were trained in that.

    Returns:
        What was written, and more.

    Raises:
        HeadError: Checkpoint, labels or device cannot be used, gates are asked for and the heads have none in
            common, or calibration and no deviations are known.
        StaleFeatureError: The store holds other features than those that a head was trained on.
        CacheError: The store cannot be used.
    """
    target = resolve_device(device)
    store = open_features(features)
    paths = [checkpoint] if isinstance(checkpoint, (str, Path)) else checkpoint
    ensemble = load_ensemble([Path(path) for path in paths], device=target)
    for member in ensemble.members:
        store.require_spec(member.checkpoint.info.spec, where=str(member.path))
    if gates is not None and not ensemble.gate_candidates:
        gateless = [str(each.path) for each in ensemble.members if not each.checkpoint.head.gate_candidates]
        why = f"{gateless[0]} has no gates" if gateless else "the heads have no gates in common"
        raise HeadError(f"{gates}: {why}; leave the file of gates out, or evaluate other checkpoints")
    annotated = load_annotations(annotations, ensemble.labels.gold_standard)
    if config.split == "fold":
        clips = unseen_clips(ensemble, store, annotated)
        wanted = {clip_id for of_member in clips for clip_id in of_member}
        clip_ids = [clip_id for clip_id in store.clip_ids if clip_id in wanted]
        data = load_clips(
            store,
            annotated,
            clip_ids,
            name="fold",
            labels=ensemble.labels,
            device=target,
            rows_memory_gb=config.rows_memory_gb,
        )
    else:
        check_official_split(ensemble, config.split, annotated)
        data = load_split(
            store,
            annotated,
            config.split,
            labels=ensemble.labels,
            device=target,
            rows_memory_gb=config.rows_memory_gb,
        )
        clips = (data.clip_ids,) * len(ensemble.members)
    ensemble_size = sum(data.clip_ids[0] in of_member for of_member in clips)
    if calibration is not None and ensemble_size == 1 and not ensemble.predicts_deviations:
        lacking = next(each for each in ensemble.members if not each.checkpoint.info.train.head.uncertainty)
        raise HeadError(
            f"{calibration}: a head that was trained without --uncertainty says no deviations "
            f"({lacking.path}); train it with that, evaluate several heads as an ensemble, or "
            "leave the file of calibration out"
        )
    predicted = predict(ensemble, data, clips, config.batch_size)
    raw = Predictions(
        clip_ids=data.clip_ids,
        row_size=data.row_size,
        frame=data.source_frame,
        time_s=data.time_s,
        # Rounded before metrics are taken, so that whoever reads the file finds the same numbers.
        values=predicted.values.astype(np.float32),
        face_found=data.face_found,
        groups=data.groups,
        deviation=predicted.deviations.total(),
    )
    found = replace(raw, values=_smoothed(raw.values, data, smoothing))
    of_targets = {} if found.deviation is None else _calibration(found.values, found.deviation, data)
    without_modalities = None
    if reliability is not None:
        without = {
            modality: _smoothed(
                predict(
                    ensemble, replace(data, rows=MutedRows.of(data.rows, modality)), clips, config.batch_size
                ).values.astype(np.float32),
                data,
                smoothing,
            )
            for modality in MODALITIES
        }
        without_modalities = Reliability(values=found.values, without=without)
    of_clips = metrics_of_clips(found, data.label, data.label_mask)
    metrics = metrics_content(
        found,
        data,
        of_clips,
        ensemble,
        predicted,
        ensemble_size=ensemble_size,
        calibration=of_targets,
        reliability=without_modalities,
        smoothing=smoothing,
        unsmoothed=() if smoothing is None else metrics_of_clips(raw, data.label, data.label_mask),
    )
    if predictions is not None:
        write_predictions(predictions, found)
    if traces is not None:
        write_traces(traces, found, data, config.trace_clips)
    if clip_metrics is not None:
        write_clip_metrics(clip_metrics, of_clips)
    if gates is not None:
        write_gates(gates, found, predicted.gates)
    if calibration is not None:
        write_calibration(calibration, of_targets)
    if reliability is not None and without_modalities is not None:
        write_reliability(reliability, found, without_modalities)
    write_file(out_metrics, (json.dumps(metrics, indent=2, allow_nan=False) + "\n").encode())
    return Evaluation(
        metrics=metrics,
        predictions=found,
        clips=of_clips,
        gates=predicted.gates,
        calibration=of_targets,
        reliability=without_modalities,
    )


def _smoothed(
    values: NDArray[np.float32], data: SplitData, smoothing: Smoothing | None
) -> NDArray[np.float32]:
    """Predictions of the split's rows after the smoothing, if there is one."""
    return values if smoothing is None else smooth_clips(values, data.time_s, data.row_size, smoothing)


def _calibration(
    values: NDArray[np.float32], deviation: NDArray[np.float32], data: SplitData
) -> dict[str, Calibration]:
    """Calibration of each target, over the labelled frames."""
    labelled = data.label_mask
    error = data.label[labelled].astype(np.float64) - values[labelled]
    return {
        target: calibrate(error[:, column], deviation[labelled, column])
        for column, target in enumerate(TARGETS)
    }
