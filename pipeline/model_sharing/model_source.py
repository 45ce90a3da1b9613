"""Which file is meant where a model is named: a checkpoint, a folder that holds one, or a repository.

    runs/tagf/best.safetensors     the file
    runs/tagf, exported            the checkpoint in a run's folder, or in what `tagf export` wrote
    OWNER/NAME, OWNER/NAME@TAG     the same of a model repository on the Hugging Face Hub

What is there comes first, so that a folder of this machine is never taken for a repository.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from cache.file_digest import file_digest
from tagf_head.errors import CheckpointError
from tagf_head.run_folder import CHECKPOINT_FILE

#: The checkpoint in an exported folder, and in a repository.
MODEL_FILE: Final = "model.safetensors"
#: SHA-256 of each file of an exported folder, as `sha256sum` writes and checks them.
CHECKSUM_FILE: Final = "SHA256SUMS"

# As the Hub allows them; a revision is a branch, a tag or a commit.
_REPOSITORY = re.compile(
    r"(?P<name>[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95})(@(?P<revision>[\w./-]+))?", re.ASCII
)
_NUM_NAMED = 3


def find_checkpoint(name: str | Path) -> Path:
    """The checkpoint that a name stands for, fetched where it is on the Hub and not here yet.

    Args:
        name: A file, a folder of a run or of `tagf export`, or `OWNER/NAME` of a repository on the Hugging
            Face Hub, with `@REVISION` for another revision than its main one. A repository that was
            fetched before is found without a network, too.

    Returns:
        A file, which `tagf_head.checkpoint.load_checkpoint` reads.

    Raises:
        CheckpointError: Nothing is there, a folder holds no checkpoint or two, its checkpoint is not the
            one that its checksums are of, or the repository cannot be fetched.
    """
    path = Path(name)
    if path.is_file():
        _check_digest(path)
        return path
    if path.is_dir():
        return _in_folder(path)
    repository = _REPOSITORY.fullmatch(str(name))
    # `runs/tagf` has the form of a repository's name; where `runs` is a folder, it is a misspelt path.
    if repository is None or path.suffix == ".safetensors" or path.parent.is_dir():
        raise CheckpointError(_missing(path))
    folder = _fetched(repository["name"], repository["revision"])
    if not any((folder / each).is_file() for each in (MODEL_FILE, CHECKPOINT_FILE)):
        raise CheckpointError(
            f"{path}: the repository holds no {MODEL_FILE} or {CHECKPOINT_FILE}; give one that 'tagf export' "
            "wrote"
        )
    return _in_folder(folder)


def _in_folder(folder: Path) -> Path:
    found = [folder / each for each in (CHECKPOINT_FILE, MODEL_FILE) if (folder / each).is_file()]
    if len(found) > 1:
        raise CheckpointError(
            f"{folder} holds both {CHECKPOINT_FILE} and {MODEL_FILE}; give one of the two files"
        )
    if not found:
        below = sorted(each.parent for each in folder.glob(f"**/{CHECKPOINT_FILE}"))
        named = ", ".join(map(str, below[:_NUM_NAMED])) + (", ..." if len(below) > _NUM_NAMED else "")
        remedy = f"give one of its runs: {named}" if below else "train a head first ('tagf train')"
        raise CheckpointError(f"no {CHECKPOINT_FILE} or {MODEL_FILE} in {folder}; {remedy}")
    _check_digest(found[0])
    return found[0]


def _check_digest(checkpoint: Path) -> None:
    """Hold a checkpoint against the checksums beside it, before anything of it is parsed."""
    checksums = checkpoint.with_name(CHECKSUM_FILE)
    if not checksums.is_file():
        return
    lines = checksums.read_text(encoding="utf-8", errors="replace").splitlines()
    expected = {name.lstrip("*"): digest for digest, _, name in (line.partition(" ") for line in lines)}
    expected = {name.strip(): digest for name, digest in expected.items()}
    if checkpoint.name in expected and (found := file_digest(checkpoint)) != expected[checkpoint.name]:
        raise CheckpointError(
            f"{checkpoint}: expected SHA-256 {expected[checkpoint.name]}, as {checksums.name} says, got "
            f"{found}; fetch or export the folder again"
        )


def _missing(path: Path) -> str:
    beside = sorted(each.parent.name for each in path.parent.glob(f"*/{CHECKPOINT_FILE}"))
    named = ", ".join(beside[:_NUM_NAMED]) + (", ..." if len(beside) > _NUM_NAMED else "")
    hint = f" (runs in {path.parent}: {named})" if beside else ""
    return (
        f"no checkpoint at {path}{hint}; give a run's {CHECKPOINT_FILE}, the folder of a run or of "
        "'tagf export', or OWNER/NAME of a repository on the Hugging Face Hub"
    )


def _fetched(repository: str, revision: str | None) -> Path:
    """Folder of a repository's snapshot in Hugging Face's cache."""
    shown = repository if revision is None else f"{repository}@{revision}"
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import (
            GatedRepoError,
            LocalEntryNotFoundError,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )
    except ImportError as error:
        raise CheckpointError(
            f"{shown} is no file or folder here, and to fetch it from the Hugging Face Hub takes "
            "huggingface_hub, which is not installed; run \"pip install 'tagf[hub]'\", or correct the path"
        ) from error
    try:
        folder = snapshot_download(
            repository, revision=revision, allow_patterns=[MODEL_FILE, CHECKPOINT_FILE, CHECKSUM_FILE]
        )
    except GatedRepoError as error:
        raise CheckpointError(
            f"{shown}: its owner gives access on request; ask on https://huggingface.co/{repository}, then "
            "log in with 'hf auth login'"
        ) from error
    except RepositoryNotFoundError as error:
        raise CheckpointError(
            f"{shown} is no file or folder here, and no model repository on the Hugging Face Hub that can be "
            "seen from here; correct the name, or log in with 'hf auth login' if it is private"
        ) from error
    except RevisionNotFoundError as error:
        raise CheckpointError(
            f"{shown}: the repository has no revision {revision or 'main'!r}; give one of its branches, tags "
            "or commits"
        ) from error
    except LocalEntryNotFoundError as error:
        raise CheckpointError(
            f"{shown} is no file or folder here, was not fetched from the Hugging Face Hub before, or not "
            "whole, and the Hub cannot be reached now; fetch it where there is a network ('hf download "
            f"{repository} --local-dir DIR'), and give its folder"
        ) from error
    except Exception as error:  # of its own, of the file system, and of the HTTP library, which changes
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise CheckpointError(
            f"{shown} cannot be fetched from the Hugging Face Hub ({reason}); try again, or give a folder"
        ) from error
    return Path(folder)
