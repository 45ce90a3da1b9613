"""Deviations and reliability of whole evaluations, recomputed from single heads and from changed stores."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import scipy.stats
import torch

from cache import FeatureStore
from tagf_head.annotations import load_annotations
from tagf_head.checkpoint import CheckpointInfo, load_checkpoint, save_checkpoint
from tagf_head.config import EvaluateConfig, TrainConfig
from tagf_head.data.folds import Fold
from tagf_head.data.muted_rows import MutedRows
from tagf_head.data.split_data import load_split
from tagf_head.data.windows import plan_windows
from tagf_head.errors import HeadError
from tagf_head.evaluation.evaluate import Evaluation, evaluate_head
from tagf_head.heads import build_head
from tagf_head.heads.uncertain import UncertainHead

TARGETS = ("valence", "arousal")
TEST_CLIPS = ("e1", "e2_left", "e2_right", "e3")


@pytest.fixture
def write_head(corpus, training: TrainConfig, tmp_path: Path) -> Callable[..., Path]:
    """Writes the checkpoint of a head with random weights."""
    store, annotations = FeatureStore.open(corpus.store), load_annotations(corpus.annotations)

    def write(
        seed: int, *, head: str = "tagf", uncertainty: bool = True, fold: int | None = None, **changes: Any
    ) -> Path:
        shape = dataclasses.replace(
            training.head, name=head, uncertainty=uncertainty, visual_features=16, audio_features=8
        )
        info = CheckpointInfo(
            train=dataclasses.replace(training, seed=seed, head=shape, **changes),
            spec=store.spec,
            features_digest=store.digest,
            annotations_digest=annotations.digest(("train", "validation")),
            fold=None if fold is None else Fold(index=fold, num_folds=2),
            versions={},
            key="0" * 64,
            best_epoch=1,
            validation_ccc={"valence": 0.0, "arousal": 0.0, "mean": 0.0},
            trained_on=(),
        )
        torch.manual_seed(seed)
        model = build_head(info.train.head)
        if isinstance(model, UncertainHead):
            model.deviation.scale.copy_(torch.tensor([0.7, 1.9]))
        path = tmp_path / f"{head}-{seed}-{uncertainty}-{fold}.safetensors"
        save_checkpoint(path, model.state_dict(), info)
        return path

    return write


@pytest.fixture
def evaluate(corpus, tmp_path: Path) -> Callable[..., Evaluation]:
    def run(*checkpoints: Path, split: str = "test", gb: float | None = None, **files: Path) -> Evaluation:
        config = EvaluateConfig(split=split, batch_size=5, rows_memory_gb=gb)
        return evaluate_head(
            corpus.store, corpus.annotations, checkpoints, tmp_path / "metrics.json", config=config, **files
        )

    return run


def by_hand(corpus, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Predictions and deviations of the test clips, window by window."""
    checkpoint = load_checkpoint(path)
    train = checkpoint.info.train
    values, deviations = [], []
    for clip_id in TEST_CLIPS:
        clip = corpus.clips[clip_id]
        sums = np.zeros((clip.num_frames, 5))
        plan = plan_windows(np.array([clip.num_frames]), train.window, train.stride)
        for start, length in zip(plan.start, plan.length, strict=True):
            rows = slice(start, start + length)
            visual, audio = (
                torch.from_numpy(stream[rows].astype(np.float32))[None]
                for stream in (clip.streams["visual"][0], clip.streams["audio"])
            )
            with torch.no_grad():
                found = checkpoint.head(
                    visual, audio, torch.ones(1, length, dtype=torch.bool), return_all=True
                )
            sums[rows, :2] += found.prediction[0].numpy()
            sums[rows, 2:4] += found.deviation[0].double().numpy() ** 2
            sums[rows, 4] += 1
        values.append(sums[:, :2] / sums[:, 4:])
        deviations.append(np.sqrt(sums[:, 2:4] / sums[:, 4:]))
    return np.concatenate(values), np.concatenate(deviations)


