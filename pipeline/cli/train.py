"""`tagf train`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from pipeline.cli import options


@click.command("train")
@options.features_option
@options.annotations_option
@click.option("--out", type=options.OUT, required=True, help="Folder of the run.")
@options.params_option
@click.option("--head", help="Name of the head; by default the one in the settings.")
@click.option("--seed", type=click.IntRange(min=0), help="Seed; by default the one in the settings.")
@options.device_option
@click.option(
    "--resume", is_flag=True, help="Continue an interrupted training of the same settings and features."
)
def command(
    features: tuple[str, ...],
    annotations: Path,
    out: Path,
    params: Path | None,
    head: str | None,
    seed: int | None,
    device: str,
    resume: bool,
) -> None:
    """Stage two: train one head from a feature store; the backbones are not touched.

    \b
    Example:
        tagf train --features data/features.zarr --annotations data/corpus/annotations \\
            --out runs/tagf --params params.yaml --head tagf
    """
    from cache.settings import load_section
    from tagf_head.config import TrainConfig
    from tagf_head.train import train_head

    config = load_section(params, "train", TrainConfig) if params else TrainConfig()
    if head is not None:
        config = dataclasses.replace(config, head=dataclasses.replace(config.head, name=head))
    if seed is not None:
        config = dataclasses.replace(config, seed=seed)
    train_head(features, annotations, out, config, device=device, resume=resume, progress=click.echo)
