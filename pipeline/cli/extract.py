"""`tagf extract`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from pipeline.cli import options
from pipeline.config import ExtractConfig


@click.command("extract")
@click.option(
    "--source",
    type=options.PATH,
    required=True,
    help="Folder of the media; for --layout manifest, a CSV file.",
)
@click.option(
    "--layout",
    type=click.Choice(["videos", "aff-wild2", "manifest"]),
    default="videos",
    show_default=True,
    help="videos: every media file below the folder is a clip, named by its path. aff-wild2: the official "
    "folders. manifest: a table of clips.",
)
@click.option("--out", type=options.OUT, required=True, help="The feature store to write (a folder, *.zarr).")
@options.params_option
@click.option(
    "--device",
    default="auto",
    show_default=True,
    help="auto, cpu, cuda, cuda:N, or several GPUs: cuda:0,cuda:1; auto takes a GPU where there is one.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    help="Processes; by default one per core, as far as the memory goes.",
)
@click.option(
    "--engine",
    type=click.Choice(["local", "dask"]),
    default="local",
    show_default=True,
    help="Where the workers are: processes of this machine, or of a Dask cluster.",
)
@click.option("--scheduler", help="Address of the Dask cluster's scheduler, for --engine dask.")
@click.option(
    "--report", type=options.OUT, help="Where extraction_report.json goes; by default beside the store."
)
@click.option("--json-log", type=options.OUT, help="File to add events to, one JSON object per line.")
@click.option(
    "--max-failures", type=click.IntRange(min=0), default=0, show_default=True, help="Clips that may fail."
)
@click.option(
    "--retry-failed", is_flag=True, help="Try only the clips that the report names as failed, then pack."
)
@click.option(
    "--preview",
    is_flag=True,
    help="Write a contact sheet per clip (frames, boxes, crops) into previews/ beside the store.",
)
@click.option("--dry-run", is_flag=True, help="List what would be done, and do nothing.")
@click.option("--json", "as_json", is_flag=True, help="With --dry-run: everything about every clip, as JSON.")
def command(
    source: Path,
    layout: str,
    out: Path,
    params: Path | None,
    device: str,
    workers: int | None,
    engine: str,
    scheduler: str | None,
    report: Path | None,
    json_log: Path | None,
    max_failures: int,
    retry_failed: bool,
    preview: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Stage one: write one row of visual and one of audio embedding per frame of every clip.

    Finished clips are kept in the work folder ($TAGF_WORK_DIR, else tagf below your cache folder): an
    interrupted run continues where it was.

    \b
    Examples:
        tagf extract --source my_videos --out features.zarr --params params.yaml --dry-run
        tagf extract --source my_videos --out features.zarr --params params.yaml --preview
        tagf extract --source aff-wild2 --layout aff-wild2 --out features.zarr --device cuda:0,cuda:1
    """
    from cache.settings import load_section

    import_from_here()
    config = load_section(params, "extract", ExtractConfig) if params else ExtractConfig()
    if as_json and not dry_run:
        raise click.UsageError("--json goes with --dry-run; --json-log FILE writes what a run does")
    if dry_run:
        from pipeline.run.dry_run import plan_extraction
        from pipeline.run.finished_clips import FinishedClips

        plan = plan_extraction(source, layout, config, is_kept=FinishedClips(config))
        click.echo(json.dumps(plan.to_mapping(), indent=1) if as_json else plan)
        return
    from pipeline.run.engine import end_local_workers
    from pipeline.run.runner import RunOptions, extract_features

    try:
        extract_features(
            source,
            layout,
            out,
            config,
            RunOptions(
                engine="dask" if engine == "dask" else "local",
                scheduler=scheduler,
                workers=workers,
                device=device,
                report=report,
                json_log=json_log,
                max_failures=max_failures,
                retry_failed=retry_failed,
                preview=out.parent / "previews" if preview else None,
                progress=True,
            ),
        )
    finally:
        end_local_workers()


def import_from_here() -> None:
    """Let settings name backbones of modules in the working directory, as `python -m` would."""
    if "" not in sys.path:
        sys.path.insert(0, "")
