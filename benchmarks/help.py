"""How long every `--help` takes, from the start of the program to its end.

    python benchmarks/help.py [--rounds 5]

Writes benchmarks/results/help.json: seconds per command, the median over the rounds; rounds go through all
commands in turn. The aim is 0.5 s.
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click
from machine import write_result

from pipeline.cli import _COMMANDS

TAGF = Path(sys.executable).parent / "tagf"


def commands() -> Iterator[tuple[str, ...]]:
    """All commands, as the words after `tagf`."""
    yield ()
    for name, (module, _) in _COMMANDS.items():
        yield (name,)
        command = importlib.import_module(module).command
        if isinstance(command, click.Group):
            yield from ((name, each) for each in command.commands)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    every = list(commands())
    seconds: dict[tuple[str, ...], list[float]] = {words: [] for words in every}
    for _ in range(rounds):
        for words in every:
            started = time.perf_counter()
            subprocess.run([TAGF, *words, "--help"], check=True, stdout=subprocess.DEVNULL)
            seconds[words].append(time.perf_counter() - started)
    medians = {" ".join(("tagf", *words)): round(statistics.median(seconds[words]), 3) for words in every}
    slowest = max(medians, key=medians.__getitem__)
    print(f"slowest: {slowest} --help, {medians[slowest]} s")
    write_result("help", {"rounds": rounds, "slowest": slowest, "seconds": medians})


if __name__ == "__main__":
    main()
