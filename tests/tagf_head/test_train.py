"""Training of tiny heads: it learns, repeats bit for bit, and goes on after a kill as if undisturbed."""

from __future__ import annotations

import csv
import dataclasses
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from cache import FeatureSpec, FeatureStore, PartStore, StreamSpec, pack_store
from tagf_head.annotations import load_annotations
from tagf_head.config import EvaluateConfig, TrainConfig
from tagf_head.data import open_features
from tagf_head.errors import AnnotationError, HeadError, TrainingError, UnknownHeadError
from tagf_head.evaluate import evaluate_head
from tagf_head.heads import HEADS
from tagf_head.train import TrainResult, train_head

FILES = ("best.safetensors", "config.yaml", "training_log.csv")


def contents(run: Path) -> dict[str, bytes]:
    return {name: (run / name).read_bytes() for name in FILES}


@pytest.fixture(scope="module")
def undisturbed(
    corpus, training: TrainConfig, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, TrainResult]:
    directory = tmp_path_factory.mktemp("undisturbed")
    result = train_head(
        corpus.store, corpus.annotations, directory / "run", training, work_dir=directory / "work"
    )
    return directory / "run", result


def test_learns_what_the_features_show(corpus, training: TrainConfig, tmp_path: Path) -> None:
    config = dataclasses.replace(training, max_epochs=30, lr=1e-2, weight_decay=1e-5)
    result = train_head(corpus.store, corpus.annotations, tmp_path / "run", config, work_dir=tmp_path)
    best = result.history[result.best_epoch - 1]
    assert best.validation_ccc_valence > 0.8
    assert best.validation_ccc_arousal > 0.8
    assert best.train_loss < result.history[0].train_loss / 2


def test_validation_score_is_that_of_the_saved_head(corpus, training, undisturbed) -> None:
    """The stitched CCC of best.safetensors, computed frame by frame with a plain loop over windows."""
    _, result = undisturbed
    store = FeatureStore.open(corpus.store)
    true, predicted = [], []
    for clip_id in ("v1", "v2"):
        visual = torch.from_numpy(store[clip_id].visual[0]).float()
        audio = torch.from_numpy(store[clip_id].audio).float()
        starts = sorted({*range(0, len(audio) - 20, 12), len(audio) - 20})
        said: list[list[np.ndarray]] = [[] for _ in range(len(audio))]
        for start in starts:
            part = slice(start, start + 20)
            with torch.no_grad():
                values = result.head(
                    visual[None, part], audio[None, part], torch.ones(1, 20, dtype=torch.bool)
                )
            for offset in range(20):
                said[start + offset].append(values[0, offset].double().numpy())
        labels = corpus.labels[clip_id]
        for row, values_of_row in enumerate(said):
            if (labels[row] != -5).all():
                true.append(labels[row])
                predicted.append(np.mean(values_of_row, axis=0))
    t, p = np.array(true), np.array(predicted)
    covariance = ((t - t.mean(0)) * (p - p.mean(0))).mean(0)
    ccc = 2 * covariance / (t.var(0) + p.var(0) + (t.mean(0) - p.mean(0)) ** 2)
    best = result.history[result.best_epoch - 1]
    assert [best.validation_ccc_valence, best.validation_ccc_arousal] == pytest.approx(ccc.tolist(), abs=1e-5)
    assert best.validation_ccc_mean == pytest.approx(ccc.mean(), abs=1e-5)
    assert best.validation_ccc_mean == max(record.validation_ccc_mean for record in result.history)
    assert not result.head.training


def test_repeats_bit_for_bit(corpus, training, undisturbed, tmp_path: Path) -> None:
    torch.manual_seed(99)  # the caller's random state has no say
    train_head(corpus.store, corpus.annotations, tmp_path / "run", training, work_dir=tmp_path / "work")
    assert contents(tmp_path / "run") == contents(undisturbed[0])


def test_leaves_the_callers_random_numbers_alone(corpus, training, tmp_path: Path) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    train_head(
        corpus.store,
        corpus.annotations,
        tmp_path,
        dataclasses.replace(training, max_epochs=1),
        work_dir=tmp_path / "work",
    )
    assert torch.equal(torch.rand(3), expected)


def test_another_seed_gives_another_head(corpus, training, undisturbed, tmp_path: Path) -> None:
    config = dataclasses.replace(training, seed=6)
    train_head(corpus.store, corpus.annotations, tmp_path / "run", config, work_dir=tmp_path / "work")
    assert contents(tmp_path / "run")["best.safetensors"] != contents(undisturbed[0])["best.safetensors"]


