"""A training run's state after an epoch, from which the run goes on as if nothing had happened.

The file lies in a work directory of its own, not in the run's folder, which DVC empties before a stage. Its
name is a digest of everything that the run's numbers depend on and of the run's folder, so that a state can
only be found by the run that it belongs to. States of runs that nobody goes on with are removed after a
while.
"""

from __future__ import annotations

import hashlib
import io
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import torch

from cache.atomic_file import remove_leftovers
from cache.settings import to_mapping
from tagf_head.config import TrainConfig
from tagf_head.data.folds import Fold
from tagf_head.heads.own_head import own_head_digest
from tagf_head.run_folder import write_file

#: Packages that work with finished runs: a change there, to a table or a plot, makes no run another one.
_BEYOND_TRAINING = frozenset({"comparison", "robustness"})
_DIGEST_BYTES = hashlib.sha256().digest_size
_SUFFIX = ".pt"
_DAY_S = 24 * 3600.0
#: States that were last written longer ago are abandoned.
_ABANDONED_AFTER_S = 30 * _DAY_S
#: The oldest states go when all of them together take more than this,
_MAX_TOTAL_BYTES = 4_000_000_000
#: unless they are so young that another run may still be writing them.
_IN_USE_S = _DAY_S


def training_key(
    *,
    config: TrainConfig,
    features_digest: str,
    annotations_digest: str,
    train_clips: Sequence[str],
    validation_clips: Sequence[str],
    fold: Fold | None,
    device: torch.device,
    num_processes: int,
) -> str:
    """Digest of everything that a run's numbers depend on, 64 hexadecimal digits.

    The number of threads is not part of it: a run resumed with another one goes on, and may differ in the
    last digits. Nor is the memory for rows, which changes no number.

    Args:
        config: Settings.
        features_digest: Digest of the store's content.
        annotations_digest: Digest of the labels.
        train_clips: Clips that are trained on, in the order of the store.
        validation_clips: Clips that the best epoch is chosen by, in the order of the store.
        fold: Which fold these are; None for the official split.
        device: Device of the head.
        num_processes: Processes that train together.

    Raises:
        UnknownHeadError: A head of one's own cannot be imported.
    """
    facts = {
        "config": to_mapping(replace(config, rows_memory_gb=None)),
        "features": features_digest,
        "annotations": annotations_digest,
        "clips": [list(train_clips), list(validation_clips)],
        "fold": None if fold is None else to_mapping(fold),
        "device": device.type,
        "processes": num_processes,
        "torch": torch.__version__,
        "sources": sources_digest(),
        "own_head": own_head_digest(config.head.name),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


@cache
def sources_digest() -> str:
    """SHA-256 of this package's own source files, but for those of `_BEYOND_TRAINING`."""
    package = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        if path.relative_to(package).parts[0] in _BEYOND_TRAINING:
            continue
        content = path.read_bytes()
        digest.update(json.dumps([path.relative_to(package).as_posix(), len(content)]).encode())
        digest.update(content)
    return digest.hexdigest()


class TrainingStateFile:
    """The file that holds one run's state.

    Args:
        work_dir: Work directory, shared by all runs.
        key: The run's `training_key`.
        out: The run's folder: runs of one key into several folders do not share a state.
    """

    def __init__(self, work_dir: Path, key: str, out: Path) -> None:
        name = hashlib.sha256(json.dumps([key, str(out.resolve())]).encode()).hexdigest()
        self.path = work_dir / "training" / f"{name}{_SUFFIX}"
        self._has_pruned = False

    def save(self, state: Mapping[str, Any]) -> None:
        """Replace the state; a crash leaves the former one. The first one removes abandoned states."""
        content = io.BytesIO()
        torch.save(dict(state), content)
        payload = content.getbuffer()
        write_file(self.path, hashlib.sha256(payload).digest(), payload)
        if not self._has_pruned:
            self._has_pruned = True
            _remove_abandoned(self.path.parent)

    def load(self) -> dict[str, Any] | None:
        """The state, or None where there is none or a damaged one: the run then starts from epoch 1."""
        try:
            content = self.path.read_bytes()
        except OSError:
            return None
        digest, payload = content[:_DIGEST_BYTES], memoryview(content)[_DIGEST_BYTES:]
        # torch reads damaged tensors without a word.
        if hashlib.sha256(payload).digest() != digest:
            return None
        # Tensors and plain values alone: a file in a shared cache folder must not run code.
        state: dict[str, Any] = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
        return state

    def discard(self) -> None:
        """Remove the state, and what killed runs left beside it."""
        self.path.unlink(missing_ok=True)
        remove_leftovers(self.path.parent)


def _remove_abandoned(folder: Path) -> None:
    """Remove the states that nobody has gone on with for long."""
    now = time.time()
    remaining = []
    for path in folder.glob(f"*{_SUFFIX}"):
        with suppress(OSError):  # another run has ended, or is cleaning, too
            found = path.stat()
            if now - found.st_mtime > _ABANDONED_AFTER_S:
                path.unlink()
            else:
                remaining.append((found.st_mtime, found.st_size, path))
    total_bytes = sum(size for _, size, _ in remaining)
    for written_s, size, path in sorted(remaining):
        if total_bytes <= _MAX_TOTAL_BYTES or now - written_s < _IN_USE_S:
            return
        with suppress(OSError):
            path.unlink()
            total_bytes -= size
