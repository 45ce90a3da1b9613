"""Every command's help has examples, and they run."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

import click
import pytest

from pipeline.cli import _COMMANDS, tagf


def every_command() -> Iterator[tuple[str, click.Command]]:
    """All commands by what they are called with; groups, and the commands in them."""
    yield "tagf", tagf
    for name, (module, _) in _COMMANDS.items():
        command = importlib.import_module(module).command
        yield f"tagf {name}", command
        if isinstance(command, click.Group):
            yield from ((f"tagf {name} {sub}", each) for sub, each in command.commands.items())


COMMANDS = dict(every_command())


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_examples_of_the_command(name, documented):
    examples = documented.commands_of_help(COMMANDS[name].help)
    assert any(" ".join(example.words).startswith((name, f"torchrun --nproc {name}")) for example in examples)


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_run_one_after_another(name, documented, documented_run, made_by, enter_project, tagf):
    for command in documented.commands_of_help(COMMANDS[name].help):
        documented_run.run(command, f"{name} --help", made_by, enter_project, *tagf)