def test_one_head_predicts_its_deviations(corpus, write_head, evaluate, tmp_path: Path) -> None:
    path = write_head(0)
    files = {"predictions": tmp_path / "p.parquet", "calibration": tmp_path / "calibration.csv"}
    found = evaluate(path, **files)
    values, deviations = by_hand(corpus, path)
    np.testing.assert_allclose(found.predictions.values, values, atol=1e-5)
    np.testing.assert_allclose(found.predictions.deviation, deviations, atol=1e-5)
    table = pandas.read_parquet(files["predictions"])
    assert list(table.columns)[-2:] == ["valence_sd", "arousal_sd"]
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["uncertainty"]["source"] == "predicted"
    assert set(metrics["uncertainty"]) == {"source", "predicted_sd"}
    labels = np.concatenate([corpus.labels[clip_id] for clip_id in TEST_CLIPS])
    valid = ~(labels == -5).any(axis=1)
    observed = pandas.read_csv(files["calibration"])
    for column, name in enumerate(TARGETS):
        said = metrics["calibration"][name]
        p, sd = (table[each].to_numpy(np.float64)[valid] for each in (name, f"{name}_sd"))
        t = labels[valid, column]
        assert said["nll"] == pytest.approx(-scipy.stats.norm.logpdf(t, p, sd).mean(), abs=1e-6)
        low, high = scipy.stats.norm.interval(0.9, p, sd)
        assert said["coverage"]["0.90"] == pytest.approx(((t >= low) & (t <= high)).mean(), abs=1e-9)
        curve = observed[(observed["target"] == name) & (observed["expected"] == 0.9)]["observed"]
        assert curve.tolist() == pytest.approx([said["coverage"]["0.90"]], abs=1e-6)
        assert metrics["uncertainty"]["predicted_sd"][name] == pytest.approx(
            np.sqrt((table[f"{name}_sd"].astype(float) ** 2).mean()), rel=1e-5
        )


def test_ensembles(corpus, write_head, evaluate, tmp_path: Path) -> None:
    paths = [write_head(0), write_head(1, window=13, stride=4), write_head(2, head="concat")]
    alone = [by_hand(corpus, path) for path in paths]
    means, deviations = (np.stack(each) for each in zip(*alone, strict=True))
    both = evaluate(*paths)
    assert both.metrics["uncertainty"]["source"] == "both"
    expected = np.sqrt((deviations**2).mean(axis=0) + means.var(axis=0))
    np.testing.assert_allclose(both.predictions.deviation, expected, atol=1e-5)
    np.testing.assert_allclose(both.predictions.values, means.mean(axis=0), atol=1e-5)
    # Heads without deviations, and an ensemble in which one has none.
    for others in (
        [write_head(seed, uncertainty=False) for seed in (0, 1)],
        [paths[0], write_head(1, uncertainty=False)],
    ):
        found = evaluate(*others, calibration=tmp_path / "calibration.csv")
        assert found.metrics["uncertainty"]["source"] == "ensemble"
        values = [evaluate(path).predictions.values.astype(np.float64) for path in others]
        np.testing.assert_allclose(found.predictions.deviation, np.std(values, axis=0), atol=1e-6)


def test_one_head_without_deviations_has_none(write_head, evaluate, tmp_path: Path) -> None:
    path = write_head(0, uncertainty=False)
    found = evaluate(path, predictions=tmp_path / "p.parquet")
    assert found.predictions.deviation is None
    assert not {"uncertainty", "calibration", "reliability"} & found.metrics.keys()
    assert "valence_sd" not in pandas.read_parquet(tmp_path / "p.parquet")
    (tmp_path / "metrics.json").unlink()
    with pytest.raises(HeadError, match=r"trained without --uncertainty .*tagf-0.*leave the file of calib"):
        evaluate(path, calibration=tmp_path / "none.csv")
    assert not (tmp_path / "none.csv").exists()
    assert not (tmp_path / "metrics.json").exists()


def test_the_head_that_lacks_deviations_is_named(write_head, evaluate, tmp_path: Path) -> None:
    heads = [write_head(0, fold=0), write_head(1, fold=1, uncertainty=False)]
    with pytest.raises(HeadError, match=r"says no deviations \(.*tagf-1-False-1.safetensors\)"):
        evaluate(*heads, split="fold", calibration=tmp_path / "none.csv")


def test_predictions_are_those_without_uncertainty(write_head, evaluate) -> None:
    plain, found = evaluate(write_head(3, uncertainty=False)), evaluate(write_head(3))
    np.testing.assert_array_equal(plain.predictions.values, found.predictions.values)
    assert plain.metrics["mean_ccc"] == found.metrics["mean_ccc"]
    assert plain.metrics["gates"] == found.metrics["gates"]


def test_out_of_fold(write_head, evaluate, tmp_path: Path) -> None:
    """A clip has the deviation of its own fold's head, and as many heads as seeds."""
    single = [write_head(seed, fold=seed) for seed in (0, 1)]
    found = evaluate(*single, split="fold", reliability=tmp_path / "r.parquet")
    assert found.metrics["uncertainty"]["source"] == "predicted"
    others = [write_head(seed + 2, fold=seed) for seed in (0, 1)]
    both = evaluate(*single, *others, split="fold")
    assert both.metrics["uncertainty"]["source"] == "both"
    assert (both.predictions.deviation > 0).all()
    assert len(pandas.read_parquet(tmp_path / "r.parquet")) == len(found.predictions.values)


