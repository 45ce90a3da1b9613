"""Shell completion: what shells are told, and a real bash that completes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from pipeline.cli import _COMMANDS, tagf
from tagf_head.head_presets import PRESETS


def completed(*words: str) -> list[str]:
    """What may stand in the place of the last word."""
    *before, incomplete = words
    return [item.value for item in ShellComplete(tagf, {}, "tagf", "_X").get_completions(before, incomplete)]


@pytest.mark.parametrize(
    ("words", "values"),
    [
        (["ev"], ["evaluate"]),
        (["cache", "in"], ["info"]),
        (["extract", "--layout", "a"], ["aff-wild2"]),
        (["train", "--head", "tagf"], ["tagf", "tagf_mean", "tagf_last"]),
        (["compare", "--heads", "tagf,ja"], ["tagf,jca"]),
        (["compare", "--heads", "tagf,tagf_l"], ["tagf,tagf_last"]),
        (["robustness", "--conditions", "drop,bl"], ["drop,blur"]),
        (["weights", "fetch", "vgg"], ["vggish-audioset"]),
        (["completion", ""], ["bash", "zsh", "fish"]),
        (["train", "--un"], ["--uncertainty"]),
    ],
)
def test_what_completes_a_word(words, values):
    found = completed(*words)
    # `ja` is no beginning of `jca`: nothing is guessed.
    assert found == ([] if words[-1] == "tagf,ja" else values)


def test_every_command_and_head_is_offered():
    assert completed("") == list(_COMMANDS)
    assert completed("train", "--head", "") == list(PRESETS)
    assert completed("compare", "--heads", "tagf,all,") == [
        f"tagf,all,{name}" for name in PRESETS if name != "tagf"
    ]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_calls_this_program(shell):
    done = CliRunner().invoke(tagf, ["completion", shell])
    assert done.exit_code == 0
    assert f"_TAGF_COMPLETE={shell}_complete" in done.output
    assert "%(" not in done.output


def test_bash_completes_after_reading_the_script(tmp_path: Path):
    script = CliRunner().invoke(tagf, ["completion", "bash"]).output
    (tmp_path / "tagf").write_text(
        f'#!/bin/sh\nexec "{sys.executable}" -c "from pipeline.cli import main; main()" "$@"\n'
    )
    (tmp_path / "tagf").chmod(0o755)
    program = script + "\nCOMP_WORDS=(tagf cache ver); COMP_CWORD=2; _tagf_completion tagf\n"
    program += 'echo "${COMPREPLY[@]}"; complete -p tagf\n'
    done = subprocess.run(
        ["bash", "--norc", "-c", program],
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(Path.cwd())},
    )
    assert done.stdout.splitlines()[0] == "verify"
    assert "_tagf_completion" in done.stdout.splitlines()[1]


def test_completing_loads_no_torch():
    program = "import sys\nfrom click.shell_completion import ShellComplete\nfrom pipeline.cli import tagf\n"
    program += "complete = ShellComplete(tagf, {}, 'tagf', '_X').get_completions\n"
    program += "for words in (['train', '--head'], ['compare', '--heads'], ['weights', 'fetch']):\n"
    program += "    assert complete(words, '')\n"
    program += "assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)
