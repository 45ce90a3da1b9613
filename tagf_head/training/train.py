"""Training of one head on cached features.

The features are frozen, so an epoch is nothing but gathers and the head: seconds. A run is a function of
its settings, the features and the labels: on the CPU, with one number of threads, it repeats bit for bit,
and so does a run that was killed and resumed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from platform import python_version

import numpy as np
import torch
import yaml
from torch import Tensor

from cache import FeatureStore
from cache.user_folders import default_work_dir
from tagf_head.annotations import Annotations, Split, load_annotations, select_clips
from tagf_head.checkpoint import CheckpointInfo, RunInfo, clip_digests, save_checkpoint, weights_dtype
from tagf_head.config import TrainConfig
from tagf_head.data.folds import Fold, plan_folds
from tagf_head.data.split_data import Features, SplitData, load_clips, open_features
from tagf_head.devices import resolve_device
from tagf_head.distributed import Processes, from_first, gather_values, joined
from tagf_head.errors import TrainingError
from tagf_head.head_config import HeadConfig
from tagf_head.heads import Head, build_head
from tagf_head.heads.own_head import own_head_digest
from tagf_head.run_folder import (
    CHECKPOINT_FILE,
    CONFIG_FILE,
    LOG_FILE,
    TENSORBOARD_FOLDER,
    UNFINISHED_FILE,
    write_file,
)
from tagf_head.shared_failures import in_all, naming_lost_processes
from tagf_head.training.log import EpochRecord, TensorBoardLog, log_bytes
from tagf_head.training.paced_saves import PacedSaves
from tagf_head.training.resumption import finished_run, note_unfinished, why_anew
from tagf_head.training.run import TrainingRun
from tagf_head.training.state import TrainingStateFile, training_key
from tagf_head.training.validation_labels import require_varying_labels

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

    head: Head
    info: CheckpointInfo
    history: tuple[EpochRecord, ...]

    @property
    def best_epoch(self) -> int:
        """Epoch of the head, counted from 1."""
        return self.info.best_epoch


def train_head(
    features: Features,
    annotations: Path | str,
    out: Path | str,
    config: TrainConfig,
    *,
    device: str | torch.device = "cpu",
    resume: bool = False,
    fold: Fold | None = None,
    tensorboard: bool = False,
    work_dir: Path | None = None,
    progress: Progress | None = None,
) -> TrainResult:
    """Train a head and write best.safetensors, config.yaml and training_log.csv.

    Where `torchrun` has started several processes, they train this head together, each with a share of every
    batch; the first one reports and writes, and all get the result.

    Args:
        features: Feature store, or its path or URL, or those of several stores of one fingerprint.
        annotations: The labels, as `load_annotations` takes them.
        out: Folder of the run; its files are written when training has ended, but for TensorBoard's and a
            note of what is being trained, `unfinished.yaml`.
        config: Settings; the widths in `config.head` are taken from the store.
        device: Where the rows and the head live; ``auto`` is a GPU where there is one. Of several processes,
            each takes a GPU of its own.
        resume: Go on from the state that a killed run of the same settings, features and labels left; a run
            that has ended in this folder is given back as it is.
        fold: Fold that is held out for validation, instead of the official split.
        tensorboard: Write events to the folder `tensorboard` below `out`.
        work_dir: Where the state lies; `$TAGF_WORK_DIR` or the user's cache folder by default.
        progress: Called with one line before training and one per epoch. A run that an interrupt or an error
            ends afterwards can go on after that epoch; for one that is killed see `PacedSaves`.

    Returns:
        The best epoch's head and the history.

    Raises:
        HeadError: Labels, settings or device cannot be used, the loss is no longer finite, the folder holds a
            run on other features that is to be resumed, or another process has failed.
        CacheError: The store cannot be used.
    """
    with joined() as processes, ExitStack() as stack, naming_lost_processes(processes):

        def begin() -> _Training:
            board = None
            if tensorboard and processes.is_first:
                board = stack.enter_context(closing(TensorBoardLog(Path(out) / TENSORBOARD_FOLDER)))
            return _Training(
                store=open_features(features),
                annotations=load_annotations(Path(annotations), config.labels.gold_standard),
                out=Path(out),
                config=config,
                device=resolve_device(device, processes),
                processes=processes,
                fold=fold,
                work_dir=work_dir or default_work_dir(),
                board=board,
                report=progress if progress and processes.is_first else _say_nothing,
            )

        return in_all(begin).run(resume=resume)


def planned_run(
    store: FeatureStore,
    annotations: Annotations,
    config: TrainConfig,
    *,
    device: torch.device,
    fold: Fold | None = None,
    num_processes: int = 1,
) -> RunInfo:
    """What a training says of itself, its key included; nothing is trained.

    Args:
        store: The features.
        annotations: The labels, made with the gold standard of `config.labels`.
        config: Settings, as for `train_head`.
        device: Device of the head.
        fold: As for `train_head`.
        num_processes: Processes that train together.

    Raises:
        HeadError: The labels do not fit the features, or the head is unknown.
    """
    config = _with_settled_head(config, store)
    train_clips, validation_clips = _clips_of(annotations, store, fold)
    annotations_digest = annotations.digest(_SPLITS)
    return RunInfo(
        train=config,
        spec=store.spec,
        features_digest=store.digest,
        annotations_digest=annotations_digest,
        fold=fold,
        num_processes=num_processes,
        versions=_versions(device),
        key=training_key(
            config=config,
            features_digest=store.digest,
            annotations_digest=annotations_digest,
            train_clips=train_clips,
            validation_clips=validation_clips,
            fold=fold,
            device=device,
            num_processes=num_processes,
        ),
        own_head_digest=own_head_digest(config.head.name),
    )


class _Training:
    """One call of `train_head`."""

    def __init__(
        self,
        *,
        store: FeatureStore,
        annotations: Annotations,
        out: Path,
        config: TrainConfig,
        device: torch.device,
        processes: Processes,
        fold: Fold | None,
        work_dir: Path,
        board: TensorBoardLog | None,
        report: Progress,
    ) -> None:
        self._store = store
        self._annotations = annotations
        self._out = out
        self._device = device
        self._processes = processes
        self._board = board
        self._report = report
        self._clips = _clips_of(annotations, store, fold)
        self._info = planned_run(
            store, annotations, config, device=device, fold=fold, num_processes=processes.count
        )
        self._config = self._info.train
        self._state_file = TrainingStateFile(work_dir, self._info.key, out)
        self._saves = PacedSaves(self._state_file)

    def run(self, *, resume: bool) -> TrainResult:
        """Train, or find that there is nothing left to do."""
        self._check_that_all_are_alike()
        finished = from_first(lambda: finished_run(self._out, self._info)) if resume else None
        with _own_random_state(self._device):
            if finished is not None:
                # A run that was killed at its very end has left its state.
                from_first(self._state_file.discard)
                info = finished.info
                self._report(f"resume: the run in {self._out} has ended, its best epoch is {info.best_epoch}")
                return TrainResult(head=self._head(finished.weights), info=info, history=finished.history)
            run = self._prepared()
            if resume:
                self._go_on(run)
            if self._board is not None:
                self._board.add(run.history)
            try:
                while not run.is_over:
                    self._train_epoch(run)
                return self._result(run)
            except BaseException:
                # What ended the run matters more than that it could not be saved.
                with suppress(Exception):
                    self._saves.catch_up()
                raise

    def _check_that_all_are_alike(self) -> None:
        for rank, other in enumerate(gather_values(self._info.key)):
            if other != self._info.key:
                raise TrainingError(
                    f"processes {self._processes.rank} and {rank} were started with different settings, "
                    "features, labels or code; start all of them alike"
                )

    def _prepared(self) -> TrainingRun:
        train, validation = in_all(self._load)
        run = TrainingRun(self._config, train, validation, self._device, self._processes)
        self._report(run.describe())
        if leak := _seen_on_both_sides(self._annotations, *self._clips):
            self._report(leak)
        return run

    def _load(self) -> tuple[SplitData, SplitData]:
        """What is trained on, and what the best epoch is chosen by."""
        train, validation = (
            load_clips(
                self._store,
                self._annotations,
                clip_ids,
                name=name,
                labels=self._config.labels,
                device=self._device,
                rows_memory_gb=self._config.rows_memory_gb,
            )
            for name, clip_ids in zip(_SPLITS, self._clips, strict=True)
        )
        require_varying_labels(validation)
        return train, validation

    def _go_on(self, run: TrainingRun) -> None:
        """Take up the state that a killed run left, where there is one."""
        # First of all, since it refuses to replace a run on other features.
        why = from_first(lambda: why_anew(self._out, self._info, self._store))
        state = from_first(self._state_file.load)
        if state is not None:
            run.load_state_dict(state)
            from_first(lambda: note_unfinished(self._out, self._info))
            self._report(f"resume: going on after {run.epoch} epochs, from {self._state_file.path.parent}")
        elif why:
            self._report(why)

    def _train_epoch(self, run: TrainingRun) -> None:
        line = run.next_epoch()
        state = run.state_dict()

        def save() -> None:
            # Before the state: what the folder says decides whether a state is taken up.
            if run.epoch == 1:
                note_unfinished(self._out, self._info)
            self._saves.add(state)

        # Where the first process has no room to write, the others must not wait for it.
        from_first(save)
        if self._board is not None:
            self._board.add(run.history[-1:])
        self._report(line)

    def _result(self, run: TrainingRun) -> TrainResult:
        best = run.history[run.best_epoch - 1]
        info = CheckpointInfo(
            **{field.name: getattr(self._info, field.name) for field in fields(self._info)},
            best_epoch=run.best_epoch,
            validation_ccc={
                "valence": best.validation_ccc_valence,
                "arousal": best.validation_ccc_arousal,
                "mean": best.validation_ccc_mean,
            },
            trained_on=clip_digests(self._clips[0]),
        )
        from_first(lambda: self._write(run.best_head, info, run.history))
        return TrainResult(head=self._head(run.best_head), info=info, history=tuple(run.history))

    def _head(self, weights: Mapping[str, Tensor]) -> Head:
        """A head of these weights, in evaluation mode."""
        head = build_head(self._config.head).to(self._device, weights_dtype(self._config))
        head.load_state_dict(weights)
        return head.eval()

    def _write(
        self, head: Mapping[str, Tensor], info: CheckpointInfo, history: Sequence[EpochRecord]
    ) -> None:
        # `finished_run` relies on this order: a kill in between leaves the note or the state or both.
        save_checkpoint(self._out / CHECKPOINT_FILE, head, info)
        write_file(self._out / LOG_FILE, log_bytes(history))
        write_file(self._out / CONFIG_FILE, yaml.safe_dump(info.to_mapping(), sort_keys=False).encode())
        (self._out / UNFINISHED_FILE).unlink(missing_ok=True)
        self._saves.discard()


def _with_settled_head(config: TrainConfig, store: FeatureStore) -> TrainConfig:
    """The settings with the store's widths, and with what the head's name settles."""
    head = config.head.resolved()
    settled = {field.name: getattr(head, field.name) for field in fields(HeadConfig)}
    widths = {f"{name}_features": store.spec.stream(name).num_features for name in ("visual", "audio")}
    return replace(config, head=HeadConfig(**settled | widths))


def _clips_of(
    annotations: Annotations, store: FeatureStore, fold: Fold | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Clips to train on, clips to validate on."""
    if fold is not None:
        return plan_folds(annotations, store, fold.num_folds).split(fold.index)
    train, validation = (
        select_clips(annotations, split, store.clip_ids, features=store.where) for split in _SPLITS
    )
    return train, validation


def _seen_on_both_sides(
    annotations: Annotations, train: Sequence[str], validation: Sequence[str]
) -> str | None:
    """A warning where the official split has a subject in both; folds never do."""
    trained_on = {
        annotations.subjects[clip_id]: clip_id for clip_id in train if clip_id in annotations.subjects
    }
    for clip_id in validation:
        subject = annotations.subjects.get(clip_id)
        if subject in trained_on:
            return (
                f"warning: subject {subject!r} is trained on (clip {trained_on[subject]!r}) and validated on "
                f"(clip {clip_id!r}), so that scores say little about other people; split by subject, or use "
                "--fold"
            )
    return None


def _versions(device: torch.device) -> dict[str, str]:
    versions = {"python": python_version(), "torch": str(torch.__version__), "numpy": np.__version__}
    if device.type == "cuda":
        versions |= {"cuda": str(torch.version.cuda), "gpu": torch.cuda.get_device_name(device)}
    return versions


def _own_random_state(device: torch.device) -> AbstractContextManager[None]:
    """Leave the caller's random numbers alone."""
    index = device.index if device.index is not None else 0
    return torch.random.fork_rng(devices=[index] if device.type == "cuda" else [])


def _say_nothing(line: str) -> None:
    pass
