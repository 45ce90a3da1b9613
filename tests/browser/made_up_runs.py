"""Run folders of tiny heads on made-up features, and what can be put into them that a page must withstand."""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from cache import ClipKey, PartStore, pack_store
from tagf_head.config import EvaluateConfig
from tagf_head.data.clip_groups import ClipGroups
from tagf_head.evaluation.evaluate import evaluate_head
from tagf_head.evaluation.gate_weights import GateWeights, frame_entropy, write_gates
from tagf_head.evaluation.predictions import Predictions, read_predictions, write_predictions
from tagf_head.training.train import train_head

_TRAINED_CLIPS = {"Train_Set": {"t1": 50, "t2": 33}, "Validation_Set": {"v1": 45}}


def _tiny_corpus() -> ModuleType:
    """The tests' tiny features and labels, by path: test folders are not importable by name."""
    path = Path(__file__).resolve().parents[1] / "tagf_head" / "conftest.py"
    spec = importlib.util.spec_from_file_location("tiny_corpus", path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["tiny_corpus"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@dataclass(frozen=True, kw_only=True)
class MadeUpClip:
    """A clip of the test split.

    Attributes:
        clip_id: Its name.
        times_s: ``(N,)`` times of its frames.
        is_labelled: Whether any frame has a label.
    """

    clip_id: str
    times_s: NDArray[np.float64]
    is_labelled: bool = True


def evenly(
    clip_id: str, num_frames: int, *, fps: float = 25, start_s: float = 0.0, **fields: Any
) -> MadeUpClip:
    """A clip of a constant frame rate."""
    return MadeUpClip(clip_id=clip_id, times_s=start_s + np.arange(num_frames) / fps, **fields)


def write_run(folder: Path, clips: Sequence[MadeUpClip], *, seed: int = 0) -> Path:
    """Train a tiny head with uncertainty on made-up features, and evaluate it on some clips.

    Args:
        folder: Where to; gets `run`, `annotations` and `features.zarr`.
        clips: The test split.
        seed: Of features and labels.

    Returns:
        The run folder.
    """
    tiny = _tiny_corpus()
    spec, generator = tiny.tiny_spec(), np.random.default_rng(seed)
    store, parts = PartStore(folder / "parts"), []
    sizes = {split: dict(of_split) for split, of_split in _TRAINED_CLIPS.items()}
    sizes["Test_Set"] = {clip.clip_id: len(clip.times_s) for clip in clips}
    made_up = {clip.clip_id: clip for clip in clips}
    for split, of_split in sizes.items():
        for clip_id, num_frames in of_split.items():
            emotion = tiny.make_emotion(num_frames, generator)
            features = tiny.make_clip(num_frames, emotion, generator)
            if clip := made_up.get(clip_id):
                features = replace(features, time_s=clip.times_s)
                if not clip.is_labelled:
                    emotion[:] = -5
            tiny.write_labels(folder / "annotations" / split / f"{clip_id}.txt", emotion)
            key = ClipKey(
                clip_id=clip_id,
                media_sha256=hashlib.sha256(clip_id.encode()).hexdigest(),
                faces_sha256=None,
                selection="",
                fingerprint=spec.fingerprint,
            )
            store.commit(key, features, {})
            parts.append((store, key))
    pack_store(parts, spec, folder / "features.zarr")
    run = folder / "runs" / "made_up"
    training = replace(
        tiny.TINY_TRAINING, head=replace(tiny.TINY_HEAD, uncertainty=True), max_epochs=3, seed=seed
    )
    train_head(folder / "features.zarr", folder / "annotations", run, training, work_dir=folder / "work")
    evaluate_head(
        folder / "features.zarr",
        folder / "annotations",
        run / "best.safetensors",
        run / "metrics.json",
        run / "predictions.parquet",
        config=EvaluateConfig(split="test"),
        clip_metrics=run / "clip_metrics.csv",
        gates=run / "gates.parquet",
        calibration=run / "calibration.csv",
    )
    return run


def rename_clips(run: Path, annotations: Path, names: Mapping[str, str]) -> None:
    """Give clips of a finished run other names, which no store and no file system would have taken.

    Args:
        run: The run folder, changed in place.
        annotations: Folder of the labels; those of renamed clips are gone.
        names: New name by old one.
    """
    predictions = read_predictions(run / "predictions.parquet")
    renamed = tuple(names.get(clip, clip) for clip in predictions.clip_ids)
    groups = ClipGroups(unit=predictions.groups.unit, group=renamed)
    write_predictions(run / "predictions.parquet", replace(predictions, clip_ids=renamed, groups=groups))
    gates = pq.read_table(run / "gates.parquet")
    clips = pa.array([names.get(clip, clip) for clip in gates["clip_id"].to_pylist()], pa.string())
    pq.write_table(gates.set_column(0, "clip_id", clips), run / "gates.parquet")
    with (run / "clip_metrics.csv").open(newline="") as file:
        lines = list(csv.reader(file))
    for line in lines[1:]:
        line[0] = line[1] = names.get(line[0], line[0])
    with (run / "clip_metrics.csv").open("w", newline="") as file:
        csv.writer(file).writerows(lines)


def change_strings(run: Path, change: Callable[[str], str]) -> None:
    """Put something else in place of every text in a run's settings, metrics and checkpoint.

    Args:
        run: The run folder, changed in place.
        change: New text by old one.
    """
    config = yaml.safe_load((run / "config.yaml").read_text())
    (run / "config.yaml").write_text(yaml.safe_dump(_changed(config, change), allow_unicode=True))
    metrics = json.loads((run / "metrics.json").read_text())
    (run / "metrics.json").write_text(json.dumps(_changed(metrics, change)))


def change_checkpoint(run: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the description that a run's checkpoint carries.

    Args:
        run: The run folder; its best.safetensors is written anew.
        change: Changes the description in place.
    """
    path = run / "best.safetensors"
    with safe_open(path, framework="np") as file:
        description = json.loads(file.metadata()["tagf"])
    change(description)
    save_file(load_file(path), path, metadata={"tagf": json.dumps(description)})


def _changed(value: Any, change: Callable[[str], str]) -> Any:
    """The same with every text that is a value changed; keys stay, since programs go by them."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {key: _changed(each, change) for key, each in value.items()}
    if isinstance(value, list):
        return [_changed(each, change) for each in value]
    return value


def write_long_clips(run: Path, annotations: Path, *, num_clips: int, num_frames: int) -> None:
    """Put the predictions of many long clips in place of a run's own.

    Args:
        run: The run folder, changed in place; its clip_metrics.csv is removed.
        annotations: Where to write their labels.
        num_clips: How many clips.
        num_frames: Frames of each, at 25 per second.
    """
    generator = np.random.default_rng(1)
    clip_ids = tuple(f"clip {number}" for number in range(num_clips))
    num_rows = num_clips * num_frames
    walk = np.cumsum(generator.normal(0, 0.05, (num_rows, 2)), axis=0)
    values = np.tanh(walk + generator.normal(0, 0.1, walk.shape)).astype(np.float32)
    predictions = Predictions(
        clip_ids=clip_ids,
        row_size=np.full(num_clips, num_frames),
        frame=np.tile(np.arange(num_frames), num_clips),
        time_s=np.tile(np.arange(num_frames) / 25, num_clips),
        values=values,
        face_found=generator.random(num_rows) > 0.05,
        groups=ClipGroups(unit="clip", group=clip_ids),
        deviation=generator.uniform(0.1, 0.4, (num_rows, 2)).astype(np.float32),
    )
    write_predictions(run / "predictions.parquet", predictions)
    weights = generator.dirichlet([1, 1, 1], num_rows)
    candidates = ("H0", "H1", "H2")
    gate = GateWeights(candidates=candidates, weights=weights, entropy=float(frame_entropy(weights).mean()))
    write_gates(run / "gates.parquet", predictions, {"visual": gate, "audio": gate})
    (run / "clip_metrics.csv").unlink()
    for number, clip_id in enumerate(clip_ids):
        rows = slice(number * num_frames, (number + 1) * num_frames)
        _tiny_corpus().write_labels(annotations / "Test_Set" / f"{clip_id}.txt", np.tanh(walk[rows]).round(4))
