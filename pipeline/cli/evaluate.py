"""`tagf evaluate`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import get_args

import click

from pipeline.cli import options
from tagf_head.config import EvaluatedSplit


@click.command("evaluate")
@options.features_option
@options.annotations_option
@click.option(
    "--checkpoint",
    "checkpoints",
    type=options.PATH,
    multiple=True,
    required=True,
    help="A run's best.safetensors, or the folder of one. Given more than once, the predictions of all are "
    "averaged.",
)
@click.option(
    "--split",
    type=click.Choice(get_args(EvaluatedSplit)),
    help="By default the one in the settings, else test; fold takes the clips of each checkpoint's own fold.",
)
@click.option("--out", type=options.OUT, required=True, help="metrics.json to write.")
@click.option("--predictions", type=options.OUT, help="Parquet file to write, one row per frame.")
@click.option("--clip-metrics", type=options.OUT, help="CSV file to write, one line of metrics per clip.")
@click.option("--gates", type=options.OUT, help="Parquet file to write: the gates' weights per frame.")
@click.option(
    "--calibration", type=options.OUT, help="CSV file to write for `dvc plots`: coverage of the deviations."
)
@click.option(
    "--reliability",
    type=options.OUT,
    help="Parquet file to write: the predictions per frame without each modality.",
)
@click.option("--traces", type=options.OUT, help="CSV file to write for `dvc plots`: some clips over time.")
@options.smooth_option
@options.params_option
@options.device_option
def command(
    features: tuple[str, ...],
    annotations: Path,
    checkpoints: tuple[Path, ...],
    split: EvaluatedSplit | None,
    out: Path,
    predictions: Path | None,
    clip_metrics: Path | None,
    gates: Path | None,
    calibration: Path | None,
    reliability: Path | None,
    traces: Path | None,
    smooth: str | None,
    params: Path | None,
    device: str,
) -> None:
    """CCC and other metrics of a checkpoint, or of several as an ensemble, on one split.

    Overlapping windows are averaged per frame. docs/evaluation.md defines the metrics and their intervals.

    \b
    Examples:
        tagf evaluate --features data/features.zarr --annotations data/corpus/annotations \\
            --checkpoint runs/tagf/best.safetensors --split test --out runs/tagf/metrics.json
        tagf evaluate --features data/features.zarr --annotations data/corpus/annotations \\
            --checkpoint runs/cv/fold-0/best.safetensors --checkpoint runs/cv/fold-1/best.safetensors \\
            --split test --out runs/cv/ensemble.json
        tagf evaluate --features data/features.zarr --annotations data/corpus/annotations \\
            --checkpoint runs/tagf/best.safetensors --smooth median:0.5 --out smoothed.json
    """
    from cache.settings import load_section
    from pipeline.cli.metrics_table import print_metrics
    from pipeline.model_sharing.model_source import find_checkpoint
    from tagf_head.config import EvaluateConfig
    from tagf_head.evaluation.evaluate import evaluate_head
    from tagf_head.evaluation.smoothing import parse_smoothing

    config = load_section(params, "evaluate", EvaluateConfig) if params else EvaluateConfig()
    if split is not None:
        config = dataclasses.replace(config, split=split)
    evaluation = evaluate_head(
        features,
        annotations,
        tuple(find_checkpoint(each) if each.exists() else each for each in checkpoints),
        out,
        predictions,
        traces,
        config=config,
        clip_metrics=clip_metrics,
        gates=gates,
        calibration=calibration,
        reliability=reliability,
        smoothing=None if smooth is None else parse_smoothing(smooth),
        device=device,
    )
    print_metrics(evaluation.metrics)
