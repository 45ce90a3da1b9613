"""Evaluation of a trained head, its numbers recomputed from the written predictions with numpy alone."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

from cache import FeatureStore, StaleFeatureError
from tagf_head.checkpoint import load_checkpoint, save_checkpoint
from tagf_head.config import EvaluateConfig, LabelConfig
from tagf_head.data.folds import Fold
from tagf_head.data.mapped_rows import MappedRows
from tagf_head.errors import AnnotationError, CheckpointError
from tagf_head.evaluation import evaluate as evaluate_module
from tagf_head.evaluation.evaluate import Evaluation, evaluate_head
from tagf_head.evaluation.predictions import read_predictions
from tagf_head.evaluation.results import collect_results
from tagf_head.training.train import train_head

TEST_CLIPS = ("e1", "e2_left", "e2_right", "e3")
TEST = EvaluateConfig(split="test", batch_size=4, trace_clips=2)


@pytest.fixture(scope="module")
def checkpoint(corpus, training, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("trained")
    config = dataclasses.replace(training, max_epochs=3)
    train_head(corpus.store, corpus.annotations, directory, config, work_dir=directory / "work")
    return directory / "best.safetensors"


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("evaluated")


@pytest.fixture(scope="module")
def evaluation(corpus, checkpoint: Path, out: Path) -> Evaluation:
    return evaluate_head(
        corpus.store,
        corpus.annotations,
        checkpoint,
        out / "metrics.json",
        out / "predictions.parquet",
        out / "traces" / "traces.csv",
        config=TEST,
        clip_metrics=out / "clip_metrics.csv",
        gates=out / "gates.parquet",
    )


@pytest.mark.usefixtures("evaluation")
def test_metrics_equal_numpy_on_the_written_predictions(corpus, out: Path) -> None:
    metrics = json.loads((out / "metrics.json").read_text())
    table = pandas.read_parquet(out / "predictions.parquet")
    labels = np.concatenate([corpus.labels[clip_id] for clip_id in ("e1", "e2_left", "e2_right", "e3")])
    valid = ~(labels == -5).any(axis=1)
    for column, name in enumerate(("valence", "arousal")):
        t, p = labels[valid, column], table[name].to_numpy(np.float64)[valid]
        covariance = ((t - t.mean()) * (p - p.mean())).mean()
        expected = {
            "ccc": 2 * covariance / (t.var() + p.var() + (t.mean() - p.mean()) ** 2),
            "pcc": np.corrcoef(t, p)[0, 1],
            "rmse": np.sqrt(((t - p) ** 2).mean()),
            "mae": np.abs(t - p).mean(),
            "sagr": (np.sign(t) == np.sign(p)).mean(),
        }
        for metric, value in expected.items():
            # The predictions are float32, the labels that the head was compared with as well.
            assert metrics[name][metric] == pytest.approx(value, abs=1e-7), (name, metric)
        assert metrics[name]["ccc_low"] <= metrics[name]["ccc"] <= metrics[name]["ccc_high"]
    assert metrics["mean_ccc"] == pytest.approx((metrics["valence"]["ccc"] + metrics["arousal"]["ccc"]) / 2)
    assert metrics["mean_ccc_low"] < metrics["mean_ccc"] < metrics["mean_ccc_high"]


@pytest.mark.usefixtures("evaluation")
def test_metrics_say_what_they_rest_on(corpus, out: Path, evaluation: Evaluation) -> None:
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics == evaluation.metrics
    masked = sum(
        int((corpus.labels[clip] == -5).any(axis=1).sum()) for clip in ("e1", "e2_left", "e2_right", "e3")
    )
    assert {name: value for name, value in metrics.items() if name.startswith("num_")} == {
        "num_heads": 1,
        "num_clips": 4,
        "num_frames": 95,
        "num_labelled_frames": 95 - masked,
        "num_masked_frames": masked,
        "num_missing_label_rows": 0,
        "num_surplus_label_rows": 0,
        "num_clips_without_labels": 1,
    }
    # e2_left and e2_right are two sides of one video.
    assert metrics["interval"] == {
        "confidence": 0.95,
        "unit": "media file",
        "num_units": 3,
        "num_resamples": 2000,
    }
    assert metrics["labels"] == {"gold_standard": "mean", "delay_s": 0.0}
    assert metrics["ensemble_size"] == 1
    assert metrics["split"] == "test"
    assert (metrics["head"], metrics["seed"]) == ("tagf", 5)
    assert metrics["random_weights"] is True


@pytest.mark.usefixtures("evaluation")
def test_predictions_name_every_frame(corpus, out: Path) -> None:
    table = pandas.read_parquet(out / "predictions.parquet")
    for clip_id in ("e1", "e2_left", "e2_right", "e3"):
        rows, clip = table[table["clip_id"] == clip_id], corpus.clips[clip_id]
        np.testing.assert_array_equal(rows["frame"], clip.source_frame)
        np.testing.assert_array_equal(rows["time_s"], clip.time_s)
        np.testing.assert_array_equal(rows["face_found"], clip.face_found)
    assert len(table) == 95


@pytest.mark.usefixtures("evaluation")
def test_predictions_carry_the_groups_of_the_intervals(out: Path) -> None:
    groups = read_predictions(out / "predictions.parquet").groups
    assert (groups.unit, groups.num_groups) == ("media file", 3)
    assert groups.group[1] == groups.group[2]


def test_clips_by_themselves(out: Path, evaluation: Evaluation) -> None:
    table = pandas.read_csv(out / "clip_metrics.csv")
    metrics = evaluation.metrics
    assert table["clip_id"].tolist() == ["e1", "e2_left", "e2_right", "e3"]
    assert table["num_frames"].tolist() == [26, 38, 11, 20]
    assert table["num_labelled"].sum() == metrics["num_labelled_frames"]
    for name in ("valence", "arousal"):
        assert metrics["clip_mean"][name]["num_clips"] == 4
        for metric in ("ccc", "pcc", "rmse", "mae", "sagr"):
            assert metrics["clip_mean"][name][metric] == pytest.approx(
                table[f"{name}_{metric}"].mean(), abs=1e-6
            )
        pooled = np.average(table[f"{name}_mae"], weights=table["num_labelled"])
        assert metrics[name]["mae"] == pytest.approx(pooled, abs=1e-6)


def test_gates_of_every_frame(out: Path, evaluation: Evaluation) -> None:
    gates = pandas.read_parquet(out / "gates.parquet")
    frames = pandas.read_parquet(out / "predictions.parquet")
    pandas.testing.assert_frame_equal(
        gates[["clip_id", "frame", "time_s"]], frames[["clip_id", "frame", "time_s"]]
    )
    for name in ("visual", "audio"):
        weights = gates[[f"{name}_H{step}" for step in range(3)]].to_numpy(np.float64)
        np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-5)
        said = evaluation.metrics["gates"][name]
        assert said["entropy"] == pytest.approx(-(weights * np.log(weights)).sum(axis=1).mean(), abs=1e-5)
        assert said["max_entropy"] == pytest.approx(np.log(3))
        assert list(said["mean_weight"].values()) == pytest.approx(weights.mean(axis=0), abs=1e-6)


@pytest.mark.usefixtures("evaluation")
def test_traces(corpus, out: Path) -> None:
    with (out / "traces" / "traces.csv").open() as file:
        rows = list(csv.DictReader(file))
    table = pandas.read_parquet(out / "predictions.parquet")
    assert list(rows[0]) == ["clip_id", "time_s", "target", "series", "value"]
    expected = []
    for clip_id in ("e1", "e2_left"):
        clip, labels = corpus.clips[clip_id], corpus.labels[clip_id]
        predicted = table[table["clip_id"] == clip_id]
        for column, target in enumerate(("valence", "arousal")):
            for row in range(clip.num_frames):
                if (labels[row] != -5).all():
                    expected.append((clip_id, clip.time_s[row], target, "true", labels[row, column]))
            for row in range(clip.num_frames):
                expected.append((clip_id, clip.time_s[row], target, "predicted", predicted[target].iloc[row]))
    assert len(rows) == len(expected)
    for found, (clip_id, time_s, target, series, value) in zip(rows, expected, strict=True):
        assert (found["clip_id"], found["target"], found["series"]) == (clip_id, target, series)
        assert float(found["time_s"]) == pytest.approx(time_s, abs=1e-6)
        assert float(found["value"]) == pytest.approx(value, abs=1e-6)


def test_repeats_bit_for_bit(
    corpus, checkpoint: Path, out: Path, evaluation: Evaluation, tmp_path: Path
) -> None:
    again = evaluate_head(
        FeatureStore.open(corpus.store),
        corpus.annotations,
        checkpoint,
        tmp_path / "metrics.json",
        tmp_path / "predictions.parquet",
        tmp_path / "traces.csv",
        config=TEST,
    )
    assert again.metrics == evaluation.metrics
    for name in ("metrics.json", "predictions.parquet"):
        assert (tmp_path / name).read_bytes() == (out / name).read_bytes()
    assert (tmp_path / "traces.csv").read_bytes() == (out / "traces" / "traces.csv").read_bytes()


def test_validation_score_is_that_of_training(corpus, checkpoint: Path, tmp_path: Path) -> None:
    config = EvaluateConfig(split="validation", batch_size=4)
    metrics = evaluate_head(
        corpus.store, corpus.annotations, checkpoint, tmp_path / "metrics.json", config=config
    ).metrics
    log = pandas.read_csv(checkpoint.parent / "training_log.csv")
    # Training does not round its predictions to the float32 of the file.
    assert metrics["mean_ccc"] == pytest.approx(log["validation_ccc_mean"].max(), abs=1e-6)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["metrics.json"]


def test_missing_and_surplus_label_rows_are_counted(
    corpus, checkpoint: Path, evaluation: Evaluation, write_corpus, tmp_path: Path
) -> None:
    copy = write_corpus(tmp_path)
    first, third = (copy.annotations / f"Test_Set/{clip}.txt" for clip in ("e1", "e3"))
    first.write_text("".join(first.read_text().splitlines(keepends=True)[:-2]))
    third.write_text(third.read_text() + "1,1\n" * 3)
    metrics = evaluate_head(
        copy.store, copy.annotations, checkpoint, tmp_path / "m.json", config=TEST
    ).metrics
    # Row 24 of e1, now missing, was not annotated anyway.
    assert metrics["num_missing_label_rows"] == 2
    assert metrics["num_surplus_label_rows"] == 3
    assert metrics["num_labelled_frames"] == evaluation.metrics["num_labelled_frames"] - 1
    assert metrics["num_frames"] == 95


def test_features_of_another_fingerprint_are_refused(checkpoint: Path, write_corpus, tmp_path: Path) -> None:
    from cache import FeatureSpec, StreamSpec

    other = FeatureSpec(
        streams=(
            StreamSpec(name="visual", num_features=16, views=("center", "flip")),
            StreamSpec(name="audio", num_features=8),
        ),
        settings={"visual.weights": "random:0/1", "audio.anchor": "end"},
    )
    corpus = write_corpus(tmp_path, spec=other)
    with pytest.raises(StaleFeatureError) as caught:
        evaluate_head(corpus.store, corpus.annotations, checkpoint, tmp_path / "metrics.json", config=TEST)
    assert "audio.anchor: 'end'" in str(caught.value)
    assert "best.safetensors" in str(caught.value)
    assert not (tmp_path / "metrics.json").exists()


def test_users_mistakes(corpus, checkpoint: Path, tmp_path: Path, write_corpus) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        evaluate_head(corpus.store, corpus.annotations, tmp_path / "none", tmp_path / "m.json", config=TEST)
    other = write_corpus(tmp_path / "other")
    for path in (other.annotations / "Test_Set").iterdir():
        path.unlink()
    with pytest.raises(AnnotationError, match=r"no labels for split 'test'.*got an empty folder"):
        evaluate_head(other.store, other.annotations, checkpoint, tmp_path / "m.json", config=TEST)


def test_clips_that_were_trained_on_are_refused(checkpoint: Path, write_corpus, tmp_path: Path) -> None:
    copy = write_corpus(tmp_path)
    for clip_id, folder in {"t1": "Test_Set", "t2": "Test_Set", "t3_left": "Validation_Set"}.items():
        name = f"{clip_id}.txt"
        (copy.annotations / "Train_Set" / name).rename(copy.annotations / folder / name)
    for split, named in {
        "test": "2 of the clips .*: t1, t2;",
        "validation": "1 of the clips .*: t3_left;",
    }.items():
        with pytest.raises(CheckpointError, match=rf"best\.safetensors was trained on {named}"):
            evaluate_head(
                copy.store,
                copy.annotations,
                checkpoint,
                tmp_path / "m.json",
                config=EvaluateConfig(split=split),
            )
    assert not (tmp_path / "m.json").exists()
    # On the training split that is as it should be.
    evaluate_head(
        copy.store, copy.annotations, checkpoint, tmp_path / "m.json", config=EvaluateConfig(split="train")
    )


def test_one_subject_has_no_interval(checkpoint: Path, write_corpus, tmp_path: Path) -> None:
    splits = {"Train_Set": {"t": 30}, "Validation_Set": {"v": 30}, "Test_Set": {"e_left": 20, "e_right": 30}}
    corpus = write_corpus(tmp_path, splits)
    evaluate_head(corpus.store, corpus.annotations, checkpoint, tmp_path / "metrics.json", config=TEST)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["interval"]["num_units"] == 1
    assert metrics["mean_ccc_low"] is None
    assert metrics["valence"]["ccc_high"] is None


def test_labels_that_never_change_define_no_ccc(checkpoint: Path, write_corpus, tmp_path: Path) -> None:
    copy = write_corpus(tmp_path)
    for path in (copy.annotations / "Test_Set").iterdir():
        num_lines = len(path.read_text().splitlines()) - 1
        path.write_text("valence,arousal\n" + "".join(f"0.3,{row / 99}\n" for row in range(num_lines)))
    evaluate_head(copy.store, copy.annotations, checkpoint, tmp_path / "metrics.json", config=TEST)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    for name in ("ccc", "pcc", "ccc_low", "ccc_high"):
        assert metrics["valence"][name] is None
        assert metrics["arousal"][name] is not None
    assert metrics["valence"]["rmse"] > 0
    assert [metrics[name] for name in ("mean_ccc", "mean_ccc_low", "mean_ccc_high")] == [None] * 3
    assert metrics["clip_mean"]["valence"]["num_clips"] == 0
    assert metrics["clip_mean"]["valence"]["ccc"] is None


def test_labels_are_delayed_as_in_training(corpus, training, write_corpus, tmp_path: Path) -> None:
    # Labels that a lagging annotator gave, 0.2 s late: 5 frames at 25 per second.
    late = write_corpus(tmp_path / "late")
    for path in late.annotations.rglob("*.txt"):
        header, *rows = path.read_text().splitlines(keepends=True)
        path.write_text("".join([header, *["-5,-5\n"] * 5, *rows[:-5]]))
    config = dataclasses.replace(training, max_epochs=1, labels=LabelConfig(delay_s=0.2))
    train_head(late.store, late.annotations, tmp_path / "run", config, work_dir=tmp_path / "work")
    found = evaluate_head(
        late.store, late.annotations, tmp_path / "run/best.safetensors", tmp_path / "m.json", config=TEST
    )
    assert found.metrics["labels"] == {"gold_standard": "mean", "delay_s": 0.2}
    labels = [corpus.labels[clip].copy() for clip in TEST_CLIPS]
    for each in labels:
        each[-5:] = -5
    check_errors(found, np.concatenate(labels))


def test_raters_are_weighted_as_in_training_and_subjects_are_resampled(
    corpus, training, write_corpus, tmp_path: Path
) -> None:
    rated, generator = write_corpus(tmp_path / "rated"), np.random.default_rng(8)
    expected = {}
    for path in rated.annotations.rglob("*.txt"):
        true = np.repeat(corpus.labels[path.stem][:, :, None], 3, axis=2)
        true[(true[:, :, 0] == -5).any(axis=1)] = 0
        ratings = np.clip(true * [1, 0.8, -0.1] + generator.normal(0, [0.05, 0.1, 0.3], true.shape), -1, 1)
        ratings = ratings.round(6)
        columns = [f"{target}_{rater}" for target in ("valence", "arousal") for rater in "abc"]
        table = pandas.DataFrame(ratings.reshape(len(true), 6), columns=columns)
        table.insert(0, "time_s", corpus.clips[path.stem].time_s)
        table.to_csv(path.with_suffix(".csv"), index=False)
        path.unlink()
        correlation = [
            [np.corrcoef(ratings[:, t, k], ratings[:, t].mean(axis=1))[0, 1] for k in range(3)]
            for t in range(2)
        ]
        weight = np.maximum(correlation, 0)
        expected[path.stem] = (ratings * weight).sum(axis=2) / weight.sum(axis=1)
    (rated.annotations / "subjects.csv").write_text(
        "clip_id,subject\n" + "".join(f"{clip},{'bo' if clip == 'e1' else 'anna'}\n" for clip in TEST_CLIPS)
    )
    config = dataclasses.replace(training, max_epochs=1, labels=LabelConfig(gold_standard="ewe"))
    train_head(rated.store, rated.annotations, tmp_path / "run", config, work_dir=tmp_path / "work")
    found = evaluate_head(
        rated.store,
        rated.annotations,
        tmp_path / "run" / "best.safetensors",
        tmp_path / "run" / "metrics.json",
        tmp_path / "run" / "predictions.parquet",
        config=TEST,
    )
    check_errors(found, np.concatenate([expected[clip] for clip in TEST_CLIPS]))
    assert found.metrics["labels"]["gold_standard"] == "ewe"
    assert (found.metrics["interval"]["unit"], found.metrics["interval"]["num_units"]) == ("subject", 2)
    table = collect_results([tmp_path / "run"], rated.annotations, "test")
    assert table.rows[0].ccc.mean.low == pytest.approx(found.metrics["mean_ccc_low"], abs=1e-9)


def check_errors(found: Evaluation, labels: np.ndarray) -> None:
    valid = ~(labels == -5).any(axis=1)
    assert found.metrics["num_labelled_frames"] == valid.sum()
    errors = np.abs(found.predictions.values.astype(np.float64) - labels)[valid].mean(axis=0)
    mae = [found.metrics[name]["mae"] for name in ("valence", "arousal")]
    assert mae == pytest.approx(errors, abs=1e-6)


@pytest.mark.gpu
def test_cuda_agrees_with_the_cpu(corpus, checkpoint: Path, evaluation: Evaluation, tmp_path: Path) -> None:
    found = evaluate_head(
        corpus.store, corpus.annotations, checkpoint, tmp_path / "metrics.json", config=TEST, device="cuda"
    )
    np.testing.assert_allclose(found.predictions.values, evaluation.predictions.values, atol=5e-3)


@pytest.mark.parametrize("split", ["test", "fold"])
def test_rows_beyond_the_memory_stay_in_their_files(
    corpus, training, checkpoint: Path, evaluation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, split
) -> None:
    kinds: list[type] = []
    original = evaluate_module.predict

    def predict(ensemble: Any, data: Any, *arguments: Any) -> Any:
        kinds.append(type(data.rows))
        return original(ensemble, data, *arguments)

    monkeypatch.setattr(evaluate_module, "predict", predict)
    config = dataclasses.replace(TEST, split=split, rows_memory_gb=0.0)
    path = checkpoint
    if split == "fold":
        path = tmp_path / "best.safetensors"
        found = load_checkpoint(checkpoint)
        info = dataclasses.replace(found.info, fold=Fold(index=0, num_folds=3))
        save_checkpoint(path, found.head.state_dict(), info)
    result = evaluate_head(corpus.store, corpus.annotations, path, tmp_path / "metrics.json", config=config)
    assert kinds == [MappedRows]
    if split == "test":
        assert result.metrics == evaluation.metrics
