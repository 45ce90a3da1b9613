"""`tagf cache prune-parts` and `tagf cache restore-parts`."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli import options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cache.parts import PartStore
    from cache.spec import FeatureSpec
    from cache.unneeded_parts import PartFile

_work_dir_option = click.option(
    "--work-dir", type=options.PATH, help="By default $TAGF_WORK_DIR, else tagf below your cache folder."
)


@click.command("prune-parts", short_help="Remove finished clips no longer needed.")
@click.option(
    "--keep-used-by",
    metavar="STORE",
    multiple=True,
    help="Parts stay from which one of these stores was packed, others go. Name every store that you keep.",
)
@click.option(
    "--packed-in",
    metavar="STORE",
    multiple=True,
    help="Parts go whose rows one of these stores holds; every byte of it is checked first.",
)
@click.option(
    "--older-than",
    type=options.FiniteRange(min=0),
    metavar="DAYS",
    help="Only parts written more than DAYS ago go.",
)
@_work_dir_option
@click.option("--dry-run", is_flag=True, help="List what would go, and remove nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def prune_command(
    keep_used_by: tuple[str, ...],
    packed_in: tuple[str, ...],
    older_than: float | None,
    work_dir: Path | None,
    dry_run: bool,
    yes: bool,
) -> None:
    """Remove finished clips from the work folder; of several rules, all have to apply to a part.

    A clip that is removed has to be extracted again when it is packed next, or restored from a store with
    `tagf cache restore-parts`. While an extraction uses the work folder, nothing is removed.

    \b
    Example:
        tagf cache prune-parts --packed-in data/features.zarr --dry-run
        tagf cache prune-parts --keep-used-by data/features.zarr --older-than 30 --yes
    """
    from cache.unneeded_parts import PruneRules, remove_parts, unneeded_parts
    from pipeline.cli.store_bytes import checking_bar
    from pipeline.run.work_dir import WorkDir

    if not keep_used_by and not packed_in and older_than is None:
        raise click.UsageError(
            "no rule says which parts may go; give --keep-used-by STORE, --packed-in STORE or "
            "--older-than DAYS"
        )
    rules = PruneRules(keep_used_by=keep_used_by, packed_in=packed_in, older_than_days=older_than)
    work = WorkDir(work_dir)
    parts = work.parts
    if not dry_run:
        with work.parts_in_use.by_none():
            pass  # rather now than after a long check
    with checking_bar(packed_in, shown=bool(packed_in)) as bar:
        chosen = unneeded_parts(parts, rules, progress=bar.update)
    if not chosen:
        click.echo(f"no part in {parts.directory} may go by these rules")
        return
    _print_parts(f"{'Would go from' if dry_run else 'To remove from'} {parts.directory}", parts, chosen)
    if dry_run:
        return
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("there is nobody to ask; add --yes to remove these parts")
        click.confirm(f"Remove {len(chosen)} parts?", abort=True)
    with work.parts_in_use.by_none():
        removed = remove_parts(chosen)
    click.echo(f"removed {len(removed)} parts")


@click.command("restore-parts", short_help="Bring back the finished clips of a store.")
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
    from cache.restored_parts import restore_parts
    from cache.store import FeatureStore
    from pipeline.progress_bar import ProgressBar
    from pipeline.run.restored_tracks import restore_track_lists
    from pipeline.run.work_dir import WorkDir

    work = WorkDir(work_dir)
    opened = FeatureStore.open(store)
    with ProgressBar("restore", "clip", len(opened)) as bar:
        done = restore_parts(opened, work.parts, progress=bar.update)
    restore_track_lists(work.tracks, [*done.restored, *done.kept])
    click.echo(
        f"{work.parts.directory}: {len(done.restored)} parts restored, {len(done.kept)} were there already"
    )


def _print_parts(title: str, parts: PartStore, chosen: Sequence[PartFile]) -> None:
    from pipeline.cli.tables import print_table, size_text

    by_fingerprint: dict[str, list[PartFile]] = {}
    for part in chosen:
        by_fingerprint.setdefault(part.fingerprint, []).append(part)
    rows = [
        (
            fingerprint,
            _backbones(parts.read_spec(fingerprint)),
            time.strftime("%Y-%m-%d", time.localtime(max(part.modified_s for part in files))),
            f"{len(files):,}",
            size_text(sum(part.num_bytes for part in files)),
        )
        for fingerprint, files in by_fingerprint.items()
    ]
    rows.append(("all", "", "", f"{len(chosen):,}", size_text(sum(part.num_bytes for part in chosen))))
    print_table(title, ("fingerprint", "backbones", "newest", "parts", "size"), rows)


def _backbones(spec: FeatureSpec | None) -> str:
    """What made the streams of a spec, as far as it is known."""
    if spec is None:
        return "unknown"
    named = [spec.settings.get(f"{stream.name}.backbone", stream.name) for stream in spec.streams]
    return ", ".join(str(name) for name in named)
