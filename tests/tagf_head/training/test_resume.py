"""Runs that were ended and go on: the same weights, or a word on why not."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from cache import FeatureStore
from tagf_head.config import AugmentConfig, EvaluateConfig, TrainConfig
from tagf_head.errors import TrainingError
from tagf_head.evaluation.evaluate import evaluate_head
from tagf_head.training import paced_saves
from tagf_head.training import train as train_module
from tagf_head.training.state import TrainingStateFile
from tagf_head.training.train import train_head

FILES = ("best.safetensors", "config.yaml", "training_log.csv")


def contents(run: Path) -> dict[str, bytes]:
    assert sorted(path.name for path in run.iterdir()) == sorted(FILES)
    return {name: (run / name).read_bytes() for name in FILES}


class InterruptionError(Exception):
    """Stands for whatever ends a run."""


@pytest.fixture
def interrupt(train) -> Callable[..., None]:
    """Trains until some epochs are done."""

    def run(name: str, config: TrainConfig, epochs: int) -> None:
        def stop(line: str) -> None:
            if line.startswith(f"epoch {epochs}/"):
                raise InterruptionError

        with pytest.raises(InterruptionError):
            train(name, config, progress=stop)

    return run


@pytest.mark.parametrize("epochs", [1, 3, 4])
def test_resumes_after_any_epoch(
    train, interrupt, training, undisturbed, tmp_path: Path, epochs: int
) -> None:
    interrupt("run", training, epochs)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["unfinished.yaml"]
    lines: list[str] = []
    train("run", training, resume=True, progress=lines.append)
    assert lines[1].startswith(f"resume: going on after {epochs} epochs")
    assert len(lines) == 2 + 4 - epochs
    assert contents(tmp_path / "run") == contents(undisturbed[0])


def test_resumes_augmentation_and_float64(train, interrupt, training, tmp_path: Path) -> None:
    augment = AugmentConfig(drop_visual=0.2, drop_audio=0.2, shift_audio_frames=3, noise=0.3, mixup=0.4)
    config = dataclasses.replace(training, augment=augment, precision="float64", gradient_clip=0.1)
    train("whole", config)
    interrupt("run", config, 2)
    train("run", config, resume=True)
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")


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


def test_without_resume_a_run_starts_anew(train, interrupt, training, undisturbed, tmp_path: Path) -> None:
    interrupt("run", training, 2)
    lines: list[str] = []
    train("run", training, progress=lines.append)
    assert len(lines) == 1 + 4
    assert contents(tmp_path / "run") == contents(undisturbed[0])


def test_a_finished_run_is_given_back(train, training, undisturbed, tmp_path: Path) -> None:
    shutil.copytree(undisturbed[0], tmp_path / "run")
    lines: list[str] = []
    found = train("run", training, resume=True, progress=lines.append)
    expected = undisturbed[1]
    assert lines == [f"resume: the run in {tmp_path / 'run'} has ended, its best epoch is {found.best_epoch}"]
    assert found.info == expected.info
    assert found.history == expected.history
    assert not found.head.training
    for name, tensor in expected.head.state_dict().items():
        assert torch.equal(found.head.state_dict()[name], tensor)


def killed_after_two_epochs(store: Path, annotations: Path, folder: Path, config: TrainConfig) -> None:
    paced_saves._PAUSE = 0.0  # every epoch is saved

    def progress(line: str) -> None:
        if line.startswith("epoch 2/"):
            os.kill(os.getpid(), signal.SIGKILL)

    train_head(store, annotations, folder / "run", config, work_dir=folder / "work", progress=progress)


def test_resumes_after_sigkill(corpus, train, training, undisturbed, tmp_path: Path, run_processes) -> None:
    (tmp_path / "process").mkdir()
    # By its own hand: a signal from here might come when the run is over.
    with pytest.raises(Exception, match="ended with exit code -9"):
        run_processes(
            tmp_path / "process",
            killed_after_two_epochs,
            corpus.store,
            corpus.annotations,
            tmp_path,
            training,
            count=1,
            environment={},
        )
    lines: list[str] = []
    train("run", training, resume=True, progress=lines.append)
    assert lines[1].startswith("resume: going on after 2 epochs")
    assert contents(tmp_path / "run") == contents(undisturbed[0])


def test_a_damaged_state_starts_the_run_anew(train, interrupt, training, undisturbed, tmp_path: Path) -> None:
    interrupt("run", training, 2)
    (state,) = (tmp_path / "work/training").iterdir()
    state.write_bytes(state.read_bytes()[: state.stat().st_size // 2])
    lines: list[str] = []
    train("run", training, resume=True, progress=lines.append)
    assert (
        lines[1]
        == f"resume: the state of the run in {tmp_path / 'run'} is gone or damaged, starting with epoch 1"
    )
    assert contents(tmp_path / "run") == contents(undisturbed[0])


def test_a_run_of_other_settings_is_named(train, interrupt, training, tmp_path: Path) -> None:
    interrupt("run", training, 1)
    lines: list[str] = []
    config = dataclasses.replace(training, lr=1e-3, max_epochs=1)
    train("run", config, resume=True, progress=lines.append)
    unfinished = tmp_path / "run/unfinished.yaml"
    assert lines[1] == (
        f"resume: {unfinished} has other settings (train.lr: 0.003 there, 0.001 here; "
        "train.max_epochs: 4 there, 1 here), starting with epoch 1"
    )
    assert not unfinished.exists()
    again = dataclasses.replace(config, seed=7, window=21, stride=13, batch_size=3)
    train("run", again, resume=True, progress=lines.append)
    (line,) = (line for line in lines if "config.yaml" in line)
    assert "train.window: 20 there, 21 here; " in line
    assert "and 2 more" in line


def test_a_run_of_other_labels_is_named(corpus, train, interrupt, training, tmp_path: Path) -> None:
    interrupt("run", training, 1)
    annotations = tmp_path / "annotations"
    shutil.copytree(corpus.annotations, annotations)
    path = annotations / "Validation_Set/v1.txt"
    path.write_text(path.read_text().replace(",-5.0", ",0.5", 1))
    lines: list[str] = []
    train_head(
        corpus.store,
        annotations,
        tmp_path / "run",
        dataclasses.replace(training, max_epochs=1),
        work_dir=tmp_path / "work",
        resume=True,
        progress=lines.append,
    )
    assert lines[1].startswith(f"resume: {tmp_path / 'run/unfinished.yaml'} has other settings")
    assert "annotations_digest: " in lines[1]
    assert len(lines) == 3


@pytest.mark.parametrize("epochs", [1, 4])
def test_a_run_of_other_features_is_refused(
    corpus, interrupt, train, training, undisturbed, tmp_path: Path, write_corpus, epochs: int
) -> None:
    """Whether it was killed or has ended; without `--resume` it is replaced."""
    if epochs < 4:
        interrupt("run", training, epochs)
    else:
        shutil.copytree(undisturbed[0], tmp_path / "run")
    former = FeatureStore.open(corpus.store)
    spec = dataclasses.replace(former.spec, settings={**former.spec.settings, "audio.anchor": "end"})
    (tmp_path / "other").mkdir()
    other = write_corpus(tmp_path / "other", spec=spec)
    name = "unfinished.yaml" if epochs < 4 else "config.yaml"
    arguments = (
        other.store,
        other.annotations,
        tmp_path / "run",
        dataclasses.replace(training, max_epochs=1),
    )
    with pytest.raises(TrainingError, match=r"cannot be resumed with .*leave out --resume") as caught:
        train_head(*arguments, work_dir=tmp_path / "work", resume=True)
    message = str(caught.value)
    assert message.startswith(str(tmp_path / "run" / name))
    assert f"audio.anchor: 'end' in {other.store}, 'center' in {name}" in message
    assert former.fingerprint in message
    assert "\n" not in message
    result = train_head(*arguments, work_dir=tmp_path / "work")
    assert result.info.spec == spec


def test_a_run_of_other_features_is_refused_although_there_is_a_state(
    undisturbed, training, tmp_path: Path, write_corpus
) -> None:
    former = FeatureStore.open(write_corpus(tmp_path / "former").store).spec
    spec = dataclasses.replace(former, settings={**former.settings, "audio.anchor": "end"})
    other = write_corpus(tmp_path / "other", spec=spec)
    arguments = (other.store, other.annotations, tmp_path / "run", training)

    def stop(line: str) -> None:
        if line.startswith("epoch 1/"):
            raise InterruptionError

    with pytest.raises(InterruptionError):
        train_head(*arguments, work_dir=tmp_path / "work", progress=stop)
    shutil.rmtree(tmp_path / "run")
    shutil.copytree(undisturbed[0], tmp_path / "run")
    with pytest.raises(TrainingError, match=r"config\.yaml: a run on features .* cannot be resumed"):
        train_head(*arguments, work_dir=tmp_path / "work", resume=True)
    assert contents(tmp_path / "run") == contents(undisturbed[0])


def test_a_resumed_run_is_noted_in_an_emptied_folder(train, interrupt, training, tmp_path: Path) -> None:
    interrupt("run", training, 1)
    shutil.rmtree(tmp_path / "run")  # as DVC does

    def stop(line: str) -> None:
        if line.startswith("epoch 2/"):
            raise InterruptionError

    with pytest.raises(InterruptionError):
        train("run", training, resume=True, progress=stop)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["unfinished.yaml"]


def test_runs_of_one_key_in_two_folders_keep_their_states(
    train, interrupt, training, undisturbed, tmp_path: Path
) -> None:
    interrupt("first", training, 2)
    lines: list[str] = []
    train("second", training, resume=True, progress=lines.append)
    assert len(lines) == 1 + 4
    train("first", training, resume=True, progress=lines.append)
    assert lines[6].startswith("resume: going on after 2 epochs")
    assert contents(tmp_path / "first") == contents(undisturbed[0])


@pytest.mark.parametrize(
    ("name", "is_written"), [("training_log.csv", False), ("config.yaml", False), ("config.yaml", True)]
)
def test_a_run_that_was_killed_while_it_wrote_its_files(
    train, training, undisturbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, is_written: bool
) -> None:
    original = train_module.write_file

    def write_file(path: Path, *content: bytes) -> None:
        if path.name != name or is_written:
            original(path, *content)
        if path.name == name:
            raise InterruptionError

    with monkeypatch.context() as patch:
        patch.setattr(train_module, "write_file", write_file)
        with pytest.raises(InterruptionError):
            train("run", training)
    lines: list[str] = []
    train("run", training, resume=True, progress=lines.append)
    assert lines[1:] == [f"resume: going on after 4 epochs, from {tmp_path / 'work/training'}"]
    assert contents(tmp_path / "run") == contents(undisturbed[0])
    assert not [path for path in (tmp_path / "work").rglob("*") if path.is_file()]


def test_the_state_of_an_ended_run_is_removed(
    train, training, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = dataclasses.replace(training, max_epochs=1)
    with monkeypatch.context() as patch:
        patch.setattr(TrainingStateFile, "discard", lambda self: None)
        train("run", config)
    assert len(list((tmp_path / "work/training").iterdir())) == 1
    lines: list[str] = []
    train("run", config, resume=True, progress=lines.append)
    assert "has ended" in lines[0]
    assert not list((tmp_path / "work/training").iterdir())


@pytest.mark.parametrize(("is_killed", "epochs"), [(False, 3), (True, 1)])
def test_epochs_that_were_not_saved(
    train,
    interrupt,
    training,
    undisturbed,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    is_killed: bool,
    epochs: int,
) -> None:
    """An interrupt saves the last one; a kill saves nothing, and the epochs are trained once more."""
    with monkeypatch.context() as patch:
        patch.setattr(paced_saves, "_PAUSE", 1e9)
        if is_killed:
            patch.setattr(paced_saves.PacedSaves, "catch_up", lambda self: None)
        interrupt("run", training, 3)
    lines: list[str] = []
    train("run", training, resume=True, progress=lines.append)
    assert lines[1].startswith(f"resume: going on after {epochs} epochs")
    assert contents(tmp_path / "run") == contents(undisturbed[0])


def test_tensorboard_has_every_epoch_once(train, interrupt, training, undisturbed, tmp_path: Path) -> None:
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")

    def stop(line: str) -> None:
        if line.startswith("epoch 2/"):
            raise InterruptionError

    with pytest.raises(InterruptionError):
        train("run", training, progress=stop, tensorboard=True)
    train("run", training, resume=True, tensorboard=True)
    events = event_accumulator.EventAccumulator(str(tmp_path / "run/tensorboard")).Reload()
    history = undisturbed[1].history
    assert set(events.Tags()["scalars"]) == set(history[0].values()) - {"epoch"}
    for name in events.Tags()["scalars"]:
        found = [(event.step, event.value) for event in events.Scalars(name)]
        expected = [(record.epoch, np.float32(record.values()[name])) for record in history]
        assert found == expected
