"""`tagf sample-corpus`."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.cli import options
from pipeline.config import CorpusConfig

_DEFAULTS = CorpusConfig()


@click.command("sample-corpus")
@click.argument("out", type=options.OUT)
@click.option(
    "--clips", default=_DEFAULTS.clips, show_default=True, help="Number of subjects, one clip each."
)
@click.option("--seconds", default=_DEFAULTS.seconds, show_default=True, help="Length of each clip.")
@click.option("--fps", default=_DEFAULTS.fps, show_default=True, help="Frames per second.")
@click.option("--seed", default=_DEFAULTS.seed, show_default=True, help="Seed of everything random.")
@click.option("--workers", type=click.IntRange(min=1), help="Processes; by default one per core.")
def command(out: Path, clips: int, seconds: float, fps: int, seed: int, workers: int | None) -> None:
    """Write a corpus of real media with labels into the folder OUT.

    The people are drawn and their voices synthetic: a stand-in for licensed data, equal for equal seeds.

    \b
    Example:
        tagf sample-corpus data/corpus --clips 8 --seconds 3
    """
    from pipeline.sample_corpus import write_sample_corpus

    config = CorpusConfig(clips=clips, seconds=seconds, fps=fps, seed=seed)
    write_sample_corpus(out, config, workers=workers, progress=True)
    click.echo(f"{clips} clips of {seconds:g} s in {out}: videos/, annotations/, episodes.csv")
