"""Training of one head on cached features.

The features are frozen, so an epoch is nothing but gathers and the head: seconds. A run is a function of
its settings, the features and the labels: on the CPU, with one number of threads, it repeats bit for bit,
and so does a run that was killed and resumed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from platform import python_version

import numpy as np
import torch
import yaml
from torch import Tensor, nn

from cache.user_folders import default_work_dir
from tagf_head.annotations import Split, load_annotations
from tagf_head.checkpoint import CheckpointInfo, save_checkpoint
from tagf_head.config import TrainConfig
from tagf_head.data import Features, load_split, open_features
from tagf_head.devices import resolve_device
from tagf_head.run_folder import CHECKPOINT_FILE, CONFIG_FILE, LOG_FILE, csv_bytes, write_file
from tagf_head.training_run import EpochRecord, TrainingRun
from tagf_head.training_state import TrainingStateFile, training_key

_SPLITS: tuple[Split, ...] = ("train", "validation")

Progress = Callable[[str], None]


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainResult:
    """A finished run.

    Attributes:
        head: The head of the best epoch, in evaluation mode.
        info: What the checkpoint says of itself.
        history: One record per epoch.
    """

    head: nn.Module
    info: CheckpointInfo
    history: tuple[EpochRecord, ...]

    @property
    def best_epoch(self) -> int:
        """Epoch of the head, counted from 1."""
        return self.info.best_epoch


def train_head(
    features: Features,
    annotations: Path,
    out: Path,
    config: TrainConfig,
    *,
    device: str | torch.device = "cpu",
    resume: bool = False,
    work_dir: Path | None = None,
    progress: Progress | None = None,
) -> TrainResult:
    """Train a head and write best.safetensors, config.yaml and training_log.csv.

    Args:
        features: Feature store, or its path or URL, or those of several stores of one fingerprint.
        annotations: Folder of the labels.
        out: Folder of the run; its files are written when training has ended.
        config: Settings; the widths in `config.head` are taken from the store.
        device: Where the rows and the head live; ``auto`` is a GPU where there is one.
        resume: Go on from the state that a killed run of the same settings, features and labels left.
        work_dir: Where that state lies; `$TAGF_WORK_DIR` or the user's cache folder by default.
        progress: Called with one line before training and one per epoch, once the epoch's state is safe.

    Returns:
        The best epoch's head and the history.

    Raises:
        HeadError: Labels, settings or device cannot be used, or the loss is no longer finite.
        CacheError: The store cannot be used.
    """
    report = progress or (lambda line: None)
    target = resolve_device(device)
    store = open_features(features)
    labels = load_annotations(annotations)
    config = replace(
        config,
        head=replace(
            config.head,
            visual_features=store.spec.stream("visual").num_features,
            audio_features=store.spec.stream("audio").num_features,
        ),
    )
    train, validation = (load_split(store, labels, split, target) for split in _SPLITS)
    annotations_digest = labels.digest(_SPLITS)
    key = training_key(
        config=config,
        features_digest=store.digest,
        annotations_digest=annotations_digest,
        clip_ids=(*train.clip_ids, *validation.clip_ids),
        device=target,
    )
    state_file = TrainingStateFile(work_dir or default_work_dir(), key)
    with _own_random_state(target):
        run = TrainingRun(config, train, validation, target)
        report(run.describe())
        if resume:
            state = state_file.load()
            if state is not None:
                run.load_state_dict(state)
                report(f"resume: going on after {run.epoch} epochs, from {state_file.path.parent}")
        while not run.is_over:
            line = run.next_epoch()
            state_file.save(run.state_dict())
            report(line)
    info = CheckpointInfo(
        train=config,
        spec=store.spec,
        features_digest=store.digest,
        annotations_digest=annotations_digest,
        best_epoch=run.best_epoch,
        validation_ccc=_validation_ccc(run.history[run.best_epoch - 1]),
        versions={"python": python_version(), "torch": str(torch.__version__), "numpy": np.__version__},
    )
    _write_run(out, run.best_head, info, run.history)
    state_file.discard()
    run.head.load_state_dict(run.best_head)
    return TrainResult(head=run.head.eval(), info=info, history=tuple(run.history))


def _own_random_state(device: torch.device) -> AbstractContextManager[None]:
    """Leave the caller's random numbers alone."""
    index = device.index if device.index is not None else 0
    return torch.random.fork_rng(devices=[index] if device.type == "cuda" else [])


def _validation_ccc(record: EpochRecord) -> dict[str, float]:
    return {
        "valence": record.validation_ccc_valence,
        "arousal": record.validation_ccc_arousal,
        "mean": record.validation_ccc_mean,
    }


def _write_run(
    out: Path, head: Mapping[str, Tensor], info: CheckpointInfo, history: list[EpochRecord]
) -> None:
    save_checkpoint(out / CHECKPOINT_FILE, head, info)
    # No wall times: the log of a repeated run is the same file.
    header = [field.name for field in fields(EpochRecord)]
    write_file(out / LOG_FILE, csv_bytes(header, (asdict(record).values() for record in history)))
    write_file(out / CONFIG_FILE, yaml.safe_dump(info.to_mapping(), sort_keys=False).encode())
