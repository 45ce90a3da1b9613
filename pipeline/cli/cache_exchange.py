"""`tagf cache export` and `tagf cache import`."""

from __future__ import annotations

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


@click.command("export")
@click.argument("store", metavar="STORE")
@click.option(
    "--format",
    "format_",
    type=click.Choice(_EXPORT_FORMATS),
    required=True,
    help="hdf5: one file, a group per clip. npy: a folder per array, a file per clip. parquet: one table.",
)
@click.option(
    "--out", type=options.PATH, required=True, help="File or folder to write; nothing may lie there."
)
def export_command(store: str, format_: str, out: Path) -> None:
    """Write a store in another format.

    An hdf5 or npy export carries everything: `tagf cache import` makes the same store of it, byte for byte.

    \b
    Example:
        tagf cache export data/features.zarr --format hdf5 --out features.h5
    """
    from tqdm import tqdm

    from cache.exports import export_store

    with tqdm(desc="export", unit="clip", disable=None) as bar:
        export_store(store, out, format_, progress=bar.update)
    click.echo(f"{out}: written")


@click.command("import")
@click.argument("source", metavar="SOURCE", type=options.PATH)
@click.option("--format", "format_", type=click.Choice(_IMPORT_FORMATS), required=True)
@click.option("--out", type=options.PATH, required=True, help="The store to write (a folder, *.zarr).")
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
@click.option("--fps", type=float, help="Rows per second of the first stream, where the files do not say.")
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
    "--time-unit", type=click.Choice(_TIME_UNITS), default="s", show_default=True, help="Of --times."
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
    streams: tuple[str, ...],
    datasets: tuple[str, ...],
    fps: float | None,
    rates: tuple[str, ...],
    times: tuple[str, ...],
    time_unit: str,
    origin: str | None,
) -> None:
    """Make a store of an export, or of features that another toolkit left.

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
    from tqdm import tqdm

    from cache.imports import import_export, import_features, is_export

    foreign = streams or datasets or rates or times or origin or fps is not None
    with tqdm(desc="import", unit="clip", disable=None) as bar:
        if is_export(source) and not foreign:
            record, exported = import_export(source, out, progress=bar.update)
            same = "the same as" if record.digest == exported else f"not that of ({exported})"
            remark = f", {same} the store that was exported"
        else:
            layout = _layout(source, format_, streams, datasets, fps, rates, times, time_unit, origin)
            record = import_features(source, out, layout, progress=bar.update)
            remark = ""
    click.echo(f"{out}: {record.num_clips} clips, {record.num_frames} rows, digest {record.digest}{remark}")


def _layout(
    source: Path,
    format_: str,
    streams: tuple[str, ...],
    datasets: tuple[str, ...],
    fps: float | None,
    rates: tuple[str, ...],
    times: tuple[str, ...],
    time_unit: str,
    origin: str | None,
) -> ForeignLayout:
    """The options as one layout; options about streams that are not named are wrong usage."""
    from cache.imports import ForeignLayout, ForeignStream

    paths, inside = _pairs("--stream", streams), _pairs("--dataset", datasets)
    # What is not told to lie elsewhere lies in SOURCE itself.
    names = list({**paths, **inside})
    if not names:
        raise click.UsageError(
            f"{source} is no export of this program; say where each stream lies, for example "
            f"--stream visual=FOLDER{' or --dataset visual=PATH' if format_ == 'hdf5' else ''}"
        )
    first = names[0]
    given_rates = {} if fps is None else {first: fps}
    for name, text in _pairs("--rate", rates).items():
        if name in given_rates:
            raise click.UsageError(f"--fps and --rate {name} both give the rate of {name!r}; leave out one")
        try:
            given_rates[name] = float(text)
        except ValueError:
            raise click.UsageError(f"--rate {name}={text}: expected a number of rows per second") from None
    given_times = _pairs("--times", tuple(text if "=" in text else f"{first}={text}" for text in times))
    for option, given in (("--rate", given_rates), ("--times", given_times)):
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
            )
            for name in names
        ),
        time_unit=time_unit,
        origin=origin,
    )


def _pairs(option: str, texts: tuple[str, ...]) -> dict[str, str]:
    """NAME=VALUE options by name."""
    pairs: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise click.UsageError(f"{option} {text}: expected NAME=VALUE, for example {option} visual=...")
        if name in pairs:
            raise click.UsageError(f"{option} {name} is given twice")
        pairs[name] = value
    return pairs
