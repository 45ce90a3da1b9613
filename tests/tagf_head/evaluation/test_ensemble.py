"""Ensembles and out-of-fold predictions, against predicting with each head by hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas
import pytest
import torch

from cache import FeatureStore
from tagf_head.annotations import load_annotations
from tagf_head.checkpoint import CheckpointInfo, clip_digests, save_checkpoint
from tagf_head.config import EvaluateConfig, LabelConfig, TrainConfig
from tagf_head.data.folds import Fold, plan_folds
from tagf_head.data.split_data import load_split
from tagf_head.data.windows import plan_windows
from tagf_head.errors import CheckpointError, HeadError
from tagf_head.evaluation.evaluate import Evaluation, evaluate_head
from tagf_head.evaluation.stitching import predict_gated_rows
from tagf_head.heads import build_head

WriteHead = Callable[..., Path]


@pytest.fixture
def write_head(corpus, training: TrainConfig, tmp_path: Path) -> WriteHead:
    """Writes the checkpoint of a head with random weights, as if it had been trained on the tiny corpus."""
    store, annotations = FeatureStore.open(corpus.store), load_annotations(corpus.annotations)

    def write(seed: int, *, fold: Fold | None = None, head: str = "tagf", **changes: object) -> Path:
        shape = dataclasses.replace(training.head, name=head, visual_features=16, audio_features=8)
        train = dataclasses.replace(training, seed=seed, head=shape, **changes)
        clips = annotations.clip_ids("train")
        if fold is not None:
            clips, _ = plan_folds(annotations, store, fold.num_folds).split(fold.index)
        info = CheckpointInfo(
            train=train,
            spec=store.spec,
            features_digest=store.digest,
            annotations_digest=annotations.digest(("train", "validation")),
            fold=fold,
            versions={},
            key="0" * 64,
            best_epoch=1,
            validation_ccc={"valence": 0.0, "arousal": 0.0, "mean": 0.0},
            trained_on=clip_digests(clips),
        )
        torch.manual_seed(seed)
        path = tmp_path / f"{head}-{seed}.safetensors"
        save_checkpoint(path, build_head(train.head).state_dict(), info)
        return path

    return write


@pytest.fixture
def evaluate(corpus, tmp_path: Path) -> Callable[..., Evaluation]:
    def run(*checkpoints: Path, split: str = "test", **options: object) -> Evaluation:
        return evaluate_head(
            corpus.store,
            corpus.annotations,
            checkpoints,
            tmp_path / "metrics.json",
            config=EvaluateConfig(split=split, batch_size=5),
            **options,
        )

    return run


def test_ensemble_is_the_mean_of_single_predictions(corpus, training, write_head, evaluate) -> None:
    # Each with windows of its own.
    paths = [write_head(0), write_head(1, window=13, stride=4), write_head(2, head="concat")]
    data = load_split(FeatureStore.open(corpus.store), load_annotations(corpus.annotations), "test")
    single = []
    for path, (window, stride) in zip(paths, ((20, 12), (13, 4), (20, 12)), strict=True):
        plan = plan_windows(data.row_size, window, stride)
        single.append(predict_gated_rows(evaluate_checkpoint(path), data.rows, plan, 5).values)
    found = evaluate(*paths)
    np.testing.assert_array_equal(found.predictions.values, np.mean(single, axis=0).astype(np.float32))
    assert found.metrics["num_heads"] == found.metrics["ensemble_size"] == 3
    assert found.metrics["head"] == "tagf + concat"
    assert found.metrics["seed"] is None
    # concat has no gates, so that all three have none in common.
    assert "gates" not in found.metrics


def evaluate_checkpoint(path: Path) -> torch.nn.Module:
    from tagf_head.checkpoint import load_checkpoint

    return load_checkpoint(path).head


def test_ensemble_of_one_is_that_head(write_head, evaluate) -> None:
    path = write_head(0)
    alone, copy = evaluate(path), evaluate(path, write_head(1))
    assert not np.array_equal(alone.predictions.values, copy.predictions.values)
    assert (alone.metrics["head"], alone.metrics["seed"], alone.metrics["ensemble_size"]) == ("tagf", 0, 1)


def test_a_clip_is_predicted_by_the_heads_that_have_not_seen_it(corpus, write_head, evaluate) -> None:
    heads = {
        index: [write_head(10 * index + seed, fold=Fold(index=index, num_folds=3)) for seed in range(2)]
        for index in range(3)
    }
    store, annotations = FeatureStore.open(corpus.store), load_annotations(corpus.annotations)
    folds = plan_folds(annotations, store, 3).folds
    found = evaluate(*(path for paths in heads.values() for path in paths), split="fold")
    assert sorted(found.predictions.clip_ids) == sorted([*("t1", "t2", "t3_left", "t3_right"), *("v1", "v2")])
    expected = {}
    for split in ("train", "validation"):
        data = load_split(store, annotations, split)
        plan = plan_windows(data.row_size, 20, 12)
        for index, paths in heads.items():
            mean = np.mean(
                [predict_gated_rows(evaluate_checkpoint(path), data.rows, plan, 5).values for path in paths],
                0,
            )
            for clip_id, values in zip(
                data.clip_ids, np.split(mean, np.cumsum(data.row_size)[:-1]), strict=True
            ):
                if clip_id in folds[index]:
                    expected[clip_id] = values
    stops = np.cumsum(found.predictions.row_size)[:-1]
    for clip_id, values in zip(
        found.predictions.clip_ids, np.split(found.predictions.values, stops), strict=True
    ):
        np.testing.assert_allclose(values, expected[clip_id], atol=1e-6)
    assert found.metrics["split"] == "fold"
    assert (found.metrics["num_heads"], found.metrics["ensemble_size"]) == (6, 2)


def test_one_fold_alone(corpus, write_head, evaluate) -> None:
    folds = plan_folds(load_annotations(corpus.annotations), FeatureStore.open(corpus.store), 3).folds
    found = evaluate(write_head(0, fold=Fold(index=0, num_folds=3)), split="fold")
    assert set(found.predictions.clip_ids) == set(folds[0]) == {"v1", "v2"}
    # Nobody has seen the test split.
    test = evaluate(write_head(0, fold=Fold(index=0, num_folds=3)), split="test")
    assert set(test.predictions.clip_ids) == {"e1", "e2_left", "e2_right", "e3"}


def test_gates(write_head, evaluate, tmp_path: Path) -> None:
    single = [evaluate(write_head(seed)) for seed in range(2)]
    both = evaluate(write_head(0), write_head(1), gates=tmp_path / "gates.parquet")
    assert set(both.gates) == {"visual", "audio"}
    for name, gate in both.gates.items():
        mean = (single[0].gates[name].weights + single[1].gates[name].weights) / 2
        np.testing.assert_allclose(gate.weights, mean, atol=1e-12)
        np.testing.assert_allclose(gate.weights.sum(axis=1), 1, atol=1e-6)
        assert both.metrics["gates"][name]["entropy"] == pytest.approx(
            np.mean([each.metrics["gates"][name]["entropy"] for each in single])
        )
        assert list(both.metrics["gates"][name]["mean_weight"]) == ["H0", "H1", "H2"]
    assert (tmp_path / "gates.parquet").is_file()
    # A head per target has its own gates.
    found = evaluate(write_head(4, head="released"), gates=tmp_path / "gates.parquet")
    assert set(found.gates) == {f"{t}_{m}" for t in ("valence", "arousal") for m in ("visual", "audio")}
    assert "arousal_audio_H2" in pandas.read_parquet(tmp_path / "gates.parquet").columns
    # The gates of `paper` do not choose among the input: H1 and H2 are not H0 and H1.
    paper = write_head(2, head="paper")
    assert list(evaluate(paper).metrics["gates"]["visual"]["mean_weight"]) == ["H1", "H2"]
    assert "gates" not in evaluate(write_head(0), paper).metrics
    assert "gates" not in evaluate(write_head(0), write_head(3, head="concat")).metrics
    with pytest.raises(HeadError, match="the heads have no gates in common; leave the file of gates out"):
        evaluate(write_head(0), paper, gates=tmp_path / "none.parquet")
    concat = write_head(3, head="concat")
    with pytest.raises(HeadError, match=f"{concat} has no gates; leave the file of gates out"):
        evaluate(write_head(0), concat, gates=tmp_path / "none.parquet")
    assert not (tmp_path / "none.parquet").exists()


@pytest.mark.parametrize(
    ("heads", "split", "message"),
    [
        ([], "test", "no checkpoint to evaluate"),
        ([{"seed": 0}, {"seed": 0}], "test", "tagf-0.safetensors is given twice"),
        (
            [{"seed": 0}, {"seed": 1, "labels": LabelConfig(delay_s=2.0)}],
            "test",
            r"tagf-1.* delay 2.0 s, .*tagf-0.* delay 0.0 s; evaluate them one by one",
        ),
        ([{"seed": 0}], "fold", "trained on the official split, not on folds"),
        (
            [{"seed": 0, "fold": Fold(index=1, num_folds=3)}],
            "validation",
            "fold 1 of 3: its training may have",
        ),
        ([{"seed": 0, "fold": Fold(index=1, num_folds=3)}], "train", "evaluate it on 'fold'"),
        (
            [
                {"seed": 0, "fold": Fold(index=1, num_folds=3)},
                {"seed": 1, "fold": Fold(index=0, num_folds=2)},
            ],
            "fold",
            "of one of 2 folds, .* of one of 3",
        ),
        (
            [{"seed": seed, "fold": Fold(index=index, num_folds=3)} for seed, index in enumerate((0, 0, 1))],
            "fold",
            "expected as many checkpoints of each fold, got 2 of fold 0, 1 of fold 1",
        ),
    ],
)
def test_users_mistakes(write_head, evaluate, tmp_path: Path, heads, split, message) -> None:
    with pytest.raises(CheckpointError, match=message):
        evaluate(*(write_head(**each) for each in heads), split=split)
    assert not (tmp_path / "metrics.json").exists()


def test_folds_of_other_labels_or_features_are_refused(write_head, write_corpus, tmp_path: Path) -> None:
    path = write_head(0, fold=Fold(index=0, num_folds=3))
    other = write_corpus(tmp_path / "other", seed=1)
    config = EvaluateConfig(split="fold")
    with pytest.raises(CheckpointError, match=r"was trained on other features \(digest "):
        evaluate_head(other.store, other.annotations, path, tmp_path / "m.json", config=config)


def test_labels_that_changed_may_have_moved_the_folds(corpus, write_head, write_corpus, tmp_path) -> None:
    path = write_head(0, fold=Fold(index=0, num_folds=3))
    copy = write_corpus(tmp_path / "copy")
    (copy.annotations / "Train_Set" / "t1.txt").unlink()
    with pytest.raises(CheckpointError, match=r"was trained on other labels \(digest "):
        evaluate_head(
            corpus.store, copy.annotations, path, tmp_path / "m.json", config=EvaluateConfig(split="fold")
        )
