"""The DVC pipeline on a tiny corpus: what runs, what does not, and what it leaves behind."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
HEADS = ("tagf", "concat", "visual_only", "audio_only")


class Project:
    """A copy of the pipeline's files in a git repository of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            **os.environ,
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "TAGF_WORK_DIR": str(folder.parent / "work"),
            "DVC_NO_ANALYTICS": "1",
            "OMP_NUM_THREADS": "1",
        }

    def run(self, *command: str) -> str:
        done = subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def changed(self) -> set[str]:
        """Stages that `dvc repro` would run because of what it sees now."""
        return {stage.split("@")[0] for stage in json.loads(self.run("dvc", "status", "--json"))}

    def edit(self, path: str) -> None:
        file = self.folder / path
        file.write_text(file.read_text() + "\n# edited\n")

    def set_parameter(self, key: str, value: object) -> None:
        file = self.folder / "params.yaml"
        params = yaml.safe_load(file.read_text())
        section = params
        *parents, last = key.split(".")
        for name in parents:
            section = section[name]
        section[last] = value
        file.write_text(yaml.safe_dump(params))


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Project:
    folder = tmp_path_factory.mktemp("dvc") / "project"
    ignored = shutil.ignore_patterns("__pycache__", "tmp", "cache.db", "config.local")
    for name in ("pipeline", "tagf_head", "cache"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    (folder / ".dvc").mkdir()
    for name in ("config", ".gitignore"):
        shutil.copy(ROOT / ".dvc" / name, folder / ".dvc" / name)
    shutil.copytree(ROOT / ".dvc" / "plots", folder / ".dvc" / "plots")
    for name in ("dvc.yaml", "params.yaml", ".gitignore", ".dvcignore"):
        shutil.copy(ROOT / name, folder / name)
    project = Project(folder)
    for key, value in {
        "data.corpus.clips": 4,
        "data.corpus.seconds": 1.0,
        "train.max_epochs": 1,
        "train.window": 25,
        "train.head.visual_channels": [8],
        "train.head.audio_channels": [8],
        "compare.heads": ["tagf", "concat"],
        "compare.seeds": [0],
    }.items():
        project.set_parameter(key, value)
    project.run("git", "init", "--quiet")
    project.run("git", "add", ".")
    project.run("git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "--quiet", "-m", "start")
    project.run("dvc", "repro")
    return project


@pytest.fixture(autouse=True)
def restored(project):
    yield
    project.run("git", "checkout", "--quiet", ".")


def test_second_repro_has_nothing_to_do(project):
    assert "Data and pipelines are up to date" in project.run("dvc", "repro")


def test_head_code_retrains_without_extracting(project):
    project.edit("tagf_head/layers/tcn.py")
    assert {"train", "evaluate"} <= project.changed()
    assert not {"corpus", "extract"} & project.changed()


@pytest.mark.parametrize("path", ["pipeline/cli/extract.py", "pipeline/cli/train.py", "README.md"])
def test_command_line_and_docs_run_nothing(project, path):
    if not (project.folder / path).exists():
        (project.folder / path).write_text("")
    project.edit(path)
    assert project.changed() == set()


@pytest.mark.parametrize(
    "module",
    ["media/video", "media/audio", "media/log_mel", "faces/detector", "faces/alignment", "backbones/ir50"],
)
def test_numeric_code_extracts_again(project, module):
    project.edit(f"pipeline/{module}.py")
    assert "extract" in project.changed()
    assert "corpus" not in project.changed()


def test_train_setting_trains_alone(project):
    project.set_parameter("train.lr", 0.0007)
    assert {"train", "compare"} <= project.changed()
    assert not {"corpus", "extract"} & project.changed()
    printed = project.run("dvc", "repro", "--dry")
    assert "Running stage 'train@tagf'" in printed
    assert "Running stage 'extract'" not in printed


def test_comparison_setting_compares_alone(project):
    project.set_parameter("compare.seeds", [0, 1])
    assert project.changed() == {"compare"}


def test_extract_setting_extracts(project):
    project.set_parameter("extract.audio.anchor", "start")
    assert project.changed() == {"extract"}


def test_metrics_of_every_head_are_shown(project):
    shown = json.loads(project.run("dvc", "metrics", "show", "--json"))
    files = shown[""]["data"]
    for head in HEADS:
        metrics = files[f"runs/{head}/metrics.json"]["data"]
        assert -1 <= metrics["mean_ccc"] <= 1
        assert metrics["random_weights"] is True


def test_plots_need_no_network(project):
    project.run("dvc", "plots", "show")
    page = (project.folder / "dvc_plots" / "index.html").read_text()
    assert page.count("vegaEmbed(") >= 3
    assert not re.search(r"<(script|link|img)[^>]+(src|href)\s*=\s*[\"']?(https?:)?//", page)


def test_experiment_changes_a_training_setting(project):
    store = project.folder / "data" / "features.zarr"
    before = {path: path.stat().st_mtime_ns for path in store.rglob("*")}
    printed = project.run("dvc", "exp", "run", "-S", "train.lr=0.0005", "results")
    assert "Running stage 'train@tagf'" in printed
    assert "Running stage 'extract'" not in printed
    assert {path: path.stat().st_mtime_ns for path in store.rglob("*")} == before
    assert "train.lr" in project.run("dvc", "params", "diff")


def test_unknown_head_is_named_with_the_right_one(project):
    command = (
        "tagf train --features data/features.zarr --annotations data/corpus/annotations --out x --head tgaf"
    )
    done = subprocess.run(
        command.split(), cwd=project.folder, env=project.environment, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "tgaf" in done.stderr
    assert "did you mean 'tagf'" in done.stderr


def test_checkpoint_refuses_features_of_another_fingerprint(project):
    project.set_parameter("extract.audio.anchor", "end")
    extract = "tagf extract --source data/corpus/videos --out ../other.zarr --report ../r.json"
    project.run(*extract.split(), "--params", "params.yaml")
    command = (
        "tagf evaluate --features ../other.zarr --annotations data/corpus/annotations "
        "--checkpoint runs/tagf/best.safetensors --out ../metrics.json"
    )
    done = subprocess.run(
        command.split(), cwd=project.folder, env=project.environment, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert re.search(r"audio\.anchor.*'end'.*'center'|audio\.anchor.*'center'.*'end'", done.stderr)
    assert not (project.folder.parent / "metrics.json").exists()


def test_comparison_is_written_and_its_trials_kept(project):
    folder = project.folder / "runs" / "comparison"
    text = (folder / "comparison.md").read_text()
    assert "mean minus concat" in text
    assert "random weights" in text
    checkpoint = folder / "tagf" / "seed-0" / "best.safetensors"
    before = checkpoint.stat().st_mtime_ns
    project.set_parameter("compare.reference", "tagf")
    printed = project.run("dvc", "repro", "--single-item", "compare")
    assert printed.count("kept as it is") == 2
    assert "mean minus tagf" in (folder / "comparison.md").read_text()
    assert checkpoint.stat().st_mtime_ns == before
