"""`tagf train`: which options and settings reach the training, and folds."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
import yaml
from click.testing import CliRunner

from pipeline.cli.train import command
from tagf_head.config import EvaluateConfig, TrainConfig
from tagf_head.data.folds import Fold
from tagf_head.training import cross_validation, train

ARGUMENTS = ["--features", "a.zarr", "--features", "b.zarr", "--annotations", "labels", "--out", "runs/x"]


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, tuple[Any, ...], dict[str, Any]]]:
    """The calls of the two functions that train."""
    calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
    info = SimpleNamespace(validation_ccc={"mean": 0.25})
    found = SimpleNamespace(info=info, best_epoch=2, history=(None,) * 7)

    def call(*args: Any, name: str, **options: Any) -> SimpleNamespace:
        calls.append((name, args, options))
        return found

    for module, name in ((train, "train_head"), (cross_validation, "cross_validate")):
        monkeypatch.setattr(module, name, partial(call, name=name))
    return calls


@pytest.fixture
def params(tmp_path: Path) -> str:
    path = tmp_path / "params.yaml"
    sections = {"train": {"lr": 2e-4, "seed": 3}, "evaluate": {"folds": 6, "batch_size": 8}}
    path.write_text(yaml.safe_dump(sections))
    return str(path)


def run(*arguments: str) -> click.testing.Result:
    return CliRunner().invoke(command, [*ARGUMENTS, *arguments])


def test_by_default_the_paper_holds(called) -> None:
    done = run()
    assert done.exit_code == 0
    assert done.output == "best epoch 2 of 7: mean CCC +0.250, in runs/x/best.safetensors\n"
    ((name, arguments, options),) = called
    assert name == "train_head"
    assert arguments == (("a.zarr", "b.zarr"), Path("labels"), Path("runs/x"), TrainConfig())
    assert options == {"device": "auto", "resume": False, "tensorboard": False, "progress": click.echo}


def test_options_go_before_settings(called, params: str) -> None:
    given = ("--head", "paper", "--seed", "9", "--resume", "--tensorboard", "--device", "cpu")
    assert run("--params", params, *given).exit_code == 0
    ((_, arguments, options),) = called
    config = arguments[3]
    assert (config.lr, config.seed, config.head.name) == (2e-4, 9, "paper")
    assert (options["device"], options["resume"], options["tensorboard"]) == ("cpu", True, True)


def test_uncertainty_goes_before_settings(called, tmp_path: Path) -> None:
    for is_set in (True, False):
        params = tmp_path / f"{is_set}.yaml"
        params.write_text(yaml.safe_dump({"train": {"head": {"uncertainty": is_set}}}))
        for option in ((), ("--uncertainty",), ("--no-uncertainty",)):
            assert run("--params", str(params), *option).exit_code == 0
    found = [arguments[3].head.uncertainty for _, arguments, _ in called]
    assert found == [True, True, False, False, True, False]


def test_one_fold(called, params: str) -> None:
    assert run("--params", params, "--fold", "5").exit_code == 0
    ((name, _, options),) = called
    assert name == "train_head"
    assert options["fold"] == Fold(index=5, num_folds=6)


def test_all_folds(called, params: str) -> None:
    assert run("--params", params, "--fold", "all", "--resume", "--tensorboard").exit_code == 0
    ((name, arguments, options),) = called
    assert name == "cross_validate"
    assert arguments[3].lr == 2e-4
    assert arguments[4] == 6
    assert options["evaluate"] == EvaluateConfig(folds=6, batch_size=8)
    assert (options["resume"], options["tensorboard"]) == (True, True)


@pytest.mark.parametrize(
    ("fold", "message"),
    [
        ("first", "'first' is neither the number of a fold nor 'all'"),
        ("-1", "'-1' is neither the number of a fold nor 'all'"),
        ("1.5", "'1.5' is neither"),
    ],
)
def test_what_is_no_fold(called, params: str, fold: str, message: str) -> None:
    result = run("--params", params, "--fold", fold)
    assert result.exit_code == 2
    assert message in result.output
    assert not called


def test_a_fold_too_many(called, params: str) -> None:
    result = run("--params", params, "--fold", "6")
    assert "a fold of 6 must lie in 0 to 5, got 6" in str(result.exception)


@pytest.mark.parametrize("fold", ["0", "all"])
def test_folds_need_their_number(called, fold: str) -> None:
    result = run("--fold", fold)
    assert result.exit_code == 2
    assert "set evaluate.folds in the settings (--params), e.g. to 6" in result.output
    assert not called


def test_the_first_process_alone_says_what_came_out(called, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    assert run().output == ""
