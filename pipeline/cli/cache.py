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
    from collections.abc import Sequence

    from cache.canonical_json import Json
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


@command.command("info", short_help="Show what is in stores.")
@stores_argument
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list, one object per store.")
def info(stores: tuple[str, ...], as_json: bool) -> None:
    """Show what is in stores: spec, clips, rows, bytes, provenance. A STORE is a path or a URL (s3://...).

    A store that cannot be read does not keep the others from being shown; the exit code is 1 then.

    \b
    Example:
        tagf cache info data/features.zarr
        tagf cache info s3://bucket/features.zarr --json
    """
    from cache.errors import CacheError
    from cache.store_info import store_info

    plain: list[Json] = []
    problems = []
    for store in stores:
        try:
            found = store_info(store)
        except CacheError as error:
            problems.append(str(error))
            plain.append({"store": store, "error": str(error)})
            continue
        plain.append(found.to_mapping())
        if not as_json:
            _print_info(found)
    if as_json:
        click.echo(json.dumps(plain, indent=1))
    _raise_first(problems)


@command.command("verify", short_help="Check stores, quickly or byte by byte.")
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
    from cache.errors import CacheError
    from cache.verify import Problem, StoreReport, verify_store
    from pipeline.cli.store_bytes import checking_bar

    reports = []
    problems = []
    for store in stores:
        try:
            with checking_bar((store,), shown=deep) as bar:
                report = verify_store(store, deep=deep, progress=bar.update)
        except CacheError as error:  # it cannot be reached, or is being replaced
            what = str(error).removeprefix(store).lstrip(": ")
            report = StoreReport(store=store, deep=deep, problems=(Problem(what=what),))
        reports.append(report)
        problems += [f"{report.store}: {problem}" for problem in report.problems]
        if not as_json:
            _print_report(report)
    if as_json:
        click.echo(json.dumps([report.to_mapping() for report in reports], indent=1))
    _raise_first(problems)


def _raise_first(problems: Sequence[str]) -> None:
    """End with the first of several problems, and say how many there are."""
    from cache.errors import CacheError

    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise CacheError(problems[0] + more)


@command.command("merge", short_help="Join stores of one feature spec.")
@stores_argument
@click.option("--out", type=options.OUT, required=True, help="The store to write (a folder, *.zarr).")
@options.replace_option
def merge(stores: tuple[str, ...], out: Path, replace: bool) -> None:
    """Write the clips of several stores of one feature spec, in this order, as one store.

    \b
    Example:
        tagf cache merge train.zarr test.zarr --out all.zarr
    """
    from cache.merge import merge_stores
    from cache.store import FeatureStore
    from pipeline.progress_bar import ProgressBar

    options.check_out(out, replace=replace)
    opened = [FeatureStore.open(store) for store in stores]
    with ProgressBar("merge", "clip", sum(len(store) for store in opened)) as bar:
        record = merge_stores(opened, out, progress=bar.update)
    click.echo(f"{out}: {record.num_clips} clips, {record.num_frames} rows, digest {record.digest}")


command.add_command(export_command)
command.add_command(import_command)
command.add_command(prune_command)
command.add_command(restore_command)


def _print_info(info: StoreInfo) -> None:
    from pipeline.cli.tables import duration_text, print_facts, size_text

    shortest, median, longest = info.frames_per_clip
    streams = [
        f"{stream.name}: {stream.num_features} features"
        + (f", views {', '.join(stream.views)}" if stream.views else "")
        for stream in info.spec.streams
    ]
    summary = [
        ("clips", f"{info.num_clips:,}"),
        ("rows", f"{info.num_frames:,} ({shortest:,} to {longest:,} per clip, median {median:,})"),
        ("duration", duration_text(info.duration_s)),
        ("with a face", f"{info.face_share:.1%} of the rows"),
        ("with sound", f"{duration_text(info.audio_s)}, {info.audio_share:.1%} of the rows"),
        ("size", f"{size_text(info.num_bytes)} in {info.num_objects} objects"),
        *(("stream", text) for text in streams),
        ("format", f"version {info.format_version}"),
        ("fingerprint", info.spec.fingerprint),
        ("digest", info.digest),
        *(("code", f"{name or 'unknown'} ({_clips(count)})") for name, count in info.code_digests.items()),
        *(("machine", f"{name or 'unknown'} ({_clips(count)})") for name, count in info.machines.items()),
        *(("attribute", f"{name}: {value}") for name, value in info.attributes.items()),
    ]
    print_facts(info.store, summary)
    print_facts("  settings", [(name, str(value)) for name, value in sorted(info.spec.settings.items())])
    chunk_rows = sorted({*info.chunk_rows.values()})
    shards = [
        f"{rows:,} ({', '.join(name for name in info.shard_rows if info.shard_rows[name] == rows)})"
        for rows in sorted({*info.shard_rows.values()})
    ]
    chunks = [
        ("rows per chunk", ", ".join(f"{count:,}" for count in chunk_rows)),
        *(("rows per shard", text) for text in shards),
    ]
    print_facts("  chunks", chunks)


def _clips(count: int) -> str:
    return f"{count:,} clip" if count == 1 else f"{count:,} clips"


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
