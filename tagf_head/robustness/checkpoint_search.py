"""Which checkpoints the files and folders stand for that a measurement is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from tagf_head.comparison.record import COMPARISON_NAME, recorded_trials
from tagf_head.errors import CheckpointError
from tagf_head.run_folder import CHECKPOINT_FILE


def find_checkpoints(
    paths: Sequence[Path], report: Callable[[str], None] = lambda line: None
) -> tuple[Path, ...]:
    """Checkpoints of files and folders, each once; of a folder, every best.safetensors below it.

    A folder of a comparison keeps the trials of former heads and seeds. Those that are not in the
    comparison's table are left out, unless they are given as files.

    Args:
        paths: Files and folders.
        report: Called with one line that names what is left out.

    Raises:
        CheckpointError: A folder holds none, or none that is in its comparison's table.
    """
    found: dict[Path, Path] = {}
    left_out: dict[Path, Path] = {}
    for path in paths:
        below = sorted(path.rglob(CHECKPOINT_FILE)) if path.is_dir() else [path]
        if not below:
            raise CheckpointError(f"no {CHECKPOINT_FILE} below {path}; train a head first ('tagf train')")
        former = [file for file in below if path.is_dir() and _is_former_trial(file.resolve())]
        if len(former) == len(below):
            raise CheckpointError(
                f"no {CHECKPOINT_FILE} below {path} is of a trial in the table of its comparison "
                f"({COMPARISON_NAME}.csv); run 'tagf compare' again, or give the files themselves"
            )
        for file in below:
            (left_out if file in former else found).setdefault(file.resolve(), file)
    names = [str(file.parent) for resolved, file in left_out.items() if resolved not in found]
    if names:
        report(f"left out, since {COMPARISON_NAME}.csv has no such trials: {', '.join(names)}")
    return tuple(found.values())


def _is_former_trial(checkpoint: Path) -> bool:
    """Whether a checkpoint lies where a comparison keeps a trial, but is of none in its table."""
    # HEAD/seed-S/best.safetensors, and HEAD/seed-S/fold-K/best.safetensors with folds.
    for trial in checkpoint.parents[:2]:
        if trial.name.startswith("seed-"):
            recorded = recorded_trials(trial.parent.parent)
            return recorded is not None and trial not in recorded
    return False
