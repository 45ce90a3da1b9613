"""Metrics of single clips, against numpy and scipy clip by clip."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from tagf_head.data.clip_groups import ClipGroups
from tagf_head.evaluation.clip_metrics import (
    ClipMetrics,
    clip_means,
    metrics_of_clips,
    pooled_moments,
    write_clip_metrics,
)
from tagf_head.evaluation.metrics import regression_metrics
from tagf_head.evaluation.predictions import Predictions

CLIPS = {"a": 40, "one_label": 12, "constant_valence": 30, "no_label": 9, "empty": 0, "b": 25}


@pytest.fixture(scope="module")
def values() -> dict[str, np.ndarray]:
    generator = np.random.default_rng(3)
    size = sum(CLIPS.values())
    clip = np.repeat(np.array([*CLIPS]), [*CLIPS.values()])
    label = generator.uniform(-1, 1, (size, 2)).astype(np.float32)
    label[clip == "constant_valence", 0] = 0.3
    mask = generator.random(size) > 0.2
    mask[clip == "no_label"] = False
    mask[clip == "one_label"] = np.arange(12) == 5
    prediction = (0.6 * label + generator.normal(0, 0.2, label.shape)).astype(np.float32)
    return {"clip": clip, "label": label, "mask": mask, "prediction": prediction}


@pytest.fixture(scope="module")
def clips(values) -> tuple[ClipMetrics, ...]:
    size = len(values["clip"])
    predictions = Predictions(
        clip_ids=tuple(CLIPS),
        row_size=np.array([*CLIPS.values()]),
        frame=np.arange(size),
        time_s=np.arange(size) / 25,
        values=values["prediction"],
        face_found=np.arange(size) % 4 > 0,
        groups=ClipGroups(unit="subject", group=("anna", "bert", "anna", "carl", "dora", "bert")),
    )
    return metrics_of_clips(predictions, values["label"], values["mask"])


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_file_equals_numpy_and_scipy(tmp_path: Path, values, clips) -> None:
    write_clip_metrics(tmp_path / "clips.csv", clips)
    rows = rows_of(tmp_path / "clips.csv")
    assert list(rows[0]) == [
        *("clip_id", "group", "num_frames", "num_labelled", "face_share"),
        *("valence_ccc", "valence_pcc", "valence_rmse", "valence_mae", "valence_sagr"),
        *("arousal_ccc", "arousal_pcc", "arousal_rmse", "arousal_mae", "arousal_sagr"),
    ]
    assert [row["clip_id"] for row in rows] == [*CLIPS]
    assert [row["group"] for row in rows] == ["anna", "bert", "anna", "carl", "dora", "bert"]
    assert [int(row["num_frames"]) for row in rows] == [*CLIPS.values()]
    for row in rows:
        of_clip = values["clip"] == row["clip_id"]
        valid = of_clip & values["mask"]
        assert int(row["num_labelled"]) == valid.sum()
        if of_clip.any():
            assert float(row["face_share"]) == pytest.approx(
                (np.flatnonzero(of_clip) % 4 > 0).mean(), abs=1e-6
            )
        for column, target in enumerate(("valence", "arousal")):
            p, t = (values[name][valid, column].astype(np.float64) for name in ("prediction", "label"))
            expected = {}
            if len(t):
                expected = {"rmse": np.sqrt(np.mean((p - t) ** 2)), "mae": np.mean(np.abs(p - t))}
                expected["sagr"] = np.mean(np.sign(p) == np.sign(t))
            if len(t) > 1 and t.std() > 0:
                covariance = np.cov(p, t, ddof=0)[0, 1]
                expected["ccc"] = 2 * covariance / (p.var() + t.var() + (p.mean() - t.mean()) ** 2)
                expected["pcc"] = scipy.stats.pearsonr(p, t).statistic
            for metric in ("ccc", "pcc", "rmse", "mae", "sagr"):
                cell = row[f"{target}_{metric}"]
                if metric in expected:
                    assert float(cell) == pytest.approx(expected[metric], abs=1e-6)
                else:
                    assert cell == "", (row["clip_id"], target, metric)


def test_what_is_not_defined_is_an_empty_cell(tmp_path: Path, clips) -> None:
    write_clip_metrics(tmp_path / "clips.csv", clips)
    empty = {
        row["clip_id"]: {name for name, cell in row.items() if cell == ""}
        for row in rows_of(tmp_path / "clips.csv")
    }
    both = {f"{target}_{metric}" for target in ("valence", "arousal") for metric in ("ccc", "pcc")}
    errors = {f"{t}_{metric}" for t in ("valence", "arousal") for metric in ("rmse", "mae", "sagr")}
    assert empty["a"] == empty["b"] == set()
    assert empty["one_label"] == both
    assert empty["constant_valence"] == {"valence_ccc", "valence_pcc"}
    assert empty["no_label"] == both | errors
    assert empty["empty"] == both | errors | {"face_share"}


def test_clips_merge_to_the_pooled_metrics(values, clips) -> None:
    for column, moments in enumerate(pooled_moments(clips)):
        pooled = regression_metrics(
            values["prediction"][:, column], values["label"][:, column], values["mask"]
        )
        assert moments.defined_metrics() == pytest.approx(pooled, abs=1e-12)


def test_means_are_over_the_clips_that_define_a_metric(tmp_path: Path, clips) -> None:
    write_clip_metrics(tmp_path / "clips.csv", clips)
    rows = rows_of(tmp_path / "clips.csv")
    for column, target in enumerate(("valence", "arousal")):
        found = clip_means(clips, column)
        for metric in ("ccc", "pcc", "rmse", "mae", "sagr"):
            cells = [float(row[f"{target}_{metric}"]) for row in rows if row[f"{target}_{metric}"]]
            assert found[metric] == pytest.approx(np.mean(cells), abs=1e-6)
    assert clip_means(clips, 0)["num_clips"] == 2
    assert clip_means(clips, 1)["num_clips"] == 3
    assert set(clip_means(clips[3:5], 0).values()) == {None, 0}