def test_files_of_a_run(corpus, training, undisturbed) -> None:
    run, result = undisturbed
    assert sorted(path.name for path in run.iterdir()) == sorted(FILES)
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["train"]["head"]["visual_features"] == 16
    assert config["train"]["head"]["audio_features"] == 8
    assert config["train"]["lr"] == training.lr
    assert config["seed"] == 5
    assert config["best_epoch"] == result.best_epoch
    assert config["features"]["fingerprint"] == FeatureStore.open(corpus.store).fingerprint
    assert config["features"]["spec"]["settings"]["audio.anchor"] == "center"
    assert config["features"]["random_weights"] is True
    assert config["annotations_digest"] == load_annotations(corpus.annotations).digest(
        ("train", "validation")
    )
    assert config["versions"]["torch"] == torch.__version__
    with (run / "training_log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [{key: float(value) for key, value in row.items()} for row in rows] == [
        dataclasses.asdict(record) for record in result.history
    ]
    # 11 windows in batches of 4: 3 steps in the epoch of warm-up, its last at the full rate.
    assert [float(row["lr"]) for row in rows] == [training.lr] * 4
    tensors = load_file(run / "best.safetensors")
    for name, tensor in result.head.state_dict().items():
        assert torch.equal(tensors[name], tensor), name


def test_progress_and_no_state_left_behind(corpus, training, tmp_path: Path) -> None:
    lines: list[str] = []
    train_head(
        corpus.store,
        corpus.annotations,
        tmp_path / "run",
        training,
        work_dir=tmp_path / "work",
        progress=lines.append,
    )
    assert lines[0] == (
        "train: 4 clips, 131 frames, 112 with labels, 11 windows; "
        "validation: 2 clips, 75 frames, 65 with labels, 6 windows"
    )
    assert [line.split()[1] for line in lines[1:]] == ["1/4", "2/4", "3/4", "4/4"]
    assert "windows/s" in lines[1]
    assert not [path for path in (tmp_path / "work").rglob("*") if path.is_file()]


def test_early_stopping(corpus, training, tmp_path: Path) -> None:
    # A rate this small changes no score in float32.
    config = dataclasses.replace(
        training, max_epochs=50, lr=1e-30, min_lr=1e-30, early_stop_patience=3, warmup_epochs=2
    )
    result = train_head(
        corpus.store, corpus.annotations, tmp_path / "run", config, work_dir=tmp_path / "work"
    )
    scores = [record.validation_ccc_mean for record in result.history]
    assert result.best_epoch == 1 + int(np.argmax(scores))
    assert len(scores) == max(result.best_epoch, 2) + 3


class InterruptionError(Exception):
    """Stands for whatever ends a run."""


@pytest.mark.parametrize("epochs", [1, 2, 3, 4])
def test_resumes_after_any_epoch(corpus, training, undisturbed, tmp_path: Path, epochs: int) -> None:
    def stop(line: str) -> None:
        if line.startswith(f"epoch {epochs}/"):
            raise InterruptionError

    arguments = (corpus.store, corpus.annotations, tmp_path / "run", training)
    with pytest.raises(InterruptionError):
        train_head(*arguments, work_dir=tmp_path / "work", progress=stop)
    assert not (tmp_path / "run").exists()
    lines: list[str] = []
    train_head(*arguments, work_dir=tmp_path / "work", resume=True, progress=lines.append)
    assert lines[1].startswith(f"resume: going on after {epochs} epochs")
    assert len(lines) == 2 + 4 - epochs
    assert contents(tmp_path / "run") == contents(undisturbed[0])


def test_the_best_head_is_kept_and_outlives_an_interruption(training, tmp_path: Path, write_corpus) -> None:
    corpus = write_corpus(tmp_path)
    for clip_id in ("v1", "v2"):
        # What is learnt makes these scores worse, so that the best epoch is an early one.
        labels = corpus.labels[clip_id]
        negated = np.where(labels == -5, -5, -labels)
        rows = "".join(f"{v},{a}\n" for v, a in negated)
        (corpus.annotations / f"Validation_Set/{clip_id}.txt").write_text(f"valence,arousal\n{rows}")
    config = dataclasses.replace(training, lr=1e-2)

    def stop(line: str) -> None:
        if line.startswith("epoch 3/"):
            raise InterruptionError

    whole, interrupted = tmp_path / "whole", tmp_path / "interrupted"
    result = train_head(corpus.store, corpus.annotations, whole, config, work_dir=tmp_path / "work")
    assert result.best_epoch < 3
    with pytest.raises(InterruptionError):
        train_head(
            corpus.store, corpus.annotations, interrupted, config, work_dir=tmp_path / "work", progress=stop
        )
    train_head(corpus.store, corpus.annotations, interrupted, config, work_dir=tmp_path / "work", resume=True)
    assert contents(interrupted) == contents(whole)
    validation = EvaluateConfig(split="validation", batch_size=training.batch_size)
    evaluation = evaluate_head(
        corpus.store,
        corpus.annotations,
        whole / "best.safetensors",
        tmp_path / "metrics.json",
        config=validation,
    )
    best = max(record.validation_ccc_mean for record in result.history)
    assert evaluation.metrics["mean_ccc"] == pytest.approx(best, abs=1e-12)


