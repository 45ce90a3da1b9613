"""What a user sees after a mistake: one line, an exit code, no traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.cli import main

TAGF = Path(sys.executable).parent / "tagf"
EXTRACT = "extract --out {tmp}/features.zarr --report {tmp}/report.json"


@pytest.fixture
def tagf(tmp_path, monkeypatch, capsys):
    """Runs `tagf` in this process: exit code and the lines of standard error."""
    monkeypatch.setenv("TAGF_WORK_DIR", str(tmp_path / "work"))
    (tmp_path / "empty").mkdir()
    (tmp_path / "params.yaml").write_text("extract: {faces: {detect_evry: 5}}\ntrain: {lr: fast}\n")

    def run(command: str) -> tuple[int, list[str]]:
        words = command.format(tmp=tmp_path).split()
        monkeypatch.setattr(sys, "argv", ["tagf", *words])
        with pytest.raises(SystemExit) as stop:
            main()
        code = stop.value.code
        return (code if isinstance(code, int) else 0), capsys.readouterr().err.splitlines()

    return run


BAD = "--params {tmp}/params.yaml"
NOWHERE = "--features {tmp}/x --annotations {tmp}/x"


@pytest.mark.parametrize(
    ("command", "code", "named"),
    [
        ("extrct", 2, ["extrct", "did you mean 'extract'"]),
        ("extract --source x", 2, ["--out", "tagf extract --help"]),
        ("extract --source x --out y --layout wild", 2, ["wild", "videos"]),
        ("train --lr 1", 2, ["--lr"]),
        (f"{EXTRACT} --source {{tmp}}/nowhere", 1, ["nowhere"]),
        (f"{EXTRACT} --source {{tmp}}/empty", 1, ["empty"]),
        (f"{EXTRACT} --source {{tmp}} {BAD}", 1, ["extract.faces.detect_evry", "'detect_every'"]),
        (f"{EXTRACT} --source {{tmp}}/empty --params {{tmp}}/none.yaml", 1, ["none.yaml"]),
        ("train --features {tmp}/empty --annotations {tmp}/empty --out {tmp}/run", 1, ["empty"]),
        (f"train {NOWHERE} --out {{tmp}}/run {BAD}", 1, ["train.lr", "fast"]),
        (f"evaluate {NOWHERE} --checkpoint {{tmp}}/x --out {{tmp}}/m.json", 1, ["{tmp}/x"]),
        ("results {tmp}/run --annotations {tmp}/empty", 1, ["{tmp}/run"]),
        ("train --features x --annotations y --out s3://b/run", 2, ["write it here and copy it there"]),
        ("extract --source x --out s3://b/f.zarr", 2, ["write it here and copy it there"]),
        ("extract --source s3://b/videos --out f.zarr", 2, ["copy it here first"]),
        ("sample-corpus {tmp}/c --clips 1", 1, ["clips must be at least 4"]),
    ],
)  # fmt: skip
def test_mistake_is_named_on_one_line(tagf, tmp_path, command, code, named):
    exit_code, lines = tagf(command)
    assert exit_code == code
    assert len(lines) == 1, lines
    for text in named:
        assert text.format(tmp=tmp_path) in lines[0]
    assert "internal error" not in lines[0]


def test_sample_corpus_leaves_a_foreign_folder_alone(tagf, tmp_path):
    (tmp_path / "empty" / "thesis.txt").write_text("years of work")
    exit_code, lines = tagf("sample-corpus {tmp}/empty --clips 4 --seconds 1")
    assert exit_code == 1
    assert len(lines) == 1
    assert "empty" in lines[0]
    assert (tmp_path / "empty" / "thesis.txt").read_text() == "years of work"


def test_installed_command_ends_with_one_line_and_no_traceback(tmp_path):
    done = subprocess.run(
        [TAGF, "extract", "--source", tmp_path / "nowhere", "--out", tmp_path / "f.zarr"],
        capture_output=True,
        text=True,
        env={**os.environ, "TAGF_WORK_DIR": str(tmp_path / "work")},
    )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "Traceback" not in done.stderr


def test_debug_shows_where(tmp_path):
    done = subprocess.run(
        [TAGF, "--debug", "extract", "--source", tmp_path / "nowhere", "--out", tmp_path / "f.zarr"],
        capture_output=True,
        text=True,
    )
    assert "Traceback" in done.stderr


@pytest.mark.parametrize(
    "command", ["sample-corpus", "extract", "train", "evaluate", "results", "weights", "doctor", "plot-page"]
)
def test_help_has_an_example(command):
    done = subprocess.run([TAGF, command, "--help"], capture_output=True, text=True)
    assert done.returncode == 0
    assert f"tagf {command} " in done.stdout.partition("Example")[2]
    assert "\\b" not in done.stdout


def test_examples_keep_their_lines():
    for command in ("train", "evaluate"):
        done = subprocess.run([TAGF, command, "--help"], capture_output=True, text=True)
        assert "--annotations data/corpus/annotations \\\n" in done.stdout


def test_help_does_not_wait_for_torch():
    code = "import sys; sys.argv = ['tagf', 'extract', '--help']\nfrom pipeline.cli import main\n"
    code += "try:\n    main()\nexcept SystemExit:\n    assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
