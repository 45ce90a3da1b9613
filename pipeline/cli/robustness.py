"""`tagf robustness`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click

from pipeline.cli import options
from pipeline.cli.completed_values import complete_conditions
from tagf_head.config import EvaluatedSplit

if TYPE_CHECKING:
    from pipeline import degradation
    from tagf_head.robustness import conditions as robustness

#: Folder in `--out` for the stores of degraded media.
MEDIA_FOLDER = "media"


@click.command("robustness")
@options.features_option
@options.annotations_option
@click.option(
    "--checkpoint",
    "checkpoints",
    type=options.PATH,
    multiple=True,
    required=True,
    help="A run's best.safetensors, or a folder in which all are taken; of a comparison, those of its table. "
    "Given more than once, several heads are drawn in one plot; seeds of one head become its mean and "
    "standard deviation.",
)
@click.option("--out", type=options.OUT, required=True, help="Folder of the results.")
@click.option(
    "--split",
    type=click.Choice([name for name in get_args(EvaluatedSplit) if name != "fold"]),
    help="By default the one of `evaluate` in the settings, else test.",
)
@click.option(
    "--conditions",
    shell_complete=complete_conditions,
    metavar="NAME,...",
    help="shift, noise, drop; with --source also those of media, such as blur or white_noise=5. By default "
    "all. docs/robustness.md lists them.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    help="Seed of noise, bursts and degraded media; by default the one of `robustness` in the settings.",
)
@click.option(
    "--source",
    type=options.PATH,
    help="What the features were extracted from: its media are degraded and extracted again, for the clips "
    "of the split alone.",
)
@click.option(
    "--layout",
    type=click.Choice(["videos", "aff-wild2", "manifest"]),
    default="videos",
    show_default=True,
    help="How the source is laid out, as for `tagf extract`.",
)
@options.params_option
@options.device_option
def command(
    features: tuple[str, ...],
    annotations: Path,
    checkpoints: tuple[Path, ...],
    out: Path,
    split: EvaluatedSplit | None,
    conditions: str | None,
    seed: int | None,
    source: Path | None,
    layout: str,
    params: Path | None,
    device: str,
) -> None:
    """CCC of trained heads under shifted, noisy and missing features, and how their gates react.

    Writes robustness.csv (every checkpoint under every condition), gates.csv (what its gates' weights do),
    robustness.md (tables), robustness.svg and robustness.png (curves) into the folder --out.

    \b
    Examples:
        tagf robustness --features data/features.zarr --annotations data/corpus/annotations \\
            --checkpoint runs/tagf/best.safetensors --checkpoint runs/concat/best.safetensors \\
            --out runs/robustness
        tagf robustness --features data/features.zarr --annotations data/corpus/annotations \\
            --checkpoint runs/comparison --out runs/robustness --params params.yaml \\
            --source data/corpus/videos --conditions noise,white_noise,blur
    """
    from cache.settings import load_section
    from pipeline.model_sharing.model_source import MODEL_FILE, find_checkpoint
    from tagf_head.config import EvaluateConfig
    from tagf_head.robustness.config import RobustnessConfig
    from tagf_head.robustness.run import measure_robustness

    config, evaluate = RobustnessConfig(), EvaluateConfig()
    if params is not None:
        config = load_section(params, "robustness", RobustnessConfig, default=config)
        evaluate = load_section(params, "evaluate", EvaluateConfig, default=evaluate)
    if seed is not None:
        config = dataclasses.replace(config, seed=seed)
    if split is not None:
        evaluate = dataclasses.replace(evaluate, split=split)
    families, of_media = _chosen(conditions, has_source=source is not None)
    measure_robustness(
        features,
        annotations,
        tuple(find_checkpoint(each) if (each / MODEL_FILE).is_file() else each for each in checkpoints),
        out,
        config=config,
        evaluate=evaluate,
        families=families,
        degrade=None
        if source is None or not of_media
        else _degrade(features, source, layout, of_media, out / MEDIA_FOLDER, config.seed, params, device),
        device=device,
        progress=click.echo,
    )
    click.echo(
        f"in {out}: robustness.md, robustness.csv, robustness.svg and .png, gates.csv for heads with gates"
    )


def _chosen(
    conditions: str | None, *, has_source: bool
) -> tuple[tuple[str, ...], tuple[degradation.Condition, ...]]:
    """Families of conditions on the features, and conditions of media."""
    from cache.suggestion import did_you_mean
    from pipeline.degradation import CONDITIONS, FAMILIES, read_condition
    from tagf_head.robustness.conditions import FEATURE_FAMILIES

    if conditions is None:
        return FEATURE_FAMILIES, tuple(CONDITIONS.values()) if has_source else ()
    names = list(dict.fromkeys(name.strip() for name in conditions.split(",") if name.strip()))
    on_features = tuple(name for name in names if name in FEATURE_FAMILIES)
    of_media: list[degradation.Condition] = []
    for name in names:
        if name in FAMILIES:
            of_media += [each for each in CONDITIONS.values() if each.family == name]
        elif name not in FEATURE_FAMILIES:
            if "=" not in name:
                every = (*FEATURE_FAMILIES, *FAMILIES)
                raise click.UsageError(
                    f"--conditions: {name!r} is none of {', '.join(every)}{did_you_mean(name, every)}"
                )
            of_media.append(read_condition(name))
    if of_media and not has_source:
        raise click.UsageError(
            f"--conditions: {of_media[0].name!r} needs the media; give their folder with --source"
        )
    if not names:
        raise click.UsageError("--conditions: expected at least one name")
    # Levels of a family stand together, in the order in which they were given.
    order = list(dict.fromkeys(each.family for each in of_media))
    return on_features, tuple(sorted(dict.fromkeys(of_media), key=lambda each: order.index(each.family)))


def _degrade(
    features: Sequence[str],
    source: Path,
    layout: str,
    conditions: Sequence[degradation.Condition],
    work_dir: Path,
    seed: int,
    params: Path | None,
    device: str,
) -> Callable[[Sequence[str]], Mapping[robustness.Condition, Path]]:
    """What extracts some clips under conditions of their media."""

    def extract(clip_ids: Sequence[str]) -> Mapping[robustness.Condition, Path]:
        from cache.settings import load_section
        from pipeline.cli.extract import import_from_here
        from pipeline.config import ExtractConfig
        from pipeline.degradation import extract_conditions
        from pipeline.run.engine import end_local_workers

        import_from_here()
        config = load_section(params, "extract", ExtractConfig) if params else ExtractConfig()
        try:
            stores = extract_conditions(
                features,
                source,
                layout,
                clip_ids,
                conditions,
                work_dir,
                config,
                seed=seed,
                device=device,
                progress=True,
            )
        finally:
            end_local_workers()
        return {_measured(condition): path for condition, path in stores.items()}

    return extract


def _measured(condition: degradation.Condition) -> robustness.Condition:
    """What the measurement calls a condition of media."""
    from tagf_head.robustness.conditions import Condition

    ratio_db = condition.direct_to_reverberant_db
    return Condition(
        family=condition.family + (f"@{ratio_db:g}" if ratio_db else ""),
        modality=condition.modality,
        level=condition.level,
        unit=condition.unit,
        quantity=condition.facts.quantity + (f", direct to reverberant {ratio_db:g} dB" if ratio_db else ""),
    )