def test_without_resume_a_run_starts_anew(corpus, training, undisturbed, tmp_path: Path) -> None:
    def stop(line: str) -> None:
        if line.startswith("epoch 2/"):
            raise InterruptionError

    arguments = (corpus.store, corpus.annotations, tmp_path / "run", training)
    with pytest.raises(InterruptionError):
        train_head(*arguments, work_dir=tmp_path / "work", progress=stop)
    lines: list[str] = []
    train_head(*arguments, work_dir=tmp_path / "work", progress=lines.append)
    assert len(lines) == 1 + 4
    assert contents(tmp_path / "run") == contents(undisturbed[0])


SCRIPT = """
import os, signal, sys, torch
from pathlib import Path
from cache.settings import load_section
from tagf_head.config import TrainConfig
from tagf_head.train import train_head
torch.set_num_threads(1)
store, annotations, out, work, params = map(Path, sys.argv[1:])
config = load_section(params, "train", TrainConfig)

def progress(line):
    if line.startswith("epoch 2/"):
        os.kill(os.getpid(), signal.SIGKILL)

train_head(store, annotations, out, config, work_dir=work, progress=progress)
"""


def test_resumes_after_sigkill(corpus, training, undisturbed, tmp_path: Path) -> None:
    from cache.settings import to_mapping

    config = dataclasses.replace(training, max_epochs=4)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"train": to_mapping(config)}))
    arguments = [
        corpus.store,
        corpus.annotations,
        tmp_path / "run",
        tmp_path / "work",
        tmp_path / "params.yaml",
    ]
    # By its own hand: a signal from here might come when the run is over.
    killed = subprocess.run(
        [sys.executable, "-c", SCRIPT, *map(str, arguments)], cwd=Path(__file__).parents[2], check=False
    )
    assert killed.returncode == -signal.SIGKILL
    lines: list[str] = []
    train_head(
        corpus.store,
        corpus.annotations,
        tmp_path / "run",
        config,
        work_dir=tmp_path / "work",
        resume=True,
        progress=lines.append,
    )
    assert lines[1].startswith("resume: going on after 2 epochs")
    assert contents(tmp_path / "run") == contents(undisturbed[0])


