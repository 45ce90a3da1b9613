"""Runs documented commands in the example project; what a machine for tests cannot run is only checked."""

from __future__ import annotations

import re
import shutil
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import yaml

from pipeline.cli import tagf

ROOT = Path(__file__).parents[3]

# Looked at word for word, but not run. Pattern of the whole command -> reason.
NOT_RUN = {
    r"--device cuda": "needs a GPU",
    r"--engine dask": "needs a cluster",
    r"^torchrun ": "starts processes that each load torch; tests/tagf_head/training runs it",
    r"s3://": "needs an object store; tests/test_s3_store.py runs one",
    r"weights fetch": "needs the network",
    r"weights check \S*(vggish|\.pth|FILE|ir50)": "needs weights that are not at hand",
    r"^tagf doctor(?!.*--no-clip)": "extracts with real backbones; tests/pipeline/test_doctor.py runs it",
    r"--camera": "needs a camera",
    r"robustness .*--source": "extracts under ten conditions; tests/pipeline/degradation runs it",
    r"compare --list": "times all heads; tests/pipeline/cli/test_compare_command.py runs it",
    r"export .*--onnx": "takes ten seconds; tests/pipeline/model_sharing runs it",
    r"^tagf plot-page": "bundles a library for seconds; tests/test_dvc_pipeline.py runs it",
    r"prune-parts (?!.*(--dry-run|--yes))": "asks before it removes anything",
}  # fmt: skip
# Pages whose commands take hours, all of them.
PAGES_NOT_RUN = {"benchmarks.md"}

# What is shortened, not to wait: option -> value in the place of any other.
SHORTENED = {"--heads": "tagf,concat", "--seeds": "0", "--clips": "4", "--seconds": "1", "--jobs": "1"}
# What is added where it is not given: tiny networks, few and short clips, one process.
PARAMS = ("--params", "params.yaml")
ADDED = {
    "sample-corpus": (("--clips", "4"), ("--seconds", "1"), ("--fps", "15"), ("--workers", "1")),
    "extract": (PARAMS, ("--workers", "1")),
    "train": (PARAMS,),
    "compare": (PARAMS, ("--jobs", "1")),
    "robustness": (PARAMS,),
    "doctor": (PARAMS,),
    "predict": (("--workers", "1"),),
}
# Commands that stop where something lies already; pages show several ways to the same place.
REFUSE_OCCUPIED = re.compile(r"cache (import|export|merge)|predict|export")


def leaf(words: Sequence[str]) -> tuple[click.Command, click.Context, list[str]]:
    """The command that words call, the context it is in, and the words after its name."""
    command: click.Command = tagf
    context = click.Context(tagf, info_name="tagf")
    rest = list(words)
    while isinstance(command, click.Group):
        while rest and rest[0].startswith("-"):
            rest.pop(0)  # the group's own, which are flags
        if not rest:
            break
        name, found, rest = command.resolve_command(context, rest)
        assert found is not None
        command, context = found, click.Context(found, info_name=name, parent=context)
    return command, context, rest


def check_flags(words: Sequence[str]) -> None:
    """The command exists, and so do all options; for commands that leave something out."""
    command, context, rest = leaf([word for word in words if word not in ("...", "(the", "same)")])
    known = {
        name
        for parameter in command.get_params(context)
        for name in (*parameter.opts, *parameter.secondary_opts)
    }
    for word in rest:
        if word.startswith("-") and not re.match(r"-?\d", word.lstrip("-")):
            assert word.partition("=")[0] in known, f"{word} is no option of tagf {' '.join(words)}"


def check_words(words: Sequence[str]) -> None:
    """What click says of the command before anything is done."""
    command, _, rest = leaf(words)
    command.make_context(command.name, rest)


def check_other(words: Sequence[str]) -> None:
    """A command of another program: what of this repository it names is there."""
    program, *rest = words
    if program == "make":
        makefile = (ROOT / "Makefile").read_text()
        for target in rest:
            assert "=" in target or re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE), target
    elif program == "dvc" and rest[0] in ("repro", "exp"):
        stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
        params = yaml.safe_load((ROOT / "params.yaml").read_text())
        names = iter(rest[1:] if rest[0] == "repro" else rest[2:])
        for name in names:
            if name in ("-S", "--set-param"):
                key, _, value = next(names).partition("=")
                found = params
                for part in key.split("."):
                    found = found[part]
                assert value
            elif not name.startswith("-"):
                assert name in stages, name
    elif program in ("python", "python3"):
        for word in rest:
            if "/" in word and not word.startswith("-"):
                assert (ROOT / word).exists(), word
    elif program == "pip":
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        for word in rest:
            if asked := re.search(r"\[(.*)\]", word):
                assert {*asked[1].split(",")} <= {*extras}, word
    elif "tagf" in rest:  # torchrun or srun start it; what the shell fills in is a number here
        check_words([re.sub(r"\$\{?\w+\}?", "0", word) for word in rest[rest.index("tagf") + 1 :]])


def shortened(words: Sequence[str]) -> list[str]:
    """The command with small settings in the place of those that take long."""
    new = list(words)
    for index, word in enumerate(new[:-1]):
        if word in SHORTENED:
            new[index + 1] = SHORTENED[word]
    for name, value in ADDED.get(words[0], ()):
        if name not in new:
            new += [name, value]
    return new


def run(
    command: Any,
    page: str,
    made_by: Sequence[str],
    enter: Callable[[], object],
    call: Callable[[list[str]], int],
    read_errors: Callable[[], str],
) -> None:
    """Run one documented command in the working folder, or check it; fails with the command's own message.

    Args:
        command: As `documented_commands` found it.
        page: Where it stands.
        made_by: Commands that made the project, which have run.
        enter: Makes the project the working folder; called before anything is run.
        call: Runs `tagf`.
        read_errors: What was written to standard error since the last call.
    """
    program, *words = command.words
    if program != "tagf":
        check_other(command.words)
        return
    placeholders = any(re.fullmatch(r"[A-Z]{3,}", word) or "|" in word for word in words)
    if command.is_abridged or placeholders:
        check_flags(words)
        return
    try:
        check_words(words)
    except click.exceptions.Exit:
        return
    except click.UsageError as error:
        raise AssertionError(f"{page}, line {command.line}: {command}: {error.format_message()}") from error
    if page in PAGES_NOT_RUN or any(re.search(pattern, " ".join(command.words)) for pattern in NOT_RUN):
        return
    short = shortened(words)
    if "--preview" in short and not page.endswith("--help"):
        short.remove("--preview")  # every clip is decoded again for it; once is enough
    if any({*short} == {*each.split()} for each in made_by):
        return
    enter()
    if REFUSE_OCCUPIED.match(" ".join(words)) and "--replace" not in words:
        _clear(Path(words[words.index("--out") + 1]))
    code = call(short)
    assert code == 0, f"{page}, line {command.line}: {command}: exit code {code}: {read_errors()}"


def _clear(place: Path) -> None:
    if place.is_dir():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)
