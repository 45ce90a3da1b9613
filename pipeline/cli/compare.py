"""`tagf compare`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import click

from pipeline.cli import options
from pipeline.cli.completed_values import complete_head, complete_heads
from tagf_head.config import EvaluatedSplit

if TYPE_CHECKING:
    from tagf_head.comparison.config import CompareConfig
    from tagf_head.config import TrainConfig

_T = TypeVar("_T")


class SeedList(click.ParamType[tuple[int, ...]]):
    """Integers of at least 0, separated by commas."""

    name = "N,N,..."

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """The integers."""
        if isinstance(value, tuple):
            return value
        words = [word.strip() for word in str(value).split(",")]
        if not all(word.isdecimal() for word in words):
            self.fail(f"{value!r} is no list of seeds; expected, for example, 0,1,2", param, ctx)
        return tuple(int(word) for word in words)


class JobCount(click.ParamType[int | None]):
    """Number of jobs, or `auto`."""

    name = "N|auto"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | None:
        """None for `auto`."""
        if value == "auto" or value is None or isinstance(value, int):
            return None if value == "auto" else value
        if not (str(value).isdecimal() and int(value)):
            self.fail(f"{value!r} is neither a number of at least 1 nor 'auto'", param, ctx)
        return int(value)


@click.command("compare")
@click.option("--features", multiple=True, help="The feature store, as for `tagf train`.")
@click.option("--annotations", type=options.PATH, help="The labels, as for `tagf train`.")
@click.option("--out", type=options.OUT, help="Folder of the comparison.")
@options.params_option
@click.option(
    "--heads",
    shell_complete=complete_heads,
    help="Heads separated by commas, or all; by default those in the settings (compare.heads), else all. "
    "Settings of its own may follow a head's name: see the examples.",
)
@click.option(
    "--seeds", type=SeedList(), help="By default those in the settings (compare.seeds), else 0,1,2."
)
@click.option(
    "--reference",
    shell_complete=complete_head,
    help="Head to which the others are compared; concat, where it takes part.",
)
@click.option(
    "--folds",
    is_flag=True,
    help="Cross-validate each head, by the number of folds in the settings (evaluate.folds), and compare the "
    "out-of-fold predictions.",
)
@click.option(
    "--split",
    type=click.Choice([split for split in get_args(EvaluatedSplit) if split != "fold"]),
    help="Split of the table; by default the one in the settings, else test.",
)
@click.option("--uncertainty", is_flag=True, help="Heads predict the standard deviation of their error, too.")
@click.option(
    "--jobs",
    type=JobCount(),
    default="auto",
    show_default=True,
    help="Trials at once; auto: as many as cores and memory allow.",
)
@click.option(
    "--retrain",
    is_flag=True,
    help="Train again what OUT has of other settings, features, labels or code; else the command refuses.",
)
@options.device_option
@click.option("--list", "only_list", is_flag=True, help="List the heads with what they cost, and end.")
def command(
    features: tuple[str, ...],
    annotations: Path | None,
    out: Path | None,
    params: Path | None,
    heads: str | None,
    seeds: tuple[int, ...] | None,
    reference: str | None,
    folds: bool,
    split: EvaluatedSplit | None,
    uncertainty: bool,
    jobs: int | None,
    retrain: bool,
    device: str,
    only_list: bool,
) -> None:
    """Train several heads with several seeds on one store, and put them into one table and one plot.

    Finished trials are kept: the same command goes on where it was interrupted, and a longer one adds to it.
    OUT gets comparison.md, .csv, .tex, .svg and .png, trials.csv, and the trials as HEAD/seed-N.

    \b
    Examples:
        tagf compare --features data/features.zarr --annotations data/corpus/annotations \\
            --params params.yaml --heads tagf,rjca,concat --seeds 0,1,2 --out runs/comparison
        tagf compare --list --params params.yaml

    \b
    Heads with settings of their own, and a head of one's own:
        --heads tagf,tagf:causal=true,num_steps=3
        --heads concat,my_package.my_head:MyHead
        --heads 'my_package.my_head:MyHead:options={width: 8},concat'
    """
    from tagf_head.config import EvaluateConfig, TrainConfig

    train = _section(params, "train", TrainConfig())
    if uncertainty:
        train = dataclasses.replace(train, head=dataclasses.replace(train.head, uncertainty=True))
    compare = _compare_config(params, heads, seeds, reference, folds)
    if only_list:
        from tagf_head.comparison.config import CompareConfig

        # All of them, whatever the settings compare.
        _print_heads(compare if heads is not None else CompareConfig(), train, device)
        return
    given = {"--features": features, "--annotations": annotations, "--out": out}
    if missing := [name for name, value in given.items() if not value]:
        raise click.UsageError(f"{', '.join(missing)} must be given, or --list")
    if compare.folds and split is not None:
        raise click.UsageError("--split has no meaning with folds; leave one out")
    assert annotations is not None
    assert out is not None
    from tagf_head.comparison.compare import compare_heads
    from tagf_head.comparison.record import COMPARISON_NAME

    evaluate = _section(params, "evaluate", EvaluateConfig())
    if split is not None:
        evaluate = dataclasses.replace(evaluate, split=split)
    comparison = compare_heads(
        features,
        annotations,
        out,
        compare,
        train=train,
        evaluate=evaluate,
        jobs=jobs,
        device=device,
        retrain=retrain,
        progress=click.echo,
    )
    if comparison.table is not None:
        click.echo()
        click.echo((out / f"{COMPARISON_NAME}.md").read_text(encoding="utf-8"), nl=False)
    comparison.require_all()


def _print_heads(compare: CompareConfig, train: TrainConfig, device: str) -> None:
    from pipeline.cli.tables import print_table
    from tagf_head.comparison.compare import costs_of
    from tagf_head.comparison.entry import parse_entries
    from tagf_head.devices import resolve_device
    from tagf_head.head_presets import preset_of

    target = resolve_device(device)
    entries = parse_entries(compare.heads, train)
    costs = costs_of(entries, train, target, lambda line: click.echo(line, err=True))
    rows = []
    for entry in entries:
        cost = costs.get(entry.name)
        figures = (
            ("n/a",) * 4
            if cost is None
            else (
                f"{cost.num_parameters:,}",
                f"{cost.multiply_adds_per_frame:,}",
                f"{cost.train_windows_per_s:,.1f}",
                f"{cost.predict_windows_per_s:,.1f}",
            )
        )
        rows.append((entry.name, preset_of(entry.head.name).description, *figures))
    print_table(
        f"Heads, with windows of {train.window} frames in batches of {train.batch_size} on {target}, rows of "
        f"{train.head.visual_features} + {train.head.audio_features}",
        ("head", "what it is", "parameters", "multiply-adds per frame", "training, windows/s", "prediction"),
        rows,
    )


def _compare_config(
    params: Path | None,
    heads: str | None,
    seeds: tuple[int, ...] | None,
    reference: str | None,
    folds: bool,
) -> CompareConfig:
    from tagf_head.comparison.config import CompareConfig
    from tagf_head.comparison.entry import expanded, split_names

    config = _section(params, "compare", CompareConfig())
    changes: dict[str, Any] = {}
    if heads is not None:
        changes["heads"] = split_names(heads)
        if config.reference not in expanded(changes["heads"]):
            # That of the settings' heads; `concat` where it takes part.
            changes["reference"] = None
    if seeds is not None:
        changes["seeds"] = seeds
    if reference is not None:
        changes["reference"] = reference
    if folds:
        changes["folds"] = True
    return dataclasses.replace(config, **changes)


def _section(params: Path | None, name: str, default: _T) -> _T:
    """A section of the settings; the defaults where there is none of that name."""
    from cache.settings import load_section

    return default if params is None else load_section(params, name, type(default), default=default)
