"""`--help` answers at once and says what there is."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

# What no help may wait for: each of them takes longer to import than a help may take, or a good part of it.
HEAVY = (
    "torch", "torchaudio", "torchvision", "numpy", "scipy", "pandas", "pyarrow", "plotly", "jinja2", "av",
    "zarr", "h5py", "pydantic", "yaml", "rich", "PIL", "joblib", "dask", "distributed", "huggingface_hub",
    "onnx", "onnxruntime", "safetensors", "vl_convert", "fsspec", "matplotlib",
)  # fmt: skip

# One process for all of them: each help in turn, then what it had imported.
PROGRAM = """
import contextlib, importlib, io, json, sys
import click
from pipeline import cli

def called(words):
    sys.argv = ["tagf", *words, "--help"]
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        try:
            cli.main()
        except SystemExit as stop:
            assert not stop.code, (words, stop.code)
    return text.getvalue()

found = {}
def look(words):
    text = called(words)
    found[" ".join(["tagf", *words])] = [text, sorted({name.partition(".")[0] for name in sys.modules})]

look([])
for name in cli._COMMANDS:
    look([name])
    command = importlib.import_module(cli._COMMANDS[name][0]).command
    if isinstance(command, click.Group):
        for each in command.commands:
            look([name, each])
json.dump(found, sys.stdout)
"""


@pytest.fixture(scope="module")
def helps() -> dict[str, tuple[str, list[str]]]:
    """Of every command: what its help prints, and the packages imported up to then."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, env={"COLUMNS": "100"}
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_no_help_imports_what_takes_long(helps):
    for name, (_, modules) in helps.items():
        assert not {*HEAVY} & {*modules}, f"{name} --help imports {sorted({*HEAVY} & {*modules})}"


def test_the_list_of_commands_shows_each_with_a_line(helps):
    names = {name.split()[1] for name in helps if " " in name}
    lines = helps["tagf"][0].partition("Commands:")[2].splitlines()
    described = {line.split()[0] for line in lines if line.startswith("  ") and len(line.split()) > 3}
    assert described == names


def test_every_help_shows_examples_of_its_command_line_by_line(helps):
    for name, (text, _) in helps.items():
        examples = text.partition("Example")[2].partition("\nOptions:")[0]
        assert name in examples, name
        assert "\\b" not in text
        assert "\b" not in text
        # Long commands go on in the next line, as they can be pasted.
        for line in examples.splitlines():
            assert not line.endswith("\\") or line.startswith("   "), (name, line)


def test_every_option_says_what_it_is_for(helps):
    for name, (text, _) in helps.items():
        options = text.partition("\nOptions:\n")[2].partition("\nCommands:")[0]
        lines = options.splitlines()
        for line, following in zip(lines, [*lines[1:], ""], strict=True):
            if line.startswith("  -"):
                explained = "  " in line.strip() or (following.startswith("      ") and following.strip())
                assert explained, f"{name}: {line.strip()}"


def test_help_is_understood_in_both_spellings():
    for option in ("-h", "--help"):
        done = subprocess.run(
            [sys.executable, "-c", "from pipeline.cli import main; main()", "train", option],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0
        assert done.stdout.startswith("Usage: tagf train")
