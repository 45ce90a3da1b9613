"""Folders that `tagf predict` wrote: CSV and Parquet, other column names, failures, damage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.report.errors import ReportError
from pipeline.report.predicted_folder import PredictedFolder


@pytest.fixture
def table() -> pd.DataFrame:
    rng = np.random.default_rng(2)
    found = rng.random(30) > 0.3
    return pd.DataFrame(
        {
            "clip_id": "talk",
            "frame": np.arange(30),
            "time_s": np.arange(30) / 30,
            "valence": rng.uniform(-1, 1, 30).astype(np.float32),
            "arousal": rng.uniform(-1, 1, 30).astype(np.float32),
            "face_found": found,
            "face_x": np.where(found, 10.5, 0).astype(np.float32),
            "face_score": found.astype(np.float32),
            "visual_H0": np.full(30, 0.25, np.float32),
            "visual_H1": np.full(30, 0.75, np.float32),
            "valence_sd": np.full(30, 0.2, np.float32),
            "arousal_sd": np.full(30, 0.4, np.float32),
        }
    )


def write(folder: Path, table: pd.DataFrame, suffix: str = "csv", **changes: Any) -> Path:
    if suffix == "csv":
        table.to_csv(folder / "talk.csv", index=False)
    else:
        table.to_parquet(folder / "talk.parquet", index=False)
    clip = {
        "clip_id": "talk",
        "file": f"talk.{suffix}",
        "media": "/videos/talk.mp4",
        "status": "predicted",
        "error": None,
        "num_frames": 30,
        "num_face_frames": 20,
        "seconds": 1.5,
    }
    failed = {**clip, "clip_id": "broken", "file": None, "status": "failed", "error": "no video stream"}
    record = {
        "format": "tagf-prediction-1",
        "tagf": "0.1.0",
        "checkpoints": [{"path": "best.safetensors", "sha256": "ab" * 32, "head": "tagf"}],
        "random_weights": False,
        "extract": {"visual": {"backbone": "ir50", "weights": "ms1m"}},
        "smoothing": None,
        "device": "cpu",
        "columns": [*table.columns],
        "file_format": suffix,
        "versions": {"torch": "2.11"},
        "clips": [clip, failed],
        **changes,
    }
    (folder / "prediction.json").write_text(json.dumps(record))
    return folder


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_every_column_comes_back(tmp_path, table, suffix):
    folder = PredictedFolder(write(tmp_path, table, suffix))
    assert folder.clip_ids == ("talk",)
    assert folder.media == {"talk": Path("/videos/talk.mp4"), "broken": Path("/videos/talk.mp4")}
    clip = folder.read("talk")
    np.testing.assert_array_equal(clip.frame, table["frame"])
    np.testing.assert_allclose(clip.time_s, table["time_s"], rtol=1e-15)
    np.testing.assert_array_equal(clip.values, table[["valence", "arousal"]].to_numpy())
    np.testing.assert_array_equal(clip.face_found, table["face_found"])
    np.testing.assert_array_equal(clip.deviation, table[["valence_sd", "arousal_sd"]].to_numpy())
    assert {*clip.gates} == {"visual"}
    assert clip.gates["visual"].candidates == ("H0", "H1")
    np.testing.assert_array_equal(clip.gates["visual"].weights[:, 1], np.float32(0.75))


def test_openface_names_are_read_and_frames_counted_from_0(tmp_path, table):
    openface = pd.DataFrame(
        {
            "frame": table["frame"] + 1,
            "face_id": 0,
            "timestamp": table["time_s"],
            "confidence": 0.9,
            "success": table["face_found"].astype(int),
            "valence": table["valence"],
            "arousal": table["arousal"],
        }
    )
    clip = PredictedFolder(write(tmp_path, openface)).read("talk")
    np.testing.assert_array_equal(clip.frame, table["frame"])
    np.testing.assert_array_equal(clip.face_found, table["face_found"])
    assert clip.gates == {}
    assert clip.deviation is None


def test_a_failed_clip_keeps_its_reason(tmp_path, table):
    broken = PredictedFolder(write(tmp_path, table)).clips[1]
    assert (broken.file, broken.error) == (None, "no video stream")


def test_columns_without_times_are_refused_with_the_remedy(tmp_path, table):
    folder = PredictedFolder(write(tmp_path, table.drop(columns="time_s")))
    with pytest.raises(ReportError, match=r"talk\.csv.*'time_s'.*py-feat"):
        folder.read("talk")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("{", "cannot be read as JSON"),
        ('{"format": "other"}', "expected format 'tagf-prediction-1', got 'other'"),
        ("[]", "got 'list'"),
        ('{"format": "tagf-prediction-1", "clips": [{"clip_id": "x"}]}', "entry is damaged"),
        (
            '{"format": "tagf-prediction-1", "clips": [{"clip_id": "x", "file": "../x.csv", "media": null,'
            ' "status": "predicted", "error": null, "num_frames": 1, "num_face_frames": 1}]}',
            "no table of this folder",
        ),
    ],
)
def test_a_damaged_record_is_named(tmp_path, content, what):
    (tmp_path / "prediction.json").write_text(content)
    with pytest.raises(ReportError, match=what) as error:
        PredictedFolder(tmp_path)
    assert "\n" not in str(error.value)
    assert "prediction.json" in str(error.value)


def test_a_damaged_table_is_named(tmp_path, table):
    folder = PredictedFolder(write(tmp_path, table, "parquet"))
    (tmp_path / "talk.parquet").write_bytes(b"PAR1 but not really")
    with pytest.raises(ReportError, match=r"talk\.parquet cannot be read"):
        folder.read("talk")
