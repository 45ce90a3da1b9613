"""A trained head in one safetensors file that says which features it belongs to.

Everything that is needed to use the weights lies in the file's metadata, so that a checkpoint can be moved
without its run folder. A checkpoint holds no code. That of a head of one's own names
its class, and gives the digest of its source: the module is imported only if it lies here already, with that
very source, and defines such a class.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from cache import CacheError, FeatureSpec
from cache.settings import parse_settings, to_mapping
from tagf_head.config import TrainConfig
from tagf_head.data.folds import Fold
from tagf_head.errors import CheckpointError, HeadError
from tagf_head.heads import Head, build_head
from tagf_head.heads.own_head import is_own_head, require_source
from tagf_head.run_folder import write_file

FORMAT = "tagf-head-4"

# One key alone: safetensors writes several in an order that differs from process to process.
_METADATA_KEY = "tagf"
_RANDOM_WEIGHTS = "random:"
_NUM_DIGITS = 16


@dataclass(frozen=True, kw_only=True)
class RunInfo:
    """What a run trains with.

    Attributes:
        train: Settings, with the widths of the store in `train.head` and nothing left open there.
        spec: Spec of the features.
        features_digest: SHA-256 of the store's content.
        annotations_digest: SHA-256 of the labels of the training and the validation split.
        fold: Fold that is held out for validation; None for the official split.
        num_processes: Processes that train together.
        versions: Versions of Python and of the computing libraries.
        key: The run's `training_key`.
        own_head_digest: `own_head_digest` of a head of one's own; None for one of the registry.
    """

    train: TrainConfig
    spec: FeatureSpec
    features_digest: str
    annotations_digest: str
    fold: Fold | None = None
    num_processes: int = 1
    versions: Mapping[str, str]
    key: str
    own_head_digest: str | None = None

    @property
    def random_weights(self) -> bool:
        """Whether a frozen backbone of the features had random weights."""
        return has_random_weights(self.spec)

    def to_mapping(self) -> dict[str, Any]:
        """Plain values, for YAML or JSON."""
        return {
            "format": FORMAT,
            "train": to_mapping(self.train),
            "seed": self.train.seed,
            "fold": None if self.fold is None else to_mapping(self.fold),
            "num_processes": self.num_processes,
            "annotations_digest": self.annotations_digest,
            "features": {
                "fingerprint": self.spec.fingerprint,
                "digest": self.features_digest,
                "random_weights": self.random_weights,
                "spec": json.loads(self.spec.to_json()),
            },
            "versions": dict(self.versions),
            "key": self.key,
            "own_head_digest": self.own_head_digest,
        }

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any], *, where: str) -> Self:
        """Inverse of `to_mapping`.

        Raises:
            CheckpointError: `mapping` was not written by `to_mapping` of this version.
        """
        if mapping.get("format") != FORMAT:
            raise CheckpointError(
                f"{where}: expected a checkpoint of format {FORMAT!r}, got {mapping.get('format')!r}; train "
                "again with this version of tagf_head"
            )
        try:
            return cls(**cls._fields_of(mapping, where=where))
        except (CacheError, KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
            raise CheckpointError(
                f"{where}: the checkpoint's description is damaged ({error}); train again"
            ) from error

    @classmethod
    def _fields_of(cls, mapping: Mapping[str, Any], *, where: str) -> dict[str, Any]:
        fold, own_head_digest = mapping["fold"], mapping["own_head_digest"]
        return {
            "train": parse_settings(TrainConfig, mapping["train"], where=where, section="train"),
            "spec": FeatureSpec.from_json(json.dumps(mapping["features"]["spec"])),
            "features_digest": str(mapping["features"]["digest"]),
            "annotations_digest": str(mapping["annotations_digest"]),
            "fold": None if fold is None else parse_settings(Fold, fold, where=where, section="fold"),
            "num_processes": int(mapping["num_processes"]),
            "versions": {name: str(value) for name, value in mapping["versions"].items()},
            "key": str(mapping["key"]),
            "own_head_digest": None if own_head_digest is None else str(own_head_digest),
        }


@dataclass(frozen=True, kw_only=True)
class CheckpointInfo(RunInfo):
    """What a head was trained with, and what came of it.

    Attributes:
        best_epoch: Epoch of these weights, counted from 1.
        validation_ccc: CCC of these weights on the validation split: `valence`, `arousal`, `mean`.
        trained_on: `clip_digests` of the clips that it was trained on.
    """

    best_epoch: int
    validation_ccc: Mapping[str, float]
    trained_on: tuple[str, ...]

    def seen(self, clip_ids: Iterable[str]) -> list[str]:
        """Those of some clips that the head was trained on."""
        trained_on = {*self.trained_on}
        return [clip_id for clip_id in clip_ids if clip_digests([clip_id])[0] in trained_on]

    def to_mapping(self) -> dict[str, Any]:
        """Plain values, for the checkpoint's metadata and for config.yaml."""
        return super().to_mapping() | {
            "best_epoch": self.best_epoch,
            "validation_ccc": dict(self.validation_ccc),
            "trained_on": list(self.trained_on),
        }

    @classmethod
    def _fields_of(cls, mapping: Mapping[str, Any], *, where: str) -> dict[str, Any]:
        return super()._fields_of(mapping, where=where) | {
            "best_epoch": int(mapping["best_epoch"]),
            "validation_ccc": {name: float(value) for name, value in mapping["validation_ccc"].items()},
            "trained_on": tuple(str(digest) for digest in mapping["trained_on"]),
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class Checkpoint:
    """A trained head in evaluation mode, and what it was trained with."""

    head: Head
    info: CheckpointInfo


def clip_digests(clip_ids: Iterable[str]) -> tuple[str, ...]:
    """Digests of clip ids, sorted: a checkpoint that is given away names no people."""
    return tuple(sorted(hashlib.sha256(clip_id.encode()).hexdigest()[:_NUM_DIGITS] for clip_id in clip_ids))


def has_random_weights(spec: FeatureSpec) -> bool:
    """Whether a backbone's weights are ``random:SEED``: then no result says anything about real media."""
    return any(
        isinstance(value, str) and value.startswith(_RANDOM_WEIGHTS) for value in spec.settings.values()
    )


def weights_dtype(config: TrainConfig) -> torch.dtype:
    """What a head's weights are stored and computed in; autocast keeps them in float32."""
    return torch.float64 if config.precision == "float64" else torch.float32


def save_checkpoint(path: Path, state: Mapping[str, Tensor], info: CheckpointInfo) -> None:
    """Write a head's `state_dict` and its description; the same content gives the same bytes."""
    # Cloned, since steps that share their weights give one tensor under several names, which safetensors
    # refuses.
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
    description = json.dumps(info.to_mapping(), sort_keys=True, allow_nan=False)
    write_file(path, save(tensors, metadata={_METADATA_KEY: description}))


def load_checkpoint(path: Path, *, device: torch.device | str = "cpu") -> Checkpoint:
    """Read a checkpoint and build its head, in float64 if it was trained in that, else in float32.

    Raises:
        CheckpointError: The file is missing, damaged, no checkpoint of this project, or does not fit its
            own settings; or its head is one of one's own that is not here, or not as it was at training.
    """
    if not Path(path).is_file():
        raise CheckpointError(f"no checkpoint at {path}; train a head first ('tagf train')")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} is no safetensors file, or a damaged one ({error}); train again"
        ) from error
    if _METADATA_KEY not in metadata:
        raise CheckpointError(
            f"{path} holds tensors but no description of a tagf head; give a run's best.safetensors"
        )
    info = CheckpointInfo.from_mapping(_description(metadata[_METADATA_KEY], path), where=str(path))
    try:
        if is_own_head(info.train.head.name):
            require_source(info.train.head.name, info.own_head_digest)
        head = build_head(info.train.head).to(weights_dtype(info.train))
    except HeadError as error:
        raise CheckpointError(f"{path}: {error}") from error
    try:
        head.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(
            f"{path} does not fit its own head {info.train.head.name!r} ({reason}); train again"
        ) from error
    return Checkpoint(head=head.to(device).eval(), info=info)


def _description(text: str, path: Path) -> dict[str, Any]:
    try:
        description = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{path}: the checkpoint's description is no JSON ({error}); train again"
        ) from error
    if not isinstance(description, dict):
        raise CheckpointError(
            f"{path}: expected a JSON object as the checkpoint's description, got "
            f"{type(description).__name__}; train again"
        )
    return description
