"""A project as the documentation speaks of it, so small that every command in it takes a moment.

Its media, labels, stores and runs are real and made by the commands themselves; the backbones are those of
`tiny_backbones.py`, and heads are eight wide.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from pipeline.cli import main

PARAMS = """\
data:
  source: data/corpus/videos
extract:
  visual: {backbone: "tiny_backbones:TinyFaces", weights: "", views: [center]}
  audio: {backbone: "tiny_backbones:TinyMel", weights: "", anchor: end}
  faces: {detect_every: 8, min_size_px: 60}
train:
  head:
    visual_channels: [8]
    audio_channels: [8]
    regressor_features: 8
    recurrent_features: 8
    model_features: 8
    feedforward_features: 8
  window: 20
  stride: 15
  lr: 0.001
  warmup_epochs: 0
  max_epochs: 1
evaluate: {folds: 3}
robustness: {shift_s: [0, 0.2], noise_snr_db: [0], drop_percent: [50]}
compare: {heads: [tagf, concat], seeds: [0]}
"""
TRAIN, OTHERS = ("subject_000", "subject_001"), ("subject_002", "subject_003")
DATA = "--features data/features.zarr --annotations data/corpus/annotations"
EXTRACT = "--params params.yaml --workers 1"
RUN = "--checkpoint runs/tagf/best.safetensors"
# What the pages take for granted: first what everything else is copied from ...
COMMANDS = (
    "sample-corpus data/corpus --clips 4 --seconds 1 --fps 15 --workers 1",
    f"extract --source data/corpus/videos --out data/features.zarr {EXTRACT}",
    f"train {DATA} --out runs/tagf --params params.yaml --uncertainty",
    f"evaluate {DATA} {RUN} --split test --out runs/tagf/metrics.json "
    "--predictions runs/tagf/predictions.parquet --clip-metrics runs/tagf/clip_metrics.csv "
    "--gates runs/tagf/gates.parquet --calibration runs/tagf/calibration.csv",
    f"train {DATA} --out runs/concat --params params.yaml --head concat",
    f"evaluate {DATA} --checkpoint runs/concat/best.safetensors --split test --out runs/concat/metrics.json "
    "--predictions runs/concat/predictions.parquet",
    f"train {DATA} --out runs/folds-concat --params params.yaml --head concat --fold all",
    f"compare {DATA} --out runs/comparison --params params.yaml --heads tagf,concat --seeds 0 --jobs 1",
)
# ... then what is made of the copies. The clips of both parts of the corpus are finished already.
MORE_COMMANDS = (
    f"extract --source train_videos --out train.zarr {EXTRACT}",
    f"extract --source test_videos --out test.zarr {EXTRACT}",
    "cache export data/features.zarr --format npy --out exported",
    "cache export data/features.zarr --format hdf5 --out features.h5",
    "cache import old --format npy --stream visual=face --stream audio=vggish --fps 25 --rate audio=1.0417 "
    "--out foreign.zarr",
    f"predict --features data/features.zarr {RUN} --out predictions --workers 1",
    "submit write predictions --template VA_test_set_sample.txt --out submission.txt",
)


def call(words: list[str], patch: pytest.MonkeyPatch) -> int:
    """Run `tagf` in this process and folder; its exit code."""
    patch.setattr(sys, "argv", ["tagf", *words])
    try:
        main()
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 1
    return 0


def build(folder: Path, patch: pytest.MonkeyPatch, read_errors: Callable[[], str]) -> None:
    """Make the project in an empty folder, which is the working folder."""
    (folder / "configs").mkdir()
    for name in ("params.yaml", "configs/live.yaml", "configs/aff-wild2.yaml"):
        (folder / name).write_text(PARAMS)
    for command in COMMANDS:
        assert call(command.split(), patch) == 0, f"{command}: {read_errors()}"
    corpus, runs = folder / "data" / "corpus", folder / "runs"
    for name, source in {
        "my_videos": corpus / "videos",
        "videos/first.mp4": corpus / "videos" / "subject_000.mp4",
        "my_labels": corpus / "annotations",
        "my_features.zarr": folder / "data" / "features.zarr",
        "features.zarr": folder / "data" / "features.zarr",
        "runs/seed0": runs / "tagf",
        "runs/seed1": runs / "concat",
        "runs/cv/fold-0": runs / "tagf",
        "runs/cv/fold-1": runs / "concat",
        "runs/mine": runs / "tagf",
        "runs/live": runs / "tagf",
        "video.mp4": corpus / "videos" / "subject_003.mp4",
        "clip.mp4": corpus / "videos" / "subject_003.mp4",
        "more/other.mkv": corpus / "videos" / "subject_002.mp4",
        **{f"train_videos/{name}.mp4": corpus / "videos" / f"{name}.mp4" for name in TRAIN},
        **{f"test_videos/{name}.mp4": corpus / "videos" / f"{name}.mp4" for name in OTHERS},
        "aff-wild2/batch1": corpus / "videos",
        "aff-wild2/annotations/VA_Estimation_Challenge": corpus / "annotations",
    }.items():
        _copy(source, folder / name)
    _write_template(folder / "VA_test_set_sample.txt", corpus / "annotations" / "Test_Set")
    _write_foreign_features(folder)
    for command in MORE_COMMANDS:
        assert call(command.split(), patch) == 0, f"{command}: {read_errors()}"
    _copy(folder / "predictions", folder / "my_predictions")


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copy(source, target)


def _write_template(path: Path, labels: Path) -> None:
    """A sample file as the organisers give it, of the clips that have labels here."""
    lines = ["image_location,valence,arousal"]
    for file in sorted(labels.glob("*.txt")):
        num_frames = len(file.read_text().splitlines()) - 1
        lines += [f"{file.stem}/{number:05}.jpg,0,0" for number in range(1, num_frames + 1)]
    path.write_text("\n".join(lines) + "\n")


def _write_foreign_features(folder: Path) -> None:
    """What other toolkits leave: npy files per stream, HDF5 files per clip, one of all clips, a .csd file."""
    generator = np.random.default_rng(0)
    names, num_rows = ("anna", "bo"), 50
    rows = {name: generator.standard_normal((num_rows, 5)).astype(np.float32) for name in names}
    times_s = np.arange(num_rows) / 25
    for old in ("old", "old_features"):
        for stream in ("face", "vggish"):
            (folder / old / stream).mkdir(parents=True)
            for name in names:
                every = 1 if stream == "face" else 24
                np.save(folder / old / stream / f"{name}.npy", rows[name][::every])
    for name in names:
        with h5py.File(folder / "old" / f"{name}.h5", "w") as file:
            file["features/face"], file["features/vggish"] = rows[name], rows[name][::24]
            file["features/time"] = times_s * 1000
    with h5py.File(folder / "old.h5", "w") as file, h5py.File(folder / "FACET.csd", "w") as facet:
        for name in names:
            file[f"{name}/face"], file[f"{name}/time"] = rows[name], times_s
            facet[f"FACET/data/{name}/features"] = rows[name]
            facet[f"FACET/data/{name}/intervals"] = np.column_stack([times_s, times_s + 0.04])
