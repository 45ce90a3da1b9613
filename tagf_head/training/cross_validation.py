"""Cross-validation: a head per fold, and the metrics of what each says of the clips that it has not seen.

    fold        0         1         2          a fold is the validation split of its own head,
    head 0      held out  train     train      which chooses its best epoch by it
    head 1      train     held out  train
    head 2      train     train     held out

Out-of-fold predictions have every labelled clip once, by the head that was not trained on it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from tagf_head.checkpoint import CheckpointInfo
from tagf_head.config import EvaluateConfig, TrainConfig
from tagf_head.data.folds import Fold
from tagf_head.data.split_data import Features, open_features
from tagf_head.distributed import from_first, joined
from tagf_head.evaluation.evaluate import evaluate_head
from tagf_head.run_folder import CHECKPOINT_FILE, CLIP_METRICS_FILE, METRICS_FILE, PREDICTIONS_FILE
from tagf_head.shared_failures import in_all, naming_lost_processes
from tagf_head.training.train import train_head


@dataclass(frozen=True, kw_only=True)
class CrossValidation:
    """What a cross-validation found.

    Attributes:
        folds: What each fold's checkpoint says of itself, in the order of the folds.
        metrics: Content of metrics.json, of the out-of-fold predictions.
    """

    folds: tuple[CheckpointInfo, ...]
    metrics: dict[str, Any]


def fold_folder(out: Path, index: int) -> Path:
    """Folder of one fold's run."""
    return out / f"fold-{index}"


def cross_validate(
    features: Features,
    annotations: Path,
    out: Path,
    config: TrainConfig,
    num_folds: int,
    *,
    evaluate: EvaluateConfig | None = None,
    device: str | torch.device = "cpu",
    resume: bool = False,
    tensorboard: bool = False,
    work_dir: Path | None = None,
    progress: Callable[[str], None] | None = None,
) -> CrossValidation:
    """Train a head per fold and evaluate the out-of-fold predictions.

    Each fold's run goes to `fold-K` below `out`; then metrics.json, predictions.parquet and clip_metrics.csv
    of the out-of-fold predictions are written to `out` itself.

    Args:
        features: As for `train_head`.
        annotations: As for `train_head`.
        out: Folder of the cross-validation.
        config: Settings of every fold's training.
        num_folds: Number of folds, at least 2.
        evaluate: Settings of the evaluation, of which the split does not count; where they leave the memory
            for rows open, the training's holds.
        device: As for `train_head`.
        resume: Keep folds that are finished with the same settings, features and labels, and go on with the
            one that was interrupted.
        tensorboard: As for `train_head`.
        work_dir: As for `train_head`.
        progress: Called with the lines of every fold's training, each after the fold's number, and with the
            out-of-fold score.

    Raises:
        HeadError: As for `train_head` and `evaluate_head`, or the folds need more groups of clips than there
            are.
        CacheError: The store cannot be used.
    """
    report = progress or (lambda line: None)
    folds = []
    evaluate = replace(evaluate or EvaluateConfig(), split="fold")
    if evaluate.rows_memory_gb is None:
        evaluate = replace(evaluate, rows_memory_gb=config.rows_memory_gb)
    with joined() as processes, naming_lost_processes(processes):
        store = in_all(lambda: open_features(features))
        for index in range(num_folds):

            def report_fold(line: str, index: int = index) -> None:
                report(f"fold {index}: {line}")

            result = train_head(
                store,
                annotations,
                fold_folder(out, index),
                config,
                device=device,
                resume=resume,
                fold=Fold(index=index, num_folds=num_folds),
                tensorboard=tensorboard,
                work_dir=work_dir,
                progress=report_fold,
            )
            folds.append(result.info)
        # By the first process; the others wait here, since one that ends early takes the group down.
        metrics = from_first(
            lambda: (
                evaluate_head(
                    store,
                    annotations,
                    [fold_folder(out, index) / CHECKPOINT_FILE for index in range(num_folds)],
                    out / METRICS_FILE,
                    out / PREDICTIONS_FILE,
                    config=evaluate,
                    clip_metrics=out / CLIP_METRICS_FILE,
                    device=device,
                ).metrics
            )
        )
        if processes.is_first:
            report(_summary(metrics, out))
        return CrossValidation(folds=tuple(folds), metrics=metrics)


def _summary(metrics: Mapping[str, Any], out: Path) -> str:
    scores = {"valence": metrics["valence"]["ccc"], "arousal": metrics["arousal"]["ccc"]}
    shown = (
        f"{name} {'not defined' if score is None else f'{score:.3f}'}"
        for name, score in (scores | {"mean": metrics["mean_ccc"]}).items()
    )
    return f"out of fold: {metrics['num_clips']} clips, CCC {', '.join(shown)}; see {out / METRICS_FILE}"
