"""Out-of-fold metrics, against predicting each fold by hand and numpy; what is kept when it goes on."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas
import pytest

from cache import FeatureStore
from tagf_head.annotations import load_annotations
from tagf_head.checkpoint import load_checkpoint
from tagf_head.config import EvaluateConfig
from tagf_head.data.folds import Fold, plan_folds
from tagf_head.data.split_data import load_clips
from tagf_head.data.windows import plan_windows
from tagf_head.errors import HeadError
from tagf_head.evaluation.results import collect_results
from tagf_head.evaluation.stitching import stitch_windows
from tagf_head.training import cross_validation
from tagf_head.training.cross_validation import CrossValidation, cross_validate
from tagf_head.training.train import train_head

SIZES = {"t1": 50, "t2": 33, "t3_left": 7, "t3_right": 41, "v1": 30, "v2": 45}


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("folds")


@pytest.fixture(scope="module")
def config(training):
    return dataclasses.replace(training, max_epochs=1)


@pytest.fixture(scope="module")
def lines() -> list[str]:
    return []


@pytest.fixture(scope="module")
def found(corpus, config, out: Path, lines: list[str]) -> CrossValidation:
    return cross_validate(
        corpus.store,
        corpus.annotations,
        out / "run",
        config,
        3,
        evaluate=EvaluateConfig(split="test", batch_size=4),
        work_dir=out / "work",
        progress=lines.append,
    )


@pytest.mark.usefixtures("found")
def test_each_clip_is_predicted_by_the_head_that_has_not_seen_it(corpus, out: Path) -> None:
    store, annotations = FeatureStore.open(corpus.store), load_annotations(corpus.annotations)
    table = pandas.read_parquet(out / "run" / "predictions.parquet")
    assert {clip: len(rows) for clip, rows in table.groupby("clip_id")} == SIZES
    folds = plan_folds(annotations, store, 3).folds
    for index, clip_ids in enumerate(folds):
        data = load_clips(store, annotations, clip_ids, name="by hand")
        head = load_checkpoint(out / "run" / f"fold-{index}" / "best.safetensors").head
        expected = stitch_windows(head, data.rows, plan_windows(data.row_size, 20, 12), 4).mean()
        by_hand = np.split(expected, np.cumsum(data.row_size)[:-1])
        for clip_id, values in zip(clip_ids, by_hand, strict=True):
            rows = table[table["clip_id"] == clip_id]
            np.testing.assert_allclose(rows[["valence", "arousal"]], values, atol=1e-6)


def test_metrics_are_those_of_all_folds_together(corpus, out: Path, found: CrossValidation) -> None:
    metrics = json.loads((out / "run" / "metrics.json").read_text())
    assert metrics == found.metrics
    table = pandas.read_parquet(out / "run" / "predictions.parquet")
    labels = np.concatenate([corpus.labels[clip] for clip in table["clip_id"].unique()])
    valid = ~(labels == -5).any(axis=1)
    for column, name in enumerate(("valence", "arousal")):
        p, t = table[name].to_numpy(np.float64)[valid], labels[valid, column]
        expected = 2 * np.cov(p, t, ddof=0)[0, 1] / (p.var() + t.var() + (p.mean() - t.mean()) ** 2)
        assert metrics[name]["ccc"] == pytest.approx(expected, abs=1e-7)
    assert (metrics["split"], metrics["num_heads"], metrics["ensemble_size"]) == ("fold", 3, 1)
    assert metrics["interval"]["unit"] == "media file"
    assert metrics["interval"]["num_units"] == 5
    clips = pandas.read_csv(out / "run" / "clip_metrics.csv")
    assert dict(zip(clips["clip_id"], clips["num_frames"], strict=True)) == SIZES
    row = collect_results([out / "run"], corpus.annotations, "fold").rows[0]
    assert row.ccc.mean.estimate == pytest.approx(metrics["mean_ccc"], abs=1e-9)
    assert row.ccc.mean.low == pytest.approx(metrics["mean_ccc_low"], abs=1e-9)


def test_a_fold_is_the_run_of_that_fold(corpus, config, out: Path, found: CrossValidation, lines) -> None:
    alone = train_head(
        corpus.store,
        corpus.annotations,
        out / "alone",
        config,
        fold=Fold(index=1, num_folds=3),
        work_dir=out / "work",
    )
    assert [info.fold for info in found.folds] == [Fold(index=index, num_folds=3) for index in range(3)]
    assert alone.info == found.folds[1]
    weights = [
        (folder / "best.safetensors").read_bytes() for folder in (out / "alone", out / "run" / "fold-1")
    ]
    assert weights[0] == weights[1]
    assert {line.split(":")[0] for line in lines} == {"fold 0", "fold 1", "fold 2", "out of fold"}
    assert f"6 clips, CCC valence {found.metrics['valence']['ccc']:.3f}, arousal " in lines[-1]


@pytest.mark.usefixtures("found")
def test_finished_folds_of_the_same_settings_are_kept(corpus, config, out: Path, tmp_path: Path) -> None:
    def weights() -> dict[str, tuple[int, bytes]]:
        paths = sorted((out / "run").glob("fold-*/best.safetensors"))
        return {path.parent.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in paths}

    before, metrics = weights(), (out / "run" / "metrics.json").read_bytes()
    arguments = (corpus.store, corpus.annotations, out / "run", config, 3)
    options = {"evaluate": EvaluateConfig(batch_size=4), "work_dir": tmp_path}
    (out / "run" / "fold-1" / "best.safetensors").unlink()
    (out / "run" / "metrics.json").unlink()
    cross_validate(*arguments, **options, resume=True)
    after = weights()
    assert (after["fold-0"], after["fold-2"]) == (before["fold-0"], before["fold-2"])
    assert after["fold-1"][0] != before["fold-1"][0]
    assert after["fold-1"][1] == before["fold-1"][1]
    assert (out / "run" / "metrics.json").read_bytes() == metrics


@pytest.mark.parametrize(("own_gb", "expected_gb"), [(None, 0.25), (0.5, 0.5)])
def test_the_evaluation_has_the_trainings_memory(
    corpus, config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_gb: float | None, expected_gb: float
) -> None:
    seen: list[EvaluateConfig] = []

    def evaluate_head(*arguments: Any, config: EvaluateConfig, **options: Any) -> SimpleNamespace:
        seen.append(config)
        ccc = {"ccc": 0.1}
        return SimpleNamespace(metrics={"valence": ccc, "arousal": ccc, "mean_ccc": 0.1, "num_clips": 6})

    monkeypatch.setattr(cross_validation, "evaluate_head", evaluate_head)
    monkeypatch.setattr(cross_validation, "train_head", lambda *a, **o: SimpleNamespace(info=None))
    settings = dataclasses.replace(config, rows_memory_gb=0.25)
    evaluate = EvaluateConfig(split="test", rows_memory_gb=own_gb)
    cross_validate(corpus.store, corpus.annotations, tmp_path, settings, 3, evaluate=evaluate)
    assert seen == [EvaluateConfig(split="fold", rows_memory_gb=expected_gb)]


def test_too_many_folds_are_refused_before_training(corpus, config, tmp_path: Path) -> None:
    with pytest.raises(HeadError, match=r"9 folds .* at least 8 groups"):
        cross_validate(corpus.store, corpus.annotations, tmp_path / "run", config, 9, work_dir=tmp_path)
    with pytest.raises(HeadError, match="at least 2 folds, got 1"):
        cross_validate(corpus.store, corpus.annotations, tmp_path / "run", config, 1, work_dir=tmp_path)
    assert not (tmp_path / "run").exists()
