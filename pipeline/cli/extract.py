"""`tagf extract`."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.cli import options
from pipeline.config import ExtractConfig


@click.command("extract")
@click.option("--source", type=options.PATH, required=True, help="Folder of the media.")
@click.option(
    "--layout",
    type=click.Choice(["videos"]),
    default="videos",
    show_default=True,
    help="videos: every media file below the folder is a clip, named by its path.",
)
@click.option(
    "--out", type=options.PATH, required=True, help="The feature store to write (a folder, *.zarr)."
)
@options.params_option
@options.device_option
@click.option("--workers", type=click.IntRange(min=1), help="Processes; by default one per core.")
@click.option(
    "--report", type=options.PATH, help="Where extraction_report.json goes; by default beside the store."
)
@click.option(
    "--max-failures", type=click.IntRange(min=0), default=0, show_default=True, help="Clips that may fail."
)
def command(
    source: Path,
    layout: str,
    out: Path,
    params: Path | None,
    device: str,
    workers: int | None,
    report: Path | None,
    max_failures: int,
) -> None:
    r"""Stage one: write one row of visual and one of audio embedding per frame of every clip.

    Finished clips are kept in the work folder ($TAGF_WORK_DIR, else ~/.cache/tagf): an interrupted run
    continues where it was.

    \b
    Example:
        tagf extract --source data/corpus/videos --layout videos --out data/features.zarr --params params.yaml
    """
    from cache.settings import load_section
    from pipeline.runner import extract_features

    config = load_section(params, "extract", ExtractConfig) if params else ExtractConfig()
    extract_features(
        source,
        layout,
        out,
        config,
        workers=workers,
        report=report,
        device=device,
        max_failures=max_failures,
        progress=True,
    )
