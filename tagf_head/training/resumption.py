"""What `--resume` finds in a run's folder: a finished run, an unfinished one, or one of other features.

The state that a run goes on from lies in the work directory. The run's folder only says whose it is, in
`unfinished.yaml`, until training has ended: so a resumed run of other features can be told what changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from torch import Tensor

from cache import FeatureStore
from tagf_head.checkpoint import CheckpointInfo, RunInfo, load_checkpoint
from tagf_head.errors import CheckpointError, TrainingError
from tagf_head.run_folder import CHECKPOINT_FILE, CONFIG_FILE, LOG_FILE, UNFINISHED_FILE, write_file
from tagf_head.training.log import EpochRecord, read_log

_NUM_NAMED = 3


@dataclass(frozen=True, kw_only=True, eq=False)
class FinishedRun:
    """A run that has ended, as its folder holds it; can be sent to other processes.

    Attributes:
        info: What its checkpoint says of itself.
        weights: The `state_dict` of its head.
        history: One record per epoch.
    """

    info: CheckpointInfo
    weights: Mapping[str, Tensor]
    history: tuple[EpochRecord, ...]


def note_unfinished(out: Path, info: RunInfo) -> None:
    """Say in a run's folder that its training has begun."""
    write_file(out / UNFINISHED_FILE, yaml.safe_dump(info.to_mapping(), sort_keys=False).encode())


def finished_run(out: Path, info: RunInfo) -> FinishedRun | None:
    """The very run that is asked for, where it has ended in this folder.

    It has ended when all its files are there and the note that it has begun is not. A run that was killed
    while it wrote them goes on from its state, and writes the same ones.
    """
    config = _read(out / CONFIG_FILE)
    if config is None or config.key != info.key or (out / UNFINISHED_FILE).exists():
        return None
    try:
        checkpoint = load_checkpoint(out / CHECKPOINT_FILE)
        history = read_log((out / LOG_FILE).read_bytes())
    except (CheckpointError, OSError, ValueError):
        return None
    if checkpoint.info.key != info.key:
        return None
    return FinishedRun(info=checkpoint.info, weights=checkpoint.head.state_dict(), history=history)


def why_anew(out: Path, info: RunInfo, store: FeatureStore) -> str | None:
    """Why there is no state to go on from, if there is none, although the folder holds a run.

    Returns:
        One line to show; None where the folder holds no run.

    Raises:
        TrainingError: The run in the folder was trained on other features.
    """
    found = former_run(out)
    if found is None:
        return None
    path, former = found
    if former.spec.fingerprint != info.spec.fingerprint:
        lines = info.spec.differences(former.spec, here=f"in {store.where}", there=f"in {path.name}")
        raise TrainingError(
            f"{path}: a run on features of spec {former.spec.fingerprint} cannot be resumed with "
            f"{store.where} of spec {info.spec.fingerprint}{''.join(f'; {line}' for line in lines)}; "
            "leave out --resume to train anew, or choose another folder"
        )
    if former.key == info.key:
        return f"resume: the state of the run in {out} is gone or damaged, starting with epoch 1"
    return f"resume: {path} has other settings ({run_differences(former, info)}), starting with epoch 1"


def former_run(out: Path) -> tuple[Path, RunInfo] | None:
    """What the run in a folder was trained with, finished or not, and the file that says so.

    Returns:
        None where there is no run, or one of another version.
    """
    for name in (UNFINISHED_FILE, CONFIG_FILE):
        former = _read(out / name)
        if former is not None:
            return out / name, former
    return None


def _read(path: Path) -> RunInfo | None:
    """What a run's YAML file says; None where it is missing, or of another version."""
    try:
        mapping = yaml.safe_load(path.read_text(encoding="utf-8"))
        return RunInfo.from_mapping(mapping, where=str(path)) if isinstance(mapping, dict) else None
    except (OSError, UnicodeDecodeError, yaml.YAMLError, CheckpointError):
        return None


def run_differences(former: RunInfo, current: RunInfo) -> str:
    """What differs between two runs on features of one spec whose keys differ."""
    then, now = (dict(_flat(info.to_mapping())) for info in (former, current))
    changed = [
        f"{key}: {then.get(key)} there, {now.get(key)} here"
        for key in now
        if key not in ("key", "own_head_digest") and then.get(key) != now.get(key)
    ]
    if then.get("own_head_digest") != now.get("own_head_digest"):
        changed.append("the code of the head")
    # The key also covers what no file says.
    named = "; ".join(changed[:_NUM_NAMED]) or "the device, the clips or the code of tagf_head"
    return named + (f"; and {len(changed) - _NUM_NAMED} more" if len(changed) > _NUM_NAMED else "")


def _flat(mapping: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in mapping.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