def test_a_damaged_state_starts_the_run_anew(corpus, training, undisturbed, tmp_path: Path) -> None:
    def stop(line: str) -> None:
        if line.startswith("epoch 2/"):
            raise InterruptionError

    arguments = (corpus.store, corpus.annotations, tmp_path / "run", training)
    with pytest.raises(InterruptionError):
        train_head(*arguments, work_dir=tmp_path / "work", progress=stop)
    (state,) = (tmp_path / "work/training").iterdir()
    state.write_bytes(state.read_bytes()[: state.stat().st_size // 2])
    lines: list[str] = []
    train_head(*arguments, work_dir=tmp_path / "work", resume=True, progress=lines.append)
    assert not any(line.startswith("resume") for line in lines)
    assert contents(tmp_path / "run") == contents(undisturbed[0])


def test_a_state_of_other_labels_is_not_taken_up(corpus, training, tmp_path: Path) -> None:
    def stop(line: str) -> None:
        if line.startswith("epoch 1/"):
            raise InterruptionError

    annotations = tmp_path / "annotations"
    shutil.copytree(corpus.annotations, annotations)
    with pytest.raises(InterruptionError):
        train_head(
            corpus.store, annotations, tmp_path / "run", training, work_dir=tmp_path / "work", progress=stop
        )
    path = annotations / "Validation_Set/v1.txt"
    path.write_text(path.read_text().replace(",-5.0", ",0.5", 1))
    lines: list[str] = []
    train_head(
        corpus.store,
        annotations,
        tmp_path / "run",
        training,
        work_dir=tmp_path / "work",
        resume=True,
        progress=lines.append,
    )
    assert not any(line.startswith("resume") for line in lines)


def test_work_dir_from_the_environment(
    corpus, training, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []

    def look(line: str) -> None:
        seen.append([path.suffix for path in tmp_path.glob("work/training/*")])

    config = dataclasses.replace(training, max_epochs=1)
    monkeypatch.setenv("TAGF_WORK_DIR", str(tmp_path / "work"))
    train_head(corpus.store, corpus.annotations, tmp_path / "run", config, progress=look)
    assert seen == [[], [".pt"]]


@pytest.mark.parametrize("name", [name for name in HEADS if name != "tagf"])
def test_every_head_trains(corpus, training, tmp_path: Path, name: str) -> None:
    config = dataclasses.replace(
        training, max_epochs=2, ccc_over="window", head=dataclasses.replace(training.head, name=name)
    )
    result = train_head(
        corpus.store, corpus.annotations, tmp_path / "run", config, work_dir=tmp_path / "work"
    )
    assert len(result.history) == 2
    assert np.isfinite([record.train_loss for record in result.history]).all()


def test_windows_without_labels_do_no_harm(tmp_path: Path, write_corpus, training) -> None:
    corpus = write_corpus(tmp_path)
    for clip_id, size in (("t1", 50), ("t2", 33), ("t3_left", 7)):
        (corpus.annotations / f"Train_Set/{clip_id}.txt").write_text("valence,arousal\n" + "-5,-5\n" * size)
    config = dataclasses.replace(training, max_epochs=1, batch_size=1)
    lines: list[str] = []
    result = train_head(
        corpus.store,
        corpus.annotations,
        tmp_path / "run",
        config,
        work_dir=tmp_path / "work",
        progress=lines.append,
    )
    assert "131 frames, 35 with labels, 3 windows" in lines[0]
    assert np.isfinite(result.history[0].train_loss)


def test_divergence_is_named(corpus, training, tmp_path: Path) -> None:
    config = dataclasses.replace(training, lr=1e30, warmup_epochs=0)
    with pytest.raises((TrainingError, HeadError), match=r"lower train\.lr|have diverged"):
        train_head(corpus.store, corpus.annotations, tmp_path / "run", config, work_dir=tmp_path / "work")
    assert not (tmp_path / "run").exists()


def test_users_mistakes(corpus, training, tmp_path: Path) -> None:
    arguments = (corpus.store, corpus.annotations, tmp_path / "run")
    unknown = dataclasses.replace(training, head=dataclasses.replace(training.head, name="tagg"))
    with pytest.raises(UnknownHeadError):
        train_head(*arguments, unknown, work_dir=tmp_path)
    with pytest.raises(HeadError, match="device 'gpu0' cannot be used here"):
        train_head(*arguments, training, device="gpu0", work_dir=tmp_path)
    with pytest.raises(AnnotationError, match="no annotations in"):
        train_head(corpus.store, tmp_path / "none", tmp_path / "run", training, work_dir=tmp_path)
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(HeadError, match="cannot be written"):
        train_head(*arguments, training, work_dir=blocked)


def test_several_stores_train_as_one(corpus, tmp_path: Path, training: TrainConfig) -> None:
    whole = FeatureStore.open(corpus.store)
    parts = PartStore(corpus.store.parent / "parts")
    keys = [whole[clip].key for clip in whole]
    for name, chosen in (("a", keys[:5]), ("b", keys[5:])):
        pack_store([(parts, key) for key in chosen], whole.spec, tmp_path / name)
    config = dataclasses.replace(training, max_epochs=2)
    train_head(whole, corpus.annotations, tmp_path / "one", config, work_dir=tmp_path / "work")
    paths = [str(tmp_path / "a"), tmp_path / "b"]
    result = train_head(paths, corpus.annotations, tmp_path / "two", config, work_dir=tmp_path / "work")
    assert result.info.features_digest == FeatureStore.open(*paths).digest
    logs = [(tmp_path / run / "training_log.csv").read_bytes() for run in ("one", "two")]
    assert logs[0] == logs[1]


@pytest.mark.parametrize("missing", ["visual", "audio"])
def test_a_store_without_a_stream_that_heads_take(
    corpus, training: TrainConfig, tmp_path: Path, missing: str
) -> None:
    streams = [StreamSpec(name="other", num_features=2)]
    streams += [stream for stream in FeatureStore.open(corpus.store).spec.streams if stream.name != missing]
    spec = FeatureSpec(streams=tuple(streams), settings={})
    pack_store([], spec, tmp_path / "s.zarr")
    names = ", ".join(stream.name for stream in spec.streams)
    message = rf"s\.zarr has the streams {names}; training needs visual and audio"
    with pytest.raises(HeadError, match=message):
        train_head(tmp_path / "s.zarr", corpus.annotations, tmp_path / "run", training)
    with pytest.raises(HeadError, match=message):
        open_features(tmp_path / "s.zarr")
