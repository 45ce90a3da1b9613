"""One trial: a head trained with one seed, or a cross-validation of it, and evaluated.

    OUT/HEAD/seed-S/            best.safetensors, training_log.csv, ..., metrics.json, predictions.parquet
    OUT/HEAD/seed-S/fold-K/     with folds: a run per fold, and what they say out of fold in seed-S

A trial that has ended with the same settings, features, labels and code is kept as it is; one that was
interrupted goes on; anything else in its folder is trained again, see `tagf_head.comparison.retraining`.
"""

from __future__ import annotations

import hashlib
import json
import statistics
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from cache import FeatureStore
from cache.file_digest import file_digest
from tagf_head.annotations import load_annotations
from tagf_head.comparison.entry import Entry
from tagf_head.comparison.failures import failure_status, failure_text
from tagf_head.comparison.record import trial_folder
from tagf_head.config import EvaluateConfig, TrainConfig
from tagf_head.data.folds import Fold
from tagf_head.data.split_data import open_features
from tagf_head.errors import HeadError
from tagf_head.evaluation.evaluate import evaluate_head
from tagf_head.run_folder import (
    CHECKPOINT_FILE,
    CLIP_METRICS_FILE,
    METRICS_FILE,
    PREDICTIONS_FILE,
    write_file,
)
from tagf_head.training.cross_validation import fold_folder
from tagf_head.training.resumption import former_run
from tagf_head.training.state import sources_digest
from tagf_head.training.train import TrainResult, train_head

EVALUATION_FILE = "evaluation.json"
FAILURE_FILE = "failure.txt"

TrialStatus = Literal["trained", "evaluated", "kept", "failed", "out of memory", "disk full"]

# Of a training's lines, those that are worth seeing among those of many others.
_RESUMED = "resume: "
_NOTES = (_RESUMED, "warning: ")


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One head with one seed.

    Attributes:
        entry: The head.
        seed: The seed.
    """

    entry: Entry
    seed: int

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"{self.entry.name}, seed {self.seed}"

    def folder(self, out: Path) -> Path:
        """Its folder within that of the comparison."""
        return trial_folder(out, self.entry.folder, self.seed)


@dataclass(frozen=True, kw_only=True)
class TrialSettings:
    """What all trials of a comparison share; can be sent to other processes.

    Attributes:
        features: Paths or URLs of the feature stores.
        annotations: The labels.
        out: Folder of the comparison.
        train: Training; head and seed are the trial's.
        evaluate: Evaluation; the split is `fold` with folds.
        num_folds: Number of folds; None for the official split.
        device: Where heads are trained and evaluated.
        work_dir: Where states of interrupted trainings lie.
        num_threads: Threads of a trial; None leaves torch's number alone.
    """

    features: tuple[Path | str, ...]
    annotations: Path
    out: Path
    train: TrainConfig
    evaluate: EvaluateConfig
    num_folds: int | None
    device: str
    work_dir: Path | None
    num_threads: int | None


@dataclass(frozen=True, kw_only=True)
class TrialOutcome:
    """How a trial ended.

    Attributes:
        trial: Which one.
        status: How it ended; `evaluated` is a head that was there, on other labels or of lost files;
            `disk full` and `out of memory` are failures that may not be the head's.
        seconds: How long it took.
        error: What went wrong, in one line; empty where nothing did.
        traceback_file: Where the whole of it stands; None where nothing was written.
        notes: Lines of its training that are worth seeing.
        validation_ccc: Mean CCC on the validation split in the best epoch; with folds the mean over them.
        best_epoch: That epoch, counted from 1; None with folds.
        num_epochs: Epochs that it was trained for; None with folds.
        is_process_spoilt: Whether its process cannot use the device any more.
    """

    trial: Trial
    status: TrialStatus
    seconds: float = 0.0
    error: str = ""
    traceback_file: Path | None = None
    notes: tuple[str, ...] = ()
    validation_ccc: float | None = None
    best_epoch: int | None = None
    num_epochs: int | None = None
    is_process_spoilt: bool = False

    @property
    def is_done(self) -> bool:
        """Whether there is a trained and evaluated head."""
        return self.status in ("trained", "evaluated", "kept")

    @property
    def failure(self) -> str:
        """What went wrong, and where to read the whole of it."""
        where = "" if self.traceback_file is None else f"; traceback in {self.traceback_file}"
        return f"{self.error}{where}"


def run_trial(trial: Trial, settings: TrialSettings) -> TrialOutcome:
    """Train and evaluate, as far as that is not done yet; whatever goes wrong is in the outcome."""
    started_s = time.monotonic()
    folder = trial.folder(settings.out)
    former_threads = torch.get_num_threads()
    try:
        if settings.num_threads is not None:
            torch.set_num_threads(settings.num_threads)
        outcome = _trained_and_evaluated(trial, settings, folder)
        (folder / FAILURE_FILE).unlink(missing_ok=True)
    except (Exception, SystemExit) as error:
        outcome = _failure(trial, error, folder)
    finally:
        torch.set_num_threads(former_threads)
    return replace(
        outcome,
        seconds=time.monotonic() - started_s,
        is_process_spoilt=not _is_released(torch.device(settings.device)),
    )


def runs_of(trial: Trial, settings: TrialSettings) -> list[tuple[Path, Fold | None]]:
    """Folders of its trainings, each with its fold; None without folds."""
    folder = trial.folder(settings.out)
    if settings.num_folds is None:
        return [(folder, None)]
    folds = [Fold(index=index, num_folds=settings.num_folds) for index in range(settings.num_folds)]
    return [(fold_folder(folder, fold.index), fold) for fold in folds]


def config_of(trial: Trial, settings: TrialSettings) -> TrainConfig:
    """Settings of its training."""
    return replace(settings.train, head=trial.entry.head, seed=trial.seed)


def _failure(trial: Trial, error: BaseException, folder: Path) -> TrialOutcome:
    file: Path | None = folder / FAILURE_FILE
    assert file is not None
    try:
        write_file(file, "".join(traceback.format_exception(error)).encode())
    except HeadError:
        file = None
    return TrialOutcome(
        trial=trial,
        status=failure_status(error),
        error=failure_text(error, trial.entry.head.name),
        traceback_file=file,
    )


def _is_released(device: torch.device) -> bool:
    """Give the device's free memory to other processes; false where this one cannot use it any more."""
    if device.type != "cuda":
        return True
    try:
        # What an invalid access leaves behind shows at the next call, and at every one after it.
        torch.cuda.synchronize(device)
        torch.cuda.empty_cache()
    except Exception:
        return False
    return True


