"""A run of an untrained, tiny head on features of the real widths, evaluated as a run is."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cache import ClipFeatures, ClipKey, FeatureStore, PartStore, pack_store
from pipeline.config import ExtractConfig, VisualConfig
from pipeline.feature_spec import feature_spec
from tagf_head.checkpoint import CheckpointInfo, clip_digests, save_checkpoint
from tagf_head.config import EvaluateConfig, HeadConfig, TrainConfig
from tagf_head.evaluation.evaluate import evaluate_head
from tagf_head.heads import build_head

EXTRACT = ExtractConfig(visual=VisualConfig(views=("center", "flip")))
TINY = {
    "visual_channels": (6,),
    "audio_channels": (6,),
    "num_steps": 1,  # a translation to ONNX takes seconds, in proportion to the number of operations
    "kernel_size": 3,
    "recurrent_features": 6,
    "attended_features": 4,
    "reference_length": 10,
    "num_layers": 1,
    "num_attention_heads": 2,
    "attention_features": 3,
    "model_features": 8,
    "feedforward_features": 12,
    "regressor_features": 8,
}
TRAINED_ON = ("anna-smith/1", "bo-jensen/2")
#: Shorter than the window, as long, and no multiple of the stride longer.
CLIPS = {"carla-diaz": 7, "dan-o-neil": 10, "eve-li": 31}


@dataclass(frozen=True)
class EvaluatedRun:
    """Where a run, its store and its labels lie."""

    folder: Path
    store: Path
    annotations: Path


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def make_info(**changes: Any) -> CheckpointInfo:
    head = HeadConfig(**TINY, uncertainty=True, visual_features=512, audio_features=128).resolved()
    settings = {
        "train": TrainConfig(head=head, window=10, stride=6),
        "spec": feature_spec(EXTRACT),
        "features_digest": "f" * 64,
        "annotations_digest": "a" * 64,
        "versions": {"torch": "2.11.0"},
        "key": "k" * 64,
        "best_epoch": 3,
        "validation_ccc": {"valence": 0.25, "arousal": 0.5, "mean": 0.375},
        "trained_on": clip_digests(TRAINED_ON),
    }
    return CheckpointInfo(**settings | changes)


@pytest.fixture(scope="session", name="make_info")
def _make_info() -> Callable[..., CheckpointInfo]:
    """A checkpoint's description, with some of it changed."""
    return make_info


@pytest.fixture(scope="session")
def write_run() -> Callable[..., Path]:
    """Writes a run's folder with a checkpoint of fresh weights alone."""

    def write(folder: Path, info: CheckpointInfo | None = None) -> Path:
        info = info or make_info()
        torch.manual_seed(1)
        save_checkpoint(folder / "best.safetensors", build_head(info.train.head).state_dict(), info)
        return folder

    return write


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory, write_run: Callable[..., Path]) -> EvaluatedRun:
    """A run with metrics.json and predictions.parquet; to be left alone."""
    folder = tmp_path_factory.mktemp("shared")
    store, annotations = folder / "features.zarr", folder / "annotations"
    _write_features(store, folder / "parts")
    generator = np.random.default_rng(1)
    (annotations / "Test_Set").mkdir(parents=True)
    for clip_id, num_frames in CLIPS.items():
        rows = "".join(f"{v:.4f},{a:.4f}\n" for v, a in generator.uniform(-1, 1, (num_frames, 2)))
        (annotations / "Test_Set" / f"{clip_id}.txt").write_text("valence,arousal\n" + rows)
    run = write_run(folder / "runs" / "tiny", make_info(features_digest=FeatureStore.open(store).digest))
    evaluate_head(
        store,
        annotations,
        run / "best.safetensors",
        run / "metrics.json",
        run / "predictions.parquet",
        config=EvaluateConfig(split="test"),
        device="cpu",
    )
    return EvaluatedRun(run, store, annotations)


def _write_features(store: Path, work: Path) -> None:
    spec = feature_spec(EXTRACT)
    generator = np.random.default_rng(0)
    part_store, parts = PartStore(work), []
    for clip_id, num_frames in CLIPS.items():
        face_found = generator.random(num_frames) > 0.2
        visual = generator.standard_normal((2, num_frames, 512)).astype(np.float16)
        visual[:, ~face_found] = 0
        clip = ClipFeatures(
            streams={
                "visual": visual,
                "audio": generator.standard_normal((num_frames, 128)).astype(np.float16),
            },
            time_s=np.arange(num_frames) / 25,
            source_frame=np.arange(num_frames, dtype=np.int64),
            face_found=face_found,
            audio_found=np.ones(num_frames, bool),
            face_box=np.zeros((num_frames, 4), np.float32),
            face_score=face_found.astype(np.float32),
        )
        key = ClipKey(
            clip_id=clip_id,
            media_sha256=hashlib.sha256(clip_id.encode()).hexdigest(),
            faces_sha256=None,
            selection="",
            fingerprint=spec.fingerprint,
        )
        part_store.commit(key, clip, {})
        parts.append((part_store, key))
    pack_store(parts, spec, store)
