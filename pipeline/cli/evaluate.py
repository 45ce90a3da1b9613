"""`tagf evaluate`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal, get_args

import click

from pipeline.cli import options

Split = Literal["train", "validation", "test"]


@click.command("evaluate")
@options.features_option
@options.annotations_option
@click.option("--checkpoint", type=options.PATH, required=True, help="A run's best.safetensors.")
@click.option(
    "--split", type=click.Choice(get_args(Split)), help="By default the one in the settings, else test."
)
@click.option("--out", type=options.OUT, required=True, help="metrics.json to write.")
@click.option("--predictions", type=options.OUT, help="Parquet file to write, one row per frame.")
@click.option("--traces", type=options.OUT, help="CSV file to write for `dvc plots`: some clips over time.")
@options.params_option
@options.device_option
def command(
    features: tuple[str, ...],
    annotations: Path,
    checkpoint: Path,
    split: Split | None,
    out: Path,
    predictions: Path | None,
    traces: Path | None,
    params: Path | None,
    device: str,
) -> None:
    """CCC and other metrics of a checkpoint on one split; overlapping windows are averaged per frame.

    \b
    Example:
        tagf evaluate --features data/features.zarr --annotations data/corpus/annotations \\
            --checkpoint runs/tagf/best.safetensors --split test --out runs/tagf/metrics.json
    """
    from cache.settings import load_section
    from tagf_head.config import EvaluateConfig
    from tagf_head.evaluate import evaluate_head

    config = load_section(params, "evaluate", EvaluateConfig) if params else EvaluateConfig()
    if split is not None:
        config = dataclasses.replace(config, split=split)
    metrics = evaluate_head(
        features, annotations, checkpoint, out, predictions, traces, config=config, device=device
    ).metrics
    scores = f"valence {metrics['valence']['ccc']:.3f}, arousal {metrics['arousal']['ccc']:.3f}"
    size = f"{metrics['num_clips']} clips, {metrics['num_labelled_frames']} labelled frames"
    click.echo(
        f"{metrics['head']} on {metrics['split']} ({size}): CCC {scores}, mean {metrics['mean_ccc']:.3f}"
    )
