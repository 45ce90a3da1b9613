"""`tagf cache export` and `tagf cache import`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli import options

if TYPE_CHECKING:
    from cache.imports import ForeignLayout

# As `cache.exports` and `cache.imports` have them; `tagf cache --help` is not to load their libraries.
_EXPORT_FORMATS = ("hdf5", "npy", "parquet")
_IMPORT_FORMATS = ("hdf5", "npy")
_TIME_UNITS = ("s", "ms", "frames")


@click.command("export", short_help="Write a store as hdf5, npy or parquet.")
@click.argument("store", metavar="STORE")
@click.option(
    "--format",
    "format_",
    type=click.Choice(_EXPORT_FORMATS),
    required=True,
    help="hdf5: one file, a group per clip. npy: a folder per array, a file per clip. parquet: one table.",
)
@click.option(
    "--out", type=options.OUT, required=True, help="File or folder to write; nothing may lie there."
)
def export_command(store: str, format_: str, out: Path) -> None:
    """Write a store in another format.

    An hdf5 or npy export carries everything: `tagf cache import` makes the same store of it, byte for byte.

    \b
    Example:
        tagf cache export data/features.zarr --format hdf5 --out features.h5
    """
    from cache.errors import CacheError
    from cache.exports import export_store
    from cache.location import location_of
    from cache.record import CompletionRecord
    from pipeline.progress_bar import ProgressBar

    num_clips = None
    with suppress(CacheError):  # the export itself says what is wrong
        num_clips = CompletionRecord.read(location_of(store)).num_clips
    with ProgressBar("export", "clip", num_clips) as bar:
        export_store(store, out, format_, progress=bar.update)
    click.echo(f"{out}: written")


@click.command("import", short_help="Make a store of an export or other features.")
@click.argument("source", metavar="SOURCE", type=options.PATH)
@click.option("--format", "format_", type=click.Choice(_IMPORT_FORMATS), required=True)
@click.option("--out", type=options.OUT, required=True, help="The store to write (a folder, *.zarr).")
@options.replace_option
@click.option(
    "--stream",
    "streams",
    metavar="NAME=PATH",
    multiple=True,
    help="Folder below SOURCE with one file per clip, or HDF5 file of all clips, for the stream NAME "
    "(visual, audio, ...). The rows of the first stream are the rows of the store.",
)
@click.option(
    "--dataset",
    "datasets",
    metavar="NAME=PATH",
    multiple=True,
    help="Where the rows of the stream NAME are in the HDF5 files. In a file of all clips, {clip} in it "
    "stands for the clip.",
)
@click.option(
    "--fps",
    type=options.FiniteRange(min=0, min_open=True),
    help="Rows per second of the first stream, where the files do not say.",
)
@click.option(
    "--rate", "rates", metavar="NAME=HZ", multiple=True, help="Rows per second of the stream NAME, likewise."
)
@click.option(
    "--times",
    metavar="[NAME=]PATH",
    multiple=True,
    help="Times of the rows of the stream NAME, else of the first: dataset in its HDF5 files, or folder of "
    "npy files below SOURCE.",
)
@click.option(
    "--time-unit",
    "units",
    metavar="[NAME=]UNIT",
    multiple=True,
    help="What --times counts in, for the stream NAME or for all: s (the default), ms or frames.",
)
@click.option(
    "--origin",
    metavar="TEXT",
    help="What made the features, for example 'openface 2.2 resnet50'. Stores of one origin can be merged; "
    "without it only the very same files give the same fingerprint.",
)
def import_command(
    source: Path,
    format_: str,
    out: Path,
    replace: bool,
    streams: tuple[str, ...],
    datasets: tuple[str, ...],
    fps: float | None,
    rates: tuple[str, ...],
    times: tuple[str, ...],
    units: tuple[str, ...],
    origin: str | None,
) -> None:
    """Make a store of an export, or of features that another toolkit left. SOURCE is a local path.

    Exports of `tagf cache export` need no further option. Otherwise SOURCE is a folder with one npy or HDF5
    file per clip and stream, or an HDF5 file. Rows of the other streams are those nearest in time; where
    none is within half a period the row is zero and marked as not found.

    \b
    Examples:
        tagf cache import features.h5 --format hdf5 --out features.zarr
        tagf cache import old --format npy --stream visual=face --stream audio=vggish \\
            --fps 25 --rate audio=1.0417 --out features.zarr
        tagf cache import old.h5 --format hdf5 --dataset visual={clip}/face --times {clip}/time --out f.zarr
    """
    from cache.imports import export_format, import_export, import_features
    from pipeline.progress_bar import ProgressBar

    given = {
        "--stream": streams, "--dataset": datasets, "--fps": fps, "--rate": rates, "--times": times,
        "--time-unit": units, "--origin": origin,
    }  # fmt: skip
    foreign = [option for option, value in given.items() if value not in (None, ())]
    layout = _layout(format_, streams, datasets, fps, rates, times, units, origin) if foreign else None
    exported_as = export_format(source)
    if exported_as is not None:
        if foreign:
            raise click.UsageError(
                f"{source} is an export of this program, which takes no {', '.join(foreign)}"
            )
        if exported_as != format_:
            raise click.UsageError(f"{source} is an export in {exported_as}; say --format {exported_as}")
    elif layout is None:
        dataset = " or --dataset visual=PATH" if format_ == "hdf5" else ""
        raise click.UsageError(
            f"{source} is no export of this program; say where each stream lies, for example "
            f"--stream visual=FOLDER{dataset}"
        )
    options.check_out(out, replace=replace)
    remark = ""
    with ProgressBar("import", "clip") as bar:
        if layout is None:
            record, exported = import_export(source, out, progress=bar.update, total=bar.reset)
            same = "the same as" if record.digest == exported else f"not that of ({exported})"
            remark = f", {same} the store that was exported"
        else:
            record = import_features(source, out, layout, progress=bar.update, total=bar.reset)
    click.echo(f"{out}: {record.num_clips} clips, {record.num_frames} rows, digest {record.digest}{remark}")
    _print_coverage(out)


def _print_coverage(store: Path) -> None:
    """One line that shows at a glance whether the streams met, and whether the rates were right."""
    from cache.store_info import store_info

    info = store_info(store)
    shares = {"visual": f"face on {info.face_share:.1%}", "audio": f"sound on {info.audio_share:.1%}"}
    found = [shares[stream.name] for stream in info.spec.streams if stream.name in shares]
    found_on = f"{', '.join(found)} of rows, " if found else ""
    click.echo(f"{store}: {found_on}{info.duration_s:.1f} s")


def _layout(
    format_: str,
    streams: tuple[str, ...],
    datasets: tuple[str, ...],
    fps: float | None,
    rates: tuple[str, ...],
    times: tuple[str, ...],
    units: tuple[str, ...],
    origin: str | None,
) -> ForeignLayout:
    """The options as one layout; options about streams that are not named are wrong usage."""
    from cache.imports import ForeignLayout, ForeignStream

    if origin is not None and not origin.strip():
        raise click.UsageError("--origin is empty; say what made the features, or leave it out")
    paths, inside = _pairs("--stream", streams), _pairs("--dataset", datasets)
    # What is not told to lie elsewhere lies in SOURCE itself.
    names = list({**paths, **inside})
    if not names:
        raise click.UsageError(
            "no stream is named; say where each lies, for example --stream visual=FOLDER"
            + (" or --dataset visual=PATH" if format_ == "hdf5" else "")
        )
    first = names[0]
    given_rates = {} if fps is None else {first: fps}
    for name, text in _pairs("--rate", rates).items():
        if name in given_rates:
            raise click.UsageError(f"--fps and --rate {name} both give the rate of {name!r}; leave out one")
        given_rates[name] = _rate(name, text)
    given_times = _pairs("--times", tuple(text if "=" in text else f"{first}={text}" for text in times))
    own_units = _pairs("--time-unit", tuple(text for text in units if "=" in text))
    common_units = [text for text in units if "=" not in text]
    if len(common_units) > 1:
        raise click.UsageError(
            "--time-unit is given twice for all streams; name a stream: --time-unit visual=ms"
        )
    for unit in (*common_units, *own_units.values()):
        if unit not in _TIME_UNITS:
            raise click.UsageError(f"--time-unit: expected one of {', '.join(_TIME_UNITS)}, got {unit!r}")
    by_stream: dict[str, Mapping[str, object]] = {
        "--rate": given_rates, "--times": given_times, "--time-unit": own_units
    }  # fmt: skip
    for option, given in by_stream.items():
        for name in given:
            if name not in names:
                raise click.UsageError(f"{option} {name}: no such stream (streams: {', '.join(names)})")
    return ForeignLayout(
        format=format_,
        streams=tuple(
            ForeignStream(
                name=name,
                path=paths.get(name, "."),
                dataset=inside.get(name),
                times=given_times.get(name),
                rate_hz=given_rates.get(name),
                time_unit=own_units.get(name),
            )
            for name in names
        ),
        time_unit=common_units[0] if common_units else "s",
        origin=origin,
    )


def _rate(name: str, text: str) -> float:
    """A number of rows per second."""
    try:
        rate_hz = float(text)
    except ValueError:
        rate_hz = math.nan
    if not 0 < rate_hz < math.inf:
        raise click.UsageError(f"--rate {name}={text}: expected a number of rows per second above 0")
    return rate_hz


# A value of each option, for messages.
_EXAMPLES = {
    "--stream": "face",
    "--dataset": "{clip}/face",
    "--rate": "25",
    "--times": "times",
    "--time-unit": "ms",
}


def _pairs(option: str, texts: tuple[str, ...]) -> dict[str, str]:
    """NAME=VALUE options by name."""
    pairs: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            example = f"{option} visual={_EXAMPLES[option]}"
            raise click.UsageError(f"{option} {text}: expected NAME=VALUE, for example {example}")
        if name in pairs:
            raise click.UsageError(f"{option} {name} is given twice")
        pairs[name] = value
    return pairs
