"""A training run's state after an epoch, from which the run goes on as if nothing had happened.

The file lies in a work directory of its own, not in the run's folder, which DVC empties before a stage. Its
name is a digest of everything that the run's numbers depend on, so that a state can only be found by the
run that it belongs to.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch

from cache.atomic_file import remove_leftovers
from cache.settings import to_mapping
from tagf_head.config import TrainConfig
from tagf_head.run_folder import write_file

_DIGEST_BYTES = hashlib.sha256().digest_size


def training_key(
    *,
    config: TrainConfig,
    features_digest: str,
    annotations_digest: str,
    clip_ids: Sequence[str],
    device: torch.device,
) -> str:
    """Digest of everything that a run's numbers depend on, 64 hexadecimal digits.

    The number of threads is not part of it: a run resumed with another one goes on, and may differ in the
    last digits.

    Args:
        config: Settings.
        features_digest: Digest of the store's content.
        annotations_digest: Digest of the labels.
        clip_ids: Clips of the training and the validation split, in the order of the store.
        device: Device of the head.
    """
    facts = {
        "config": to_mapping(config),
        "features": features_digest,
        "annotations": annotations_digest,
        "clips": list(clip_ids),
        "device": device.type,
        "torch": torch.__version__,
        "sources": sources_digest(),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


@cache
def sources_digest() -> str:
    """SHA-256 of this package's own source files."""
    package = Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        content = path.read_bytes()
        digest.update(json.dumps([path.relative_to(package).as_posix(), len(content)]).encode())
        digest.update(content)
    return digest.hexdigest()


class TrainingStateFile:
    """The file that holds one run's state.

    Args:
        work_dir: Work directory, shared by all runs.
        key: The run's `training_key`.
    """

    def __init__(self, work_dir: Path, key: str) -> None:
        self.path = work_dir / "training" / f"{key}.pt"

    def save(self, state: Mapping[str, Any]) -> None:
        """Replace the state; a crash leaves the former one."""
        content = io.BytesIO()
        torch.save(dict(state), content)
        payload = content.getvalue()
        write_file(self.path, hashlib.sha256(payload).digest() + payload)

    def load(self) -> dict[str, Any] | None:
        """The state, or None where there is none or a damaged one: the run then starts from epoch 1."""
        try:
            content = self.path.read_bytes()
        except OSError:
            return None
        digest, payload = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
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