def _trained_and_evaluated(trial: Trial, settings: TrialSettings, folder: Path) -> TrialOutcome:
    store = open_features(settings.features)
    config = config_of(trial, settings)
    notes: list[str] = []
    results: list[TrainResult] = []
    is_trained = False
    runs = runs_of(trial, settings)
    for run, fold in runs:
        before = _identity(run / CHECKPOINT_FILE)
        of_run: list[str] = []
        stale = features_changed(run, store)
        result = train_head(
            store,
            settings.annotations,
            run,
            config,
            device=settings.device,
            resume=stale is None,
            fold=fold,
            work_dir=settings.work_dir,
            progress=of_run.append,
        )
        results.append(result)
        if before is None or _identity(run / CHECKPOINT_FILE) != before:
            is_trained = True
            notes += [f"{stale}, starting with epoch 1"] if stale else []
            # Nobody has asked to resume: what stands in the folder is taken up by itself.
            notes += [line.removeprefix(_RESUMED) for line in of_run if line.startswith(_NOTES)]
    is_kept = _evaluated(store, settings, folder, [run / CHECKPOINT_FILE for run, _ in runs])
    only = results[0] if settings.num_folds is None else None
    return TrialOutcome(
        trial=trial,
        status="trained" if is_trained else "kept" if is_kept else "evaluated",
        notes=tuple(notes),
        validation_ccc=statistics.fmean(result.info.validation_ccc["mean"] for result in results),
        best_epoch=None if only is None else only.best_epoch,
        num_epochs=None if only is None else len(only.history),
    )


def _evaluated(
    store: FeatureStore, settings: TrialSettings, folder: Path, checkpoints: Sequence[Path]
) -> bool:
    """Evaluate, unless these very heads have been on the same features and labels; whether they had."""
    key = _evaluation_key(store, settings, checkpoints)
    files = [folder / name for name in (METRICS_FILE, PREDICTIONS_FILE)]
    note = folder / EVALUATION_FILE
    with suppress(OSError, ValueError, KeyError, TypeError):
        if json.loads(note.read_text(encoding="utf-8")) == {
            "key": key,
            "sha256": [file_digest(file) for file in files],
        }:
            return True
    evaluate_head(
        store,
        settings.annotations,
        checkpoints,
        *files,
        config=settings.evaluate,
        clip_metrics=folder / CLIP_METRICS_FILE,
        device=settings.device,
    )
    content = {"key": key, "sha256": [file_digest(file) for file in files]}
    write_file(note, (json.dumps(content) + "\n").encode())
    return False


def _evaluation_key(store: FeatureStore, settings: TrialSettings, checkpoints: Sequence[Path]) -> str:
    """Digest of everything that the evaluation's numbers depend on."""
    split = settings.evaluate.split
    annotations = load_annotations(settings.annotations, settings.train.labels.gold_standard)
    facts = {
        "features": store.digest,
        "annotations": annotations.digest(("train", "validation") if split == "fold" else (split,)),
        "subjects": dict(sorted(annotations.subjects.items())),
        "checkpoints": [file_digest(path) for path in checkpoints],
        "split": split,
        "batch_size": settings.evaluate.batch_size,
        "device": torch.device(settings.device).type,
        "sources": sources_digest(),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def features_changed(run: Path, store: FeatureStore) -> str | None:
    """What differs where the folder's run is on features of another spec, which is never resumed."""
    found = former_run(run)
    if found is None or found[1].spec.fingerprint == store.spec.fingerprint:
        return None
    path, former = found
    lines = store.spec.differences(former.spec, here=f"in {store.where}", there=f"in {path.name}")
    return f"{path} is of other features ({'; '.join(lines)})"


def _identity(path: Path) -> tuple[int, int] | None:
    """Changes whenever the file is replaced."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


#: Runs one trial; a `partial` of `run_trial`.
RunTrial = Callable[[Trial], TrialOutcome]