@pytest.fixture(scope="module")
def muted(corpus, tmp_path_factory: pytest.TempPathFactory, write_corpus) -> dict[str, Any]:
    """Stores whose visual or audio rows are zero, but for that the corpus itself."""
    from cache import PartStore, pack_store

    stores = {}
    whole = FeatureStore.open(corpus.store)
    for modality in ("visual", "audio"):
        folder = tmp_path_factory.mktemp(modality)
        parts, keys = PartStore(folder / "parts"), []
        for clip_id, clip in corpus.clips.items():
            streams = dict(clip.streams) | {modality: np.zeros_like(clip.streams[modality])}
            parts.commit(whole[clip_id].key, dataclasses.replace(clip, streams=streams), {})
            keys.append((parts, whole[clip_id].key))
        pack_store(keys, whole.spec, folder / "features.zarr")
        stores[modality] = folder / "features.zarr"
    return stores


@pytest.mark.parametrize("gb", [None, 0.0])
def test_reliability(corpus, muted, write_head, evaluate, tmp_path: Path, gb: float | None) -> None:
    paths = [write_head(0), write_head(1, head="concat", uncertainty=False)]
    found = evaluate(*paths, gb=gb, reliability=tmp_path / "r.parquet", predictions=tmp_path / "p.parquet")
    table = pandas.read_parquet(tmp_path / "r.parquet")
    predictions = pandas.read_parquet(tmp_path / "p.parquet")
    names = [f"{target}_without_{modality}" for modality in ("visual", "audio") for target in TARGETS]
    shared = ["clip_id", "frame", "time_s", *TARGETS]
    assert list(table.columns) == [*shared, *names, "visual_share"]
    pandas.testing.assert_frame_equal(table[shared], predictions[shared])
    config = EvaluateConfig(split="test", batch_size=5)
    size = {}
    for modality, store in muted.items():
        without = evaluate_head(store, corpus.annotations, paths, tmp_path / "m.json", config=config)
        columns = [f"{target}_without_{modality}" for target in TARGETS]
        np.testing.assert_array_equal(table[columns], without.predictions.values)
        change = without.predictions.values.astype(float) - table[list(TARGETS)].to_numpy(float)
        size[modality] = np.sqrt((change**2).sum(axis=1))
        said = found.metrics["reliability"][modality]
        for column, target in enumerate(TARGETS):
            assert said[target]["mean_absolute_change"] == pytest.approx(np.abs(change[:, column]).mean())
            assert said[target]["ccc_without"] == pytest.approx(without.metrics[target]["ccc"], abs=1e-12)
    share = size["visual"] / (size["visual"] + size["audio"])
    np.testing.assert_allclose(table["visual_share"], share, atol=1e-6)
    assert found.metrics["reliability"]["visual_share"] == pytest.approx(share.mean(), abs=1e-6)


def test_heads_of_one_modality(write_head, evaluate, tmp_path: Path) -> None:
    for head, other, share in (("visual_only", "audio", 1.0), ("audio_only", "visual", 0.0)):
        found = evaluate(write_head(0, head=head), reliability=tmp_path / "r.parquet")
        table = pandas.read_parquet(tmp_path / "r.parquet")
        for target in TARGETS:
            assert (table[f"{target}_without_{other}"] == table[target]).all()
            assert found.metrics["reliability"][other][target]["mean_absolute_change"] == 0
        # Where no face is found, visual_only sees zeros anyway and need not change.
        assert (table["visual_share"].dropna() == share).all()
        assert table["visual_share"].notna().mean() > 0.5
        assert found.metrics["reliability"]["visual_share"] == share


def test_a_frame_that_nothing_changes_has_no_share(tmp_path: Path) -> None:
    from tagf_head.evaluation.reliability import Reliability

    values = np.array([[0.5, 0.0], [0.25, 0.5]], np.float32)
    moved = values + np.array([[0.0, 0.0], [0.3, 0.4]], np.float32)
    found = Reliability(values=values, without={"visual": moved, "audio": values})
    np.testing.assert_array_equal(found.visual_share(), [np.nan, 1.0])


def test_muted_rows_are_zero_in_one_stream_alone(corpus) -> None:
    data = load_split(FeatureStore.open(corpus.store), load_annotations(corpus.annotations), "test")
    plan = plan_windows(data.row_size, 20, 12)
    for stream, other in (("visual", "audio"), ("audio", "visual")):
        rows = MutedRows.of(data.rows, stream)
        assert (rows.num_rows, rows.num_views) == (data.rows.num_rows, data.rows.num_views)
        for batch, whole in zip(rows.batches(plan, 4), data.rows.batches(plan, 4), strict=True):
            assert not getattr(batch, stream).any()
            assert getattr(batch, stream).shape == getattr(whole, stream).shape
            for name in (other, "frame_mask", "label", "label_mask"):
                assert torch.equal(getattr(batch, name), getattr(whole, name))
