"""The shell commands of help texts and of Markdown pages."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

# What a line of an indented block begins with if it is a command and no output.
PROGRAMS = (
    "tagf", "make", "dvc", "git", "python", "python3", "pip", "torchrun", "dask", "source", "tensorboard",
    "cd", "export", "sbatch", "srun", "mkdir", "cp", "unzip", "huggingface-cli", "hf", "ffmpeg", "ls",
)  # fmt: skip
_SHELL_FENCES = ("bash", "sh", "console", "shell")
_ASSIGNMENT = re.compile(r"[A-Z_]+=\S*$")
_SUBSTITUTION = re.compile(r"\$\((tagf [^)]*)\)")
_REDIRECTION = re.compile(r"^\d?>{1,2}$")
ELLIPSIS = "..."


@dataclass(frozen=True, kw_only=True)
class Command:
    """One command as it is written.

    Attributes:
        line: Number of its first line, from 1.
        text: All of it on one line.
        words: As a shell takes it apart; without comment, redirection and settings of the environment.
    """

    line: int
    text: str
    words: tuple[str, ...]

    @property
    def is_abridged(self) -> bool:
        """Whether something is left out, so that it can be looked at but not run."""
        return any(word.startswith("(") for word in self.words) or ELLIPSIS in self.words

    def __str__(self) -> str:
        return self.text


def commands_of_help(docstring: str) -> list[Command]:
    """The commands of the examples of a command's help."""
    _, _, examples = docstring.partition("Example")
    return [found for line, text in _joined(examples.splitlines()) if (found := _command(line, text))]


def commands_of_page(markdown: str) -> list[Command]:
    """The commands of a page: of indented blocks, and of fenced ones in a shell's language or in none."""
    found: list[Command] = []
    lines: list[tuple[int, str]] = []
    fence: str | None = None
    for number, line in enumerate(markdown.splitlines(), start=1):
        if line.lstrip().startswith("```"):
            fence = line.strip().removeprefix("```") if fence is None else None
        elif fence in _SHELL_FENCES or (fence is None and line.startswith("    ")) or fence == "":
            lines.append((number, line))
    texts = [text for _, text in lines]
    for index, text in _joined(texts):
        if command := _command(lines[index - 1][0], text):
            found.append(command)
    return found


def _joined(lines: list[str]) -> Iterator[tuple[int, str]]:
    """Lines by number, with those that a backslash continues as one."""
    start, text = 0, ""
    for number, line in enumerate(lines, start=1):
        start = start if text else number
        text += line.strip()
        if text.endswith("\\"):
            text = text[:-1].rstrip() + " "
            continue
        yield start, text
        text = ""


def _command(line: int, text: str) -> Command | None:
    if substituted := _SUBSTITUTION.search(text):
        return _command(line, substituted[1])
    try:
        words = shlex.split(text.removeprefix("$ "), comments=True)
    except ValueError:  # a quotation mark in prose or output
        return None
    while words and _ASSIGNMENT.match(words[0]):
        words.pop(0)
    for index, word in enumerate(words):
        if _REDIRECTION.match(word) or word in ("|", "&&", ";"):
            words = words[:index]
            break
    if not words or words[0] not in PROGRAMS:
        return None
    return Command(line=line, text=text, words=tuple(words))
