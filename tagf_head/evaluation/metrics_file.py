"""Content of metrics.json: the metrics of one evaluation, their intervals, and what they rest on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from cache.file_digest import file_digest
from tagf_head.config import TARGETS
from tagf_head.data.split_data import SplitData
from tagf_head.evaluation.bootstrap import CONFIDENCE, NUM_RESAMPLES, Interval, ccc_interval
from tagf_head.evaluation.calibration import Calibration
from tagf_head.evaluation.clip_metrics import ClipMetrics, clip_means, pooled_moments
from tagf_head.evaluation.ensemble import Ensemble, EnsemblePrediction
from tagf_head.evaluation.predictions import Predictions
from tagf_head.evaluation.reliability import Reliability
from tagf_head.evaluation.smoothing import Smoothing


def metrics_content(
    predictions: Predictions,
    data: SplitData,
    clips: Sequence[ClipMetrics],
    ensemble: Ensemble,
    predicted: EnsemblePrediction,
    *,
    ensemble_size: int,
    calibration: Mapping[str, Calibration],
    reliability: Reliability | None = None,
    smoothing: Smoothing | None = None,
    unsmoothed: Sequence[ClipMetrics] = (),
) -> dict[str, Any]:
    """What metrics.json holds.

    A metric that the labelled frames do not settle is None, as are the bounds of its interval; bounds are
    None, too, where fewer than two groups of clips have labels.

    Args:
        predictions: Of the split's frames.
        data: The split.
        clips: Its clips' metrics.
        ensemble: The heads.
        predicted: What the heads say.
        ensemble_size: Number of heads whose mean is a clip's prediction.
        calibration: Of each target; empty where no deviations are known.
        reliability: Of the modalities, where it was asked for.
        smoothing: What was done to the predictions; None for nothing.
        unsmoothed: The clips' metrics before that.
    """
    intervals = ccc_interval(
        predictions.values, data.label, data.label_mask, data.groups.of_rows(data.row_size)
    )
    metrics: dict[str, Any] = {}
    for name, moments in zip(TARGETS, pooled_moments(clips), strict=True):
        values = moments.defined_metrics()
        metrics[name] = values | _bounds(getattr(intervals, name), is_defined=values["ccc"] is not None)
    mean_ccc = _mean_ccc(metrics)
    mean_bounds = _bounds(intervals.mean, is_defined=mean_ccc is not None)
    infos = [member.checkpoint.info for member in ensemble.members]
    return metrics | {
        "mean_ccc": mean_ccc,
        **{f"mean_{name}": bound for name, bound in mean_bounds.items()},
        "interval": {
            "confidence": CONFIDENCE,
            "unit": data.groups.unit,
            "num_units": intervals.num_groups,
            "num_resamples": NUM_RESAMPLES,
        },
        "clip_mean": {name: clip_means(clips, column) for column, name in enumerate(TARGETS)},
        **_optional(
            gates={name: gate.summary() for name, gate in predicted.gates.items()},
            uncertainty=predicted.deviations.summary() if calibration else None,
            calibration={name: each.to_mapping() for name, each in calibration.items()},
            reliability=None if reliability is None else reliability.summary(data),
            smoothing=None if smoothing is None else asdict(smoothing) | {"without": _metrics_of(unsmoothed)},
        ),
        "split": data.name,
        "num_clips": len(data.clip_ids),
        "num_frames": data.counts.num_frames,
        "num_labelled_frames": data.counts.num_labelled,
        "num_masked_frames": data.counts.num_not_annotated,
        "num_missing_label_rows": data.counts.num_missing,
        "num_surplus_label_rows": data.counts.num_surplus,
        "num_clips_without_labels": data.counts.num_unlabelled_clips,
        "labels": asdict(ensemble.labels),
        "head": " + ".join(dict.fromkeys(info.train.head.name for info in infos)),
        "num_heads": len(infos),
        "checkpoints_sha256": [file_digest(member.path) for member in ensemble.members],
        "ensemble_size": ensemble_size,
        "seed": _only([info.train.seed for info in infos]),
        "random_weights": any(info.random_weights for info in infos),
    }


def _metrics_of(clips: Sequence[ClipMetrics]) -> dict[str, Any]:
    """Metrics of each target over the labelled frames of some clips, and the mean CCC."""
    metrics: dict[str, Any] = {
        name: moments.defined_metrics() for name, moments in zip(TARGETS, pooled_moments(clips), strict=True)
    }
    return metrics | {"mean_ccc": _mean_ccc(metrics)}


def _mean_ccc(metrics: Mapping[str, Any]) -> float | None:
    """Mean over the targets; None where one of them is not defined."""
    of_targets = [metrics[name]["ccc"] for name in TARGETS]
    return None if None in of_targets else sum(of_targets) / len(of_targets)


def _optional(**parts: dict[str, Any] | None) -> dict[str, dict[str, Any]]:
    """The parts that hold something."""
    return {name: part for name, part in parts.items() if part}


def _bounds(interval: Interval, *, is_defined: bool) -> dict[str, float | None]:
    return {
        f"ccc_{name}": bound if is_defined and math.isfinite(bound) else None
        for name, bound in (("low", interval.low), ("high", interval.high))
    }


def _only(values: Sequence[int]) -> int | None:
    """The value that all have, None where they differ."""
    return values[0] if len(set(values)) == 1 else None
