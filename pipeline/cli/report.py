"""`tagf report`."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.cli import options


@click.command("report")
@click.argument("folder", metavar="RUN|PREDICTION_DIR", type=options.PATH)
@click.option("--out", type=options.OUT, required=True, help="The page to write, one HTML file.")
@click.option(
    "--annotations",
    type=options.PATH,
    help="The labels, as for `tagf train`: predictions are shown against them, clip by clip.",
)
@click.option(
    "--media",
    type=options.PATH,
    help="Where the videos are, as --source of `tagf extract`; a folder of predictions knows its own.",
)
@click.option(
    "--layout",
    type=click.Choice(["videos", "aff-wild2", "manifest"]),
    default="videos",
    show_default=True,
    help="How --media is read, as by `tagf extract`.",
)
@click.option(
    "--videos",
    type=click.Choice(["link", "embed", "none"]),
    default="link",
    show_default=True,
    help="link: play the files from where they lie. embed: carry them inside the page, made small.",
)
@click.option(
    "--clips",
    type=click.IntRange(min=1),
    default=50,
    show_default=True,
    help="Clips whose traces are shown; of more, even steps from the worst to the best.",
)
@click.option(
    "--extraction",
    type=options.PATH,
    help="extraction_report.json, to list the clips that failed in stage one.",
)
@click.option(
    "--comparison", type=options.PATH, help="Folder of `tagf compare`; by default in RUN or beside it."
)
@click.option(
    "--robustness", type=options.PATH, help="Folder of `tagf robustness`; by default in RUN or beside it."
)
def command(
    folder: Path,
    out: Path,
    annotations: Path | None,
    media: Path | None,
    layout: str,
    videos: str,
    clips: int,
    extraction: Path | None,
    comparison: Path | None,
    robustness: Path | None,
) -> None:
    """Write one page about a run, or about a folder of predictions, that opens without a network.

    It shows scores, curves, every clip's traces with its video in step, gates, robustness, the comparison of
    heads, and where the numbers come from: whatever of it lies in the folder.

    \b
    Examples:
        tagf report runs/tagf --out runs/tagf/report.html --annotations data/corpus/annotations \\
            --media data/corpus/videos
        tagf report my_predictions --out report.html --videos embed
    """
    from pipeline.cli.tables import size_text
    from pipeline.report.report import write_report
    from pipeline.report.report_content import ReportSources

    content = write_report(
        ReportSources(
            folder=folder,
            annotations=annotations,
            media=media,
            layout=layout,
            extraction=extraction,
            comparison=comparison,
            robustness=robustness,
            num_clips=clips,
        ),
        out,
        videos="embed" if videos == "embed" else "none" if videos == "none" else "link",
    )
    for note in content.notes:
        click.echo(note)
    if content.provenance.random_weights:
        click.echo("The frozen backbones have random weights: these numbers say nothing about real media.")
    size = size_text(out.stat().st_size)
    click.echo(f"{out}: {len(content.rows)} clips, {len(content.traces)} with traces, {size}")
