"""`tagf train`."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli import options
from pipeline.cli.completed_values import complete_head

if TYPE_CHECKING:
    from tagf_head.config import EvaluateConfig, TrainConfig
    from tagf_head.training.train import TrainResult

ALL_FOLDS = "all"


class FoldName(click.ParamType[int | str]):
    """Number of a fold, or `all`."""

    name = "N|all"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """`all`, or an integer of at least 0."""
        if value == ALL_FOLDS or isinstance(value, int):
            return value
        if not str(value).isdecimal():
            self.fail(f"{value!r} is neither the number of a fold nor {ALL_FOLDS!r}", param, ctx)
        return int(value)


@click.command("train")
@options.features_option
@options.annotations_option
@click.option("--out", type=options.OUT, required=True, help="Folder of the run.")
@options.params_option
@click.option(
    "--head", shell_complete=complete_head, help="Name of the head; by default the one in the settings."
)
@click.option("--seed", type=click.IntRange(min=0), help="Seed; by default the one in the settings.")
@click.option(
    "--fold",
    type=FoldName(),
    metavar="N|all",
    help="Fold to hold out instead of the official validation split; evaluate.folds in the settings says of "
    "how many. With `all`, a run per fold, and the metrics of their out-of-fold predictions.",
)
@click.option(
    "--uncertainty/--no-uncertainty",
    default=None,
    help="Predict a standard deviation beside each estimate, which does not change; by default as in the "
    "settings, else not.",
)
@options.device_option
@click.option(
    "--resume", is_flag=True, help="Continue an interrupted training of the same settings and features."
)
@click.option("--tensorboard", is_flag=True, help="Write events for TensorBoard to OUT/tensorboard.")
def command(
    features: tuple[str, ...],
    annotations: Path,
    out: Path,
    params: Path | None,
    head: str | None,
    seed: int | None,
    fold: int | str | None,
    uncertainty: bool | None,
    device: str,
    resume: bool,
    tensorboard: bool,
) -> None:
    """Stage two: train one head from a feature store; the backbones are not touched.

    On several GPUs or machines, `torchrun` starts it once per GPU. The processes share every batch, and the
    first one reports and writes.

    \b
    Example:
        tagf train --features data/features.zarr --annotations data/corpus/annotations \\
            --out runs/tagf --params params.yaml --head tagf
        torchrun --nproc-per-node 4 --no-python tagf train --features data/features.zarr \\
            --annotations data/corpus/annotations --out runs/tagf --params params.yaml
    """
    from tagf_head.data.folds import Fold
    from tagf_head.training.train import train_head

    config = _train_config(params, head, seed, uncertainty)
    shared: dict[str, Any] = {
        "device": device, "resume": resume, "tensorboard": tensorboard, "progress": click.echo
    }  # fmt: skip
    if fold is None:
        _report(train_head(features, annotations, out, config, **shared), out)
        return
    evaluate = _evaluate_config(params)
    if evaluate.folds is None:
        raise click.UsageError(
            "--fold needs the number of folds; set evaluate.folds in the settings (--params), e.g. to 6"
        )
    if fold == ALL_FOLDS:
        from tagf_head.training.cross_validation import cross_validate

        cross_validate(features, annotations, out, config, evaluate.folds, evaluate=evaluate, **shared)
    else:
        chosen = Fold(index=int(fold), num_folds=evaluate.folds)
        _report(train_head(features, annotations, out, config, fold=chosen, **shared), out)


def _report(result: TrainResult, out: Path) -> None:
    """The last line, in the first of several processes alone."""
    if os.environ.get("RANK", "0") == "0":
        score = result.info.validation_ccc["mean"]
        click.echo(
            f"best epoch {result.best_epoch} of {len(result.history)}: mean CCC {score:+.3f}, in "
            f"{out / 'best.safetensors'}"
        )


def _train_config(
    params: Path | None, head: str | None, seed: int | None, uncertainty: bool | None
) -> TrainConfig:
    from cache.settings import load_section
    from tagf_head.config import TrainConfig

    config = load_section(params, "train", TrainConfig) if params else TrainConfig()
    if head is not None:
        config = dataclasses.replace(config, head=dataclasses.replace(config.head, name=head))
    if uncertainty is not None:
        config = dataclasses.replace(config, head=dataclasses.replace(config.head, uncertainty=uncertainty))
    return config if seed is None else dataclasses.replace(config, seed=seed)


def _evaluate_config(params: Path | None) -> EvaluateConfig:
    from cache.settings import load_section
    from tagf_head.config import EvaluateConfig

    return load_section(params, "evaluate", EvaluateConfig) if params else EvaluateConfig()
