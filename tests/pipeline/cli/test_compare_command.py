"""`tagf compare`: which options and settings reach the comparison, and the list of heads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from click.testing import CliRunner

from pipeline.cli.compare import command
from tagf_head.comparison import compare
from tagf_head.comparison.config import CompareConfig
from tagf_head.errors import TrainingError

GIVEN = ["--features", "a.zarr", "--annotations", "labels", "--out", "runs/x"]


class Found:
    """A comparison in which everything failed."""

    table = None

    def require_all(self) -> None:
        raise TrainingError("1 trials failed")


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def call(*args: Any, **options: Any) -> Found:
        calls.append((args, options))
        return Found()

    monkeypatch.setattr(compare, "compare_heads", call)
    return calls


@pytest.fixture
def params(tmp_path: Path) -> str:
    path = tmp_path / "params.yaml"
    sections = {
        "train": {"lr": 2e-4, "head": {"visual_channels": [8], "audio_channels": [8], "model_features": 16}},
        "compare": {"heads": ["tagf", "rjca"], "seeds": [4], "reference": "rjca"},
    }
    path.write_text(yaml.safe_dump(sections))
    return str(path)


def run(*arguments: str) -> click.testing.Result:
    return CliRunner().invoke(command, arguments)


def test_by_default_all_heads_with_three_seeds(called) -> None:
    done = run(*GIVEN)
    assert "1 trials failed" in str(done.exception)
    ((args, options),) = called
    assert args == (
        ("a.zarr",),
        Path("labels"),
        Path("runs/x"),
        CompareConfig(heads=("all",), seeds=(0, 1, 2)),
    )
    assert (options["jobs"], options["device"], options["evaluate"].split) == (None, "auto", "test")


def test_options_go_before_settings(called, params: str) -> None:
    run(*GIVEN, "--params", params)
    assert called[0][0][3] == CompareConfig(heads=("tagf", "rjca"), seeds=(4,), reference="rjca")
    given = ("--heads", "tagf:causal=true,num_steps=3,concat", "--seeds", "3,1", "--split", "validation")
    run(*GIVEN, "--params", params, *given, "--uncertainty", "--jobs", "2", "--reference", "concat")
    args, options = called[1]
    assert args[3].heads == ("tagf:causal=true,num_steps=3", "concat")
    assert args[3].seeds == (3, 1)
    assert args[3].reference == "concat"
    assert options["train"].head.uncertainty
    assert options["train"].lr == 2e-4
    assert options["evaluate"].split == "validation"
    assert options["jobs"] == 2


def test_the_settings_reference_stays_where_it_takes_part(called, params: str) -> None:
    for heads, reference in (("all", "rjca"), ("concat,rjca", "rjca"), ("concat", None)):
        run(*GIVEN, "--params", params, "--heads", heads)
        assert called[-1][0][3].reference == reference
    assert not called[-1][1]["retrain"]
    run(*GIVEN, "--retrain")
    assert called[-1][1]["retrain"]


def test_help_shows_whole_names() -> None:
    text = run("--help").output
    assert "--heads tagf,tagf:causal=true,num_steps=3" in text
    assert "--heads concat,my_package.my_head:MyHead" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--features, --annotations, --out must be given, or --list"),
        ((*GIVEN, "--seeds", "1,x"), "'1,x' is no list of seeds"),
        ((*GIVEN, "--jobs", "0"), "'0' is neither a number of at least 1 nor 'auto'"),
        ((*GIVEN, "--folds", "--split", "test"), "--split has no meaning with folds"),
    ],
)
def test_wrong_usage(called, arguments: tuple[str, ...], message: str) -> None:
    done = run(*arguments)
    assert done.exit_code == 2
    assert message in done.output
    assert not called


def test_list(params: str) -> None:
    done = run("--list", "--params", params, "--heads", "concat,visual_only", "--device", "cpu")
    assert done.exit_code == 0
    assert "parameters" in done.output
    # Multiply-adds are counted in tests of their own; here they have a place.
    line = next(line for line in done.output.splitlines() if line.strip().startswith("visual_only"))
    assert "TCN over the visual stream" in line
