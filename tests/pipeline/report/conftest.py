"""A made-up run, a folder of predictions and labels, small and without a head behind them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tagf_head.data.clip_groups import ClipGroups
from tagf_head.evaluation.clip_metrics import metrics_of_clips, write_clip_metrics
from tagf_head.evaluation.gate_weights import GateWeights, write_gates
from tagf_head.evaluation.predictions import Predictions, write_predictions

SIZES = {"calm": 40, "joy/left": 25, "sad": 31}
FRAME_S = 0.04


@dataclass(frozen=True)
class MadeUpRun:
    folder: Path
    annotations: Path
    predictions: Predictions
    labels: dict[str, np.ndarray]
    gates: dict[str, GateWeights]

    def rows(self, clip_id: str) -> slice:
        stops = np.cumsum(self.predictions.row_size)
        index = self.predictions.clip_ids.index(clip_id)
        return slice(stops[index] - self.predictions.row_size[index], stops[index])


def make_predictions(
    sizes: dict[str, int], rng: np.random.Generator, *, deviation: bool = True
) -> Predictions:
    total = sum(sizes.values())
    return Predictions(
        clip_ids=tuple(sizes),
        row_size=np.array([*sizes.values()], np.int64),
        frame=np.concatenate([np.arange(size) for size in sizes.values()]),
        time_s=np.concatenate([np.arange(size) * FRAME_S + 0.2 for size in sizes.values()]),
        values=rng.uniform(-0.9, 0.9, (total, 2)).astype(np.float32),
        face_found=rng.random(total) > 0.2,
        groups=ClipGroups(unit="subject", group=tuple(f"person of {name}" for name in sizes)),
        deviation=rng.uniform(0.1, 0.3, (total, 2)).astype(np.float32) if deviation else None,
    )


def make_gates(num_rows: int, rng: np.random.Generator) -> dict[str, GateWeights]:
    found = {}
    for name in ("visual", "audio"):
        weights = rng.dirichlet((1.0, 2.0, 3.0), num_rows)
        found[name] = GateWeights(candidates=("H0", "H1", "H2"), weights=weights, entropy=0.5)
    return found


def metrics_mapping(**more: Any) -> dict[str, Any]:
    target = {"ccc": 0.5, "pcc": 0.6, "rmse": 0.2, "mae": 0.1, "sagr": 0.8, "ccc_low": 0.3, "ccc_high": 0.7}
    return {
        "valence": target,
        "arousal": {**target, "ccc": 0.25, "ccc_low": -0.1, "ccc_high": 0.4},
        "mean_ccc": 0.375,
        "mean_ccc_low": 0.2,
        "mean_ccc_high": 0.5,
        "interval": {"confidence": 0.95, "unit": "subject", "num_units": 3, "num_resamples": 2000},
        "split": "test",
        "num_clips": 3,
        "num_frames": 96,
        "num_labelled_frames": 90,
        "head": "tagf",
        "ensemble_size": 1,
        "labels": {"gold_standard": "mean", "delay_s": 0.0},
        "checkpoints_sha256": [],
        "random_weights": True,
        **more,
    }


CONFIG = {
    "train": {"head": {"name": "tagf"}, "lr": 0.001, "labels": {"gold_standard": "mean", "delay_s": 0.0}},
    "seed": 3,
    "best_epoch": 2,
    "trained_on": ["a", "b"],
    "features": {
        "fingerprint": "f00d",
        "digest": "beef",
        "random_weights": True,
        "spec": {"settings": {"visual.backbone": "ir50", "visual.weights": "random:0/v1"}},
    },
    "annotations_digest": "cafe",
    "versions": {"python": "3.11", "torch": "2.11"},
}


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> MadeUpRun:
    """A run with everything in it; tests copy what they change."""
    top = tmp_path_factory.mktemp("report")
    folder, annotations = top / "runs" / "mine", top / "labels"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(4)
    predictions = make_predictions(SIZES, rng)
    gates = make_gates(len(predictions.frame), rng)
    labels = {}
    for clip_id, size in SIZES.items():
        labels[clip_id] = np.round(np.clip(rng.normal(0, 0.4, (size, 2)), -1, 1), 6)
        labels[clip_id][3::9] = -5
        path = annotations / "Test_Set" / f"{clip_id}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("valence,arousal\n" + "".join(f"{v},{a}\n" for v, a in labels[clip_id]))
    write_predictions(folder / "predictions.parquet", predictions)
    write_gates(folder / "gates.parquet", predictions, gates)
    label = np.concatenate([*labels.values()]).astype(np.float32)
    clips = metrics_of_clips(predictions, label, (label > -5).all(axis=1))
    write_clip_metrics(folder / "clip_metrics.csv", clips)
    (folder / "metrics.json").write_text(json.dumps(metrics_mapping()))
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    (folder / "training_log.csv").write_text(
        "epoch,train_loss,lr,validation_ccc_valence,validation_ccc_arousal,validation_ccc_mean\n"
        "1,1.5,0.001,0.1,0.2,0.15\n2,0.75,0.001,0.4,0.3,0.35\n3,0.5,0.001,0.2,,\n"
    )
    return MadeUpRun(folder, annotations, predictions, labels, gates)
