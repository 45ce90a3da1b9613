"""`tagf results`."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import click

from pipeline.cli import options
from tagf_head.config import EvaluatedSplit


@click.command("results")
@click.argument("runs", type=options.PATH, nargs=-1, required=True)
@options.annotations_option
@click.option("--split", type=click.Choice(get_args(EvaluatedSplit)), default="test", show_default=True)
@click.option("--reference", help="Head to which the others are compared, pair by pair.")
@click.option("--markdown", type=options.OUT, help="Markdown file to write the table to as well.")
def command(
    runs: tuple[Path, ...],
    annotations: Path,
    split: EvaluatedSplit,
    reference: str | None,
    markdown: Path | None,
) -> None:
    """Print one table over the evaluated runs RUNS, with 95 % bootstrap intervals over groups of clips.

    A group is a subject, where the labels name them, else a media file.

    \b
    Example:
        tagf results runs/tagf runs/concat --annotations data/corpus/annotations --reference concat
    """
    from tagf_head.evaluation.results import collect_results

    table = collect_results(runs, annotations, split, reference=reference).as_markdown()
    if markdown is not None:
        markdown.parent.mkdir(parents=True, exist_ok=True)
        markdown.write_text(table, encoding="utf-8")
    click.echo(table, nl=False)
