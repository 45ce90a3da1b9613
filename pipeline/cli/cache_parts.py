"""`tagf cache prune-parts` and `tagf cache restore-parts`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli import options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cache.unneeded_parts import PartFile

_work_dir_option = click.option(
    "--work-dir", type=options.PATH, help="By default $TAGF_WORK_DIR, else tagf below your cache folder."
)


@click.command("prune-parts")
@click.option(
    "--unused-by",
    metavar="STORE",
    multiple=True,
    help="Parts go from which none of these stores was packed. Name every store that you keep.",
)
@click.option(
    "--packed-in",
    metavar="STORE",
    multiple=True,
    help="Parts go whose rows one of these stores holds; every byte of it is checked first.",
)
@click.option("--older-than", type=click.FloatRange(min=0), metavar="DAYS", help="Parts go that are so old.")
@_work_dir_option
@click.option("--dry-run", is_flag=True, help="List what would go, and remove nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def prune_command(
    unused_by: tuple[str, ...],
    packed_in: tuple[str, ...],
    older_than: float | None,
    work_dir: Path | None,
    dry_run: bool,
    yes: bool,
) -> None:
    """Remove finished clips from the work folder; of several rules, all have to apply to a part.

    A clip that is removed has to be extracted again when it is packed next, or restored from a store with
    `tagf cache restore-parts`.

    \b
    Example:
        tagf cache prune-parts --packed-in data/features.zarr --dry-run
        tagf cache prune-parts --unused-by data/features.zarr --older-than 30 --yes
    """
    from tqdm import tqdm

    from cache.unneeded_parts import PruneRules, remove_parts, unneeded_parts
    from pipeline.run.work_dir import WorkDir

    if not unused_by and not packed_in and older_than is None:
        raise click.UsageError(
            "no rule says which parts may go; give --unused-by STORE, --packed-in STORE or --older-than DAYS"
        )
    rules = PruneRules(unused_by=unused_by, packed_in=packed_in, older_than_days=older_than)
    parts = WorkDir(work_dir).parts
    with tqdm(desc="verify", unit="B", unit_scale=True, disable=None if packed_in else True) as bar:
        chosen = unneeded_parts(parts, rules, progress=bar.update)
    if not chosen:
        click.echo(f"no part in {parts.directory} may go by these rules")
        return
    _print_parts(f"{'Would go from' if dry_run else 'To remove from'} {parts.directory}", chosen)
    if dry_run:
        return
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("there is nobody to ask; add --yes to remove these parts")
        click.confirm(f"Remove {len(chosen)} parts?", abort=True)
    removed = remove_parts(chosen)
    click.echo(f"removed {len(removed)} parts")


@click.command("restore-parts")
@click.argument("store", metavar="STORE")
@_work_dir_option
def restore_command(store: str, work_dir: Path | None) -> None:
    """Put the finished clips of a store into the work folder, as they were when it was packed.

    A store that was made elsewhere can then be added to: `tagf extract` finds these clips finished.

    \b
    Example:
        dvc pull data/features.zarr
        tagf cache restore-parts data/features.zarr
    """
    from tqdm import tqdm

    from cache.restored_parts import restore_parts
    from cache.store import FeatureStore
    from pipeline.run.restored_tracks import restore_track_lists
    from pipeline.run.work_dir import WorkDir

    work = WorkDir(work_dir)
    opened = FeatureStore.open(store)
    with tqdm(desc="restore", unit="clip", total=len(opened), disable=None) as bar:
        done = restore_parts(opened, work.parts, progress=bar.update)
    restore_track_lists(work.tracks, [*done.restored, *done.kept])
    click.echo(
        f"{work.parts.directory}: {len(done.restored)} parts restored, {len(done.kept)} were there already"
    )


def _print_parts(title: str, chosen: Sequence[PartFile]) -> None:
    from pipeline.cli.tables import print_table, size_text

    by_fingerprint: dict[str, list[PartFile]] = {}
    for part in chosen:
        by_fingerprint.setdefault(part.fingerprint, []).append(part)
    rows = [
        (fingerprint, f"{len(parts):,}", size_text(sum(part.num_bytes for part in parts)))
        for fingerprint, parts in by_fingerprint.items()
    ]
    rows.append(("all", f"{len(chosen):,}", size_text(sum(part.num_bytes for part in chosen))))
    print_table(title, ("fingerprint", "parts", "size"), rows)
