"""Training by several real processes: that of one process, and as exact to resume."""

from __future__ import annotations

import dataclasses
import io
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from tagf_head.config import AugmentConfig, TrainConfig
from tagf_head.errors import HeadError, TrainingError
from tagf_head.heads import HEADS
from tagf_head.training import train as train_module
from tagf_head.training.run import TrainingRun
from tagf_head.training.train import train_head

OTHER_HEADS = [name for name in HEADS if name != "tagf"]


def trained(
    store: Path,
    annotations: Path,
    folder: Path,
    config: TrainConfig,
    options: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """What a process of a run has in the end, or the only one."""
    lines: list[str] = []
    result = train_head(
        store,
        annotations,
        folder / "run",
        config,
        work_dir=folder / "work",
        progress=lines.append,
        **(options or {}),
    )
    return {
        "lines": lines,
        "history": [record.values() for record in result.history],
        "head": result.head.state_dict(),
        "best_epoch": result.best_epoch,
    }


@pytest.fixture
def exact(training: TrainConfig) -> TrainConfig:
    """Float64, no dropout; 11 windows in batches of 5, of which the second process has 2, 2 and none."""
    rates = (each.name for each in dataclasses.fields(training.head) if each.name.endswith("_dropout"))
    head = dataclasses.replace(training.head, **dict.fromkeys(rates, 0.0))
    return dataclasses.replace(
        training, head=head, precision="float64", batch_size=5, gradient_clip=0.5, max_epochs=2
    )


@pytest.mark.parametrize("ccc_over", ["batch", "window"])
def test_two_processes_train_the_head_of_one(
    corpus, exact: TrainConfig, tmp_path: Path, run_processes, ccc_over: str
) -> None:
    config = dataclasses.replace(exact, ccc_over=ccc_over)
    for name in ("one", "pair", "group"):
        (tmp_path / name).mkdir()
    one = trained(corpus.store, corpus.annotations, tmp_path / "one", config)
    pair = run_processes(
        tmp_path / "group", trained, corpus.store, corpus.annotations, tmp_path / "pair", config
    )
    for process in pair:
        for found, expected in zip(process["history"], one["history"], strict=True):
            assert found == pytest.approx(expected, rel=0, abs=1e-9)
        assert process["best_epoch"] == one["best_epoch"]
        assert process["head"].keys() == one["head"].keys()
        for name, tensor in one["head"].items():
            assert tensor.dtype is torch.float64
            torch.testing.assert_close(process["head"][name], tensor, rtol=0, atol=1e-9)
    for name, tensor in pair[0]["head"].items():
        assert torch.equal(pair[1]["head"][name], tensor), name
    assert "; 2 processes" in pair[0]["lines"][0]
    assert len(pair[0]["lines"]) == 1 + exact.max_epochs
    assert pair[1]["lines"] == []


@pytest.fixture
def noisy(training: TrainConfig) -> TrainConfig:
    """Every kind of chance: dropout, augmentation, views."""
    augment = AugmentConfig(drop_audio=0.2, shift_audio_frames=2, noise=0.2, mixup=0.3)
    return dataclasses.replace(training, augment=augment, max_epochs=3)


def killed(store: Path, annotations: Path, folder: Path, config: TrainConfig) -> None:
    """Both train; the second process is killed in the middle of the second epoch."""
    if dist.get_rank() == 1:
        original, num_steps = torch.optim.Adam.step, 0

        def step(self: torch.optim.Adam, *arguments: Any, **options: Any) -> Any:
            nonlocal num_steps
            num_steps += 1
            if num_steps == 5:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(self, *arguments, **options)

        torch.optim.Adam.step = step
    trained(store, annotations, folder, config)


def test_a_run_goes_on_after_one_of_its_processes_was_killed(
    corpus, noisy: TrainConfig, tmp_path: Path, run_processes
) -> None:
    for name in ("1", "2", "3"):
        (tmp_path / name).mkdir()
    arguments = (corpus.store, corpus.annotations)
    whole = run_processes(tmp_path / "1", trained, *arguments, tmp_path / "whole", noisy)
    # The other process finds its partner gone, and ends, too.
    with pytest.raises(Exception, match=r"Connection|ended with exit code"):
        run_processes(tmp_path / "2", killed, *arguments, tmp_path / "cut", noisy)
    (state,) = (tmp_path / "cut" / "work" / "training").iterdir()
    saved = torch.load(io.BytesIO(state.read_bytes()[32:]), weights_only=True)
    assert len(saved["history"]) == 1
    # Each process has dropout and augmentation of its own.
    first, second = saved["processes"]
    assert not torch.equal(first["random"], second["random"])
    assert not torch.equal(first["augment"], second["augment"])

    found = run_processes(tmp_path / "3", trained, *arguments, tmp_path / "cut", noisy, {"resume": True})
    assert found[0]["lines"][1].startswith("resume: going on after 1 epochs")
    assert found[0]["history"] == whole[0]["history"] == found[1]["history"]
    for name in ("best.safetensors", "training_log.csv", "config.yaml"):
        assert (tmp_path / "cut/run" / name).read_bytes() == (tmp_path / "whole/run" / name).read_bytes()
    # What has ended is given back, to all.
    (tmp_path / "4").mkdir()
    again = run_processes(tmp_path / "4", trained, *arguments, tmp_path / "cut", noisy, {"resume": True})
    assert [len(process["lines"]) for process in again] == [1, 0]
    for name, tensor in whole[0]["head"].items():
        for process in (*found, *again):
            assert torch.equal(process["head"][name], tensor)


def refused(store: Path, annotations: Path, folder: Path, config: TrainConfig) -> list[str]:
    """What is said to runs that cannot be shared."""
    seeds = dataclasses.replace(config, seed=dist.get_rank())
    said = []
    for wrong in (dataclasses.replace(config, batch_size=1), seeds):
        with pytest.raises(TrainingError) as caught:
            trained(store, annotations, folder, wrong)
        said.append(str(caught.value))
    # The first process cannot write its state; the second one hears of it.
    (folder / "work").mkdir(parents=True, exist_ok=True)
    (folder / "work/training").touch()
    with pytest.raises(HeadError) as written:
        trained(store, annotations, folder, config)
    return [*said, str(written.value)]


def test_what_several_processes_cannot_do(
    corpus, training: TrainConfig, tmp_path: Path, run_processes
) -> None:
    (tmp_path / "group").mkdir()
    found = run_processes(tmp_path / "group", refused, corpus.store, corpus.annotations, tmp_path, training)
    for rank, said in enumerate(found):
        assert "train.batch_size 1 leaves some of 2 processes without a window" in said[0]
        assert f"processes {rank} and {1 - rank} were started with different settings" in said[1]
        assert "training" in said[2]
        assert "cannot be written" in said[2]


def failing(store: Path, annotations: Path, folder: Path, config: TrainConfig) -> list[str]:
    """What is said where the second process alone fails: at its labels, its features, and in training."""
    said = []
    is_second = dist.get_rank() == 1

    def fail(*arguments: Any, **options: Any) -> Any:
        raise OSError("disk of the second machine")

    with pytest.raises(HeadError) as caught:
        trained(store, folder / "none" if is_second else annotations, folder, config)
    said.append(str(caught.value))
    for module, name in ((train_module, "load_clips"), (TrainingRun, "next_epoch")):
        original = getattr(module, name)
        if is_second:
            setattr(module, name, fail)
        with pytest.raises((OSError, TrainingError)) as caught_error:
            trained(store, annotations, folder, config)
        said.append(str(caught_error.value))
        setattr(module, name, original)
    return said


def test_all_processes_end_when_one_fails(
    corpus, training: TrainConfig, tmp_path: Path, run_processes
) -> None:
    (tmp_path / "group").mkdir()
    first, second = run_processes(
        tmp_path / "group", failing, corpus.store, corpus.annotations, tmp_path, training
    )
    assert second[0].startswith("no annotations in")
    assert first[0].startswith(f"process 1 of 2 has failed ({second[0][:50]}")
    assert second[1:] == ["disk of the second machine"] * 2
    assert first[1] == (
        "process 1 of 2 has failed (disk of the second machine); mend that and start all of them again"
    )
    assert first[2].startswith("process 0 of 2 has lost another one (")
    assert first[2].endswith("start all of them again with --resume")
    assert not any("\n" in said for said in first)


def every_head(store: Path, annotations: Path, folder: Path, config: TrainConfig) -> dict[str, Any]:
    """One epoch of each."""
    found = {}
    for name in OTHER_HEADS:
        head = dataclasses.replace(config.head, name=name)
        one_epoch = dataclasses.replace(config, head=head, max_epochs=1)
        found[name] = trained(store, annotations, folder / name, one_epoch)
    return found


def test_every_head_trains_in_two_processes(
    corpus, exact: TrainConfig, tmp_path: Path, run_processes
) -> None:
    """DistributedDataParallel refuses parameters without a gradient; the processes must not drift apart."""
    (tmp_path / "group").mkdir()
    arguments = (corpus.store, corpus.annotations)
    one = every_head(*arguments, tmp_path / "one", exact)
    pair = run_processes(tmp_path / "group", every_head, *arguments, tmp_path / "pair", exact)
    for name in OTHER_HEADS:
        first, second = pair[0][name], pair[1][name]
        assert first["history"] == second["history"]
        for key, tensor in first["head"].items():
            assert torch.equal(second["head"][key], tensor), (name, key)
        assert first["history"][0] == pytest.approx(one[name]["history"][0], rel=0, abs=1e-9)


def at_the_start(store: Path, annotations: Path, folder: Path, config: TrainConfig) -> tuple[int, float]:
    """Seed of the dropout, and the sum of all first weights."""
    seen: list[tuple[int, float]] = []

    def next_epoch(run: TrainingRun) -> str:
        seen.append((torch.initial_seed(), sum(each.sum().item() for each in run.head.parameters())))
        raise StopIteration

    TrainingRun.next_epoch = next_epoch  # type: ignore[method-assign]
    with pytest.raises(StopIteration):
        trained(store, annotations, folder, config)
    return seen[0]


def test_processes_begin_with_one_head_and_dropouts_of_their_own(
    corpus, training: TrainConfig, tmp_path: Path, run_processes
) -> None:
    (tmp_path / "group").mkdir()
    first, second = run_processes(
        tmp_path / "group", at_the_start, corpus.store, corpus.annotations, tmp_path, training
    )
    assert first[0] != second[0]
    assert first[1] == second[1]
