"""Predictions of a store's clips against those of evaluation, to the last bit."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from cache import ClipFeatures, ClipKey, FeatureSpec, FeatureStore, PartStore, StreamSpec, pack_store
from cache.errors import StaleFeatureError
from pipeline.prediction.store_predictor import StorePredictor
from tagf_head.checkpoint import CheckpointInfo, save_checkpoint
from tagf_head.config import EvaluateConfig, HeadConfig, TrainConfig
from tagf_head.evaluation.evaluate import evaluate_head
from tagf_head.evaluation.smoothing import Smoothing
from tagf_head.heads import build_head

HEAD = HeadConfig(
    name="tagf",
    visual_features=6,
    audio_features=8,
    visual_channels=(8,),
    audio_channels=(6,),
    kernel_size=3,
    attended_features=4,
    regressor_features=8,
    uncertainty=True,
)
NUM_FRAMES = {"long": 150, "short": 7}


def write_store(folder: Path, **settings: str) -> Path:
    """Features that no stage one has made."""
    streams = (
        StreamSpec(name="visual", num_features=6, views=("flip", "center")),
        StreamSpec(name="audio", num_features=8),
    )
    spec = FeatureSpec(streams=streams, settings={"imported.from": "elsewhere", **settings})
    rng, store, parts = np.random.default_rng(0), PartStore(folder / "parts"), []
    for clip_id, size in NUM_FRAMES.items():
        key = ClipKey(
            clip_id=clip_id,
            media_sha256=hashlib.sha256(clip_id.encode()).hexdigest(),
            faces_sha256=None,
            selection="",
            fingerprint=spec.fingerprint,
        )
        features = ClipFeatures(
            streams={
                "visual": rng.standard_normal((2, size, 6)).astype(np.float16),
                "audio": rng.standard_normal((size, 8)).astype(np.float16),
            },
            time_s=np.arange(size) / 30,
            source_frame=2 * np.arange(size, dtype=np.int64),
            face_found=np.ones(size, bool),
            audio_found=np.ones(size, bool),
            face_box=np.zeros((size, 4), np.float32),
            face_score=np.ones(size, np.float32),
        )
        store.commit(key, features, {})
        parts.append((store, key))
        labels = folder / "annotations" / "Test_Set" / f"{clip_id}.txt"
        labels.parent.mkdir(parents=True, exist_ok=True)
        labels.write_text("valence,arousal\n" + "0.5,-0.5\n0.25,0.5\n" * (size // 2 + 1))
    pack_store(parts, spec, folder / "features.zarr")
    return folder / "features.zarr"


def write_head(path: Path, store: FeatureStore, seed: int) -> Path:
    info = CheckpointInfo(
        train=TrainConfig(head=HEAD, window=20, stride=12, seed=seed),
        spec=store.spec,
        features_digest=store.digest,
        annotations_digest="0" * 64,
        versions={},
        key="0" * 64,
        best_epoch=1,
        validation_ccc={"valence": 0.0, "arousal": 0.0, "mean": 0.0},
        trained_on=(),
    )
    torch.manual_seed(seed)
    save_checkpoint(path, build_head(HEAD).state_dict(), info)
    return path


@pytest.mark.parametrize("smoothing", [None, Smoothing(kind="median", seconds=0.2)])
def test_predictions_are_those_of_evaluation(tmp_path: Path, smoothing: Smoothing | None) -> None:
    torch.set_num_threads(1)
    path = write_store(tmp_path)
    store = FeatureStore.open(path)
    heads = [write_head(tmp_path / f"{seed}.safetensors", store, seed) for seed in (0, 1)]
    expected = evaluate_head(
        path,
        tmp_path / "annotations",
        heads,
        tmp_path / "metrics.json",
        config=EvaluateConfig(split="test", batch_size=3),
        smoothing=smoothing,
    )
    predictor = StorePredictor.from_checkpoint(heads, device="cpu", smoothing=smoothing)
    blocks = [block for clip_id in store.clip_ids for block in predictor.stream_store(store, clip_id)]
    found = expected.predictions
    assert found.clip_ids == store.clip_ids
    for name in ("frame", "time_s", "values", "face_found", "deviation"):
        both = [np.concatenate([getattr(block, name) for block in blocks]), getattr(found, name)]
        np.testing.assert_array_equal(*both, err_msg=name)
    for gate, weights in expected.gates.items():
        ours = np.concatenate([block.gates[gate] for block in blocks])
        np.testing.assert_array_equal(ours, weights.weights.astype(np.float32))


def test_other_features_are_refused(tmp_path: Path) -> None:
    store = FeatureStore.open(write_store(tmp_path / "a"))
    other = FeatureStore.open(write_store(tmp_path / "b", more="settings"))
    head = write_head(tmp_path / "head.safetensors", store, 0)
    predictor = StorePredictor.from_checkpoint([head], device="cpu", smoothing=None)
    with pytest.raises(StaleFeatureError, match="more"):
        next(predictor.stream_store(other, "long"))
