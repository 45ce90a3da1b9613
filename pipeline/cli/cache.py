"""`tagf cache`: looking at stores, checking and merging them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli import options
from pipeline.cli.cache_exchange import export_command, import_command
from pipeline.cli.cache_parts import prune_command, restore_command

if TYPE_CHECKING:
    from cache.store_info import StoreInfo
    from cache.verify import StoreReport

_MAX_PROBLEMS = 20

stores_argument = click.argument("stores", metavar="STORE...", nargs=-1, required=True)


@click.group("cache")
def command() -> None:
    """Feature stores: look at them, check, merge, export and import them; tidy finished clips.

    \b
    Example:
        tagf cache info data/features.zarr
        tagf cache verify --deep data/features.zarr
        tagf cache export data/features.zarr --format hdf5 --out features.h5
    """


@command.command("info")
@stores_argument
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list, one object per store.")
def info(stores: tuple[str, ...], as_json: bool) -> None:
    """Show what is in stores: spec, clips, rows, bytes, provenance. A STORE is a path or a URL (s3://...).

    \b
    Example:
        tagf cache info data/features.zarr
        tagf cache info s3://bucket/features.zarr --json
    """
    from cache.store_info import store_info

    infos = [store_info(store) for store in stores]
    if as_json:
        click.echo(json.dumps([each.to_mapping() for each in infos], indent=1))
        return
    for each in infos:
        _print_info(each)


@command.command("verify")
@stores_argument
@click.option(
    "--deep", is_flag=True, help="Read every byte: digests, checksums, finite values, rising times."
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list, one object per store.")
def verify(stores: tuple[str, ...], deep: bool, as_json: bool) -> None:
    """Check stores against their completion records. A STORE is a path or a URL (s3://...).

    Exit code 0 if all are sound, 1 if not; every problem is named with its object, chunk, rows and clip.

    \b
    Example:
        tagf cache verify --deep data/features.zarr
    """
    from tqdm import tqdm

    from cache.errors import CacheError
    from cache.verify import verify_store

    reports = []
    with tqdm(desc="verify", unit="B", unit_scale=True, disable=None if deep else True) as bar:
        for store in stores:
            reports.append(verify_store(store, deep=deep, progress=bar.update))
    if as_json:
        click.echo(json.dumps([report.to_mapping() for report in reports], indent=1))
    else:
        for report in reports:
            _print_report(report)
    problems = [(report, problem) for report in reports for problem in report.problems]
    if problems:
        report, problem = problems[0]
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise CacheError(f"{report.store}: {problem}{more}")


@command.command("merge")
@stores_argument
@click.option("--out", type=options.PATH, required=True, help="The store to write (a folder, *.zarr).")
def merge(stores: tuple[str, ...], out: Path) -> None:
    """Write the clips of several stores of one feature spec, in this order, as one store.

    \b
    Example:
        tagf cache merge train.zarr test.zarr --out all.zarr
    """
    from tqdm import tqdm

    from cache.merge import merge_stores
    from cache.store import FeatureStore

    opened = [FeatureStore.open(store) for store in stores]
    with tqdm(desc="merge", unit="clip", total=sum(len(store) for store in opened), disable=None) as bar:
        record = merge_stores(opened, out, progress=bar.update)
    click.echo(f"{out}: {record.num_clips} clips, {record.num_frames} rows, digest {record.digest}")


command.add_command(export_command)
command.add_command(import_command)
command.add_command(prune_command)
command.add_command(restore_command)


def _print_info(info: StoreInfo) -> None:
    from pipeline.cli.tables import duration_text, print_table, size_text

    shortest, median, longest = info.frames_per_clip
    streams = [
        f"{stream.name}: {stream.num_features} features"
        + (f", views {', '.join(stream.views)}" if stream.views else "")
        for stream in info.spec.streams
    ]
    chunk_rows = sorted({*info.chunk_rows.values()})
    shards = [
        f"{rows:,} ({', '.join(name for name in info.shard_rows if info.shard_rows[name] == rows)})"
        for rows in sorted({*info.shard_rows.values()})
    ]
    rows = [
        ("clips", f"{info.num_clips:,}"),
        ("rows", f"{info.num_frames:,} ({shortest:,} to {longest:,} per clip, median {median:,})"),
        ("duration", duration_text(info.duration_s)),
        ("with a face", f"{info.face_share:.1%} of the rows"),
        ("with sound", duration_text(info.audio_s)),
        ("size", f"{size_text(info.num_bytes)} in {info.num_objects} objects"),
        *(("stream", text) for text in streams),
        ("format", f"version {info.format_version}"),
        ("fingerprint", info.spec.fingerprint),
        ("digest", info.digest),
        ("rows per chunk", ", ".join(f"{count:,}" for count in chunk_rows)),
        *(("rows per shard", text) for text in shards),
        *(("code", f"{name or 'unknown'} ({count} clips)") for name, count in info.code_digests.items()),
        *(("machine", f"{name or 'unknown'} ({count} clips)") for name, count in info.machines.items()),
        *(("attribute", f"{name}: {value}") for name, value in info.attributes.items()),
        *(("setting", f"{name}: {value}") for name, value in sorted(info.spec.settings.items())),
    ]
    print_table(info.store, None, rows)


def _print_report(report: StoreReport) -> None:
    from pipeline.cli.tables import print_table, size_text

    how = "every byte" if report.deep else "sizes and metadata"
    if report.is_sound:
        click.echo(
            f"{report.store}: sound ({how}: {report.num_objects} objects, {size_text(report.num_bytes)}, "
            f"{report.num_clips} clips)"
        )
    else:
        rows = [
            (
                problem.object or problem.array or "",
                "" if problem.chunk is None else str(problem.chunk),
                "" if problem.rows is None else f"{problem.rows[0]}-{problem.rows[1] - 1}",
                problem.clip or "",
                problem.what,
            )
            for problem in report.problems[:_MAX_PROBLEMS]
        ]
        if len(report.problems) > _MAX_PROBLEMS:
            left = len(report.problems) - _MAX_PROBLEMS
            rows.append(("", "", "", "", f"... and {left} more; --json lists all"))
        count = len(report.problems)
        title = f"{report.store}: {count} problem{'s' if count > 1 else ''} ({how})"
        print_table(title, ("object", "chunk", "rows", "first clip", "problem"), rows)
    for note in report.notes:
        click.echo(f"{report.store}: {note}")
