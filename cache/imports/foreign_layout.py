"""How another toolkit's features lie: which files, which datasets, at which rate."""

from __future__ import annotations

from dataclasses import dataclass

from cache.errors import SettingsError

#: What `import_features` reads.
IMPORT_FORMATS = ("hdf5", "npy")
#: What times can be counted in.
TIME_UNITS = ("s", "ms", "frames")
#: Stands for the clip's id in the path of a dataset.
CLIP = "{clip}"


@dataclass(frozen=True, kw_only=True)
class ForeignStream:
    """One stream of another toolkit.

    Attributes:
        name: What the store is to call it: ``visual``, ``audio`` or a further name.
        path: Folder with one file per clip, or an HDF5 file with all clips; relative to the source.
        dataset: Path of the rows in an HDF5 file. Where one file has all clips, ``{clip}`` in it stands for
            the clip's id, and a path without it lies in a group of the clip's. None: the only dataset of a
            clip's file, or a dataset named by the clip.
        times: Where the times of the rows are: path in the HDF5 file as `dataset`, or folder of npy files
            relative to the source. None where the rate says it all.
        rate_hz: Rows per second; None where the files say it, or times do.
        time_unit: What its times are counted in; None for the layout's unit.
    """

    name: str
    path: str = "."
    dataset: str | None = None
    times: str | None = None
    rate_hz: float | None = None
    time_unit: str | None = None

    def __post_init__(self) -> None:
        if self.rate_hz is not None and not 0 < self.rate_hz < float("inf"):
            raise SettingsError(f"stream {self.name!r}: the rate must be above 0 Hz, got {self.rate_hz}")
        if self.time_unit is not None:
            _check_unit(self.time_unit)


@dataclass(frozen=True, kw_only=True)
class ForeignLayout:
    """How another toolkit's features lie.

    Attributes:
        format: ``npy`` or ``hdf5``.
        streams: The streams; the rows of the first are the rows of the store.
        time_unit: What times are counted in where a stream does not say: ``s``, ``ms``, or ``frames`` of the
            stream's rate.
        origin: What made the features, in the user's words; None where their bytes are to tell. It enters the
            fingerprint: stores of one origin can be merged.
    """

    format: str
    streams: tuple[ForeignStream, ...]
    time_unit: str = "s"
    origin: str | None = None

    def __post_init__(self) -> None:
        if self.format not in IMPORT_FORMATS:
            raise SettingsError(f"format must be one of {', '.join(IMPORT_FORMATS)}, got {self.format!r}")
        _check_unit(self.time_unit)
        if self.origin is not None and not self.origin.strip():
            raise SettingsError("the origin must not be empty; say what made the features, or leave it out")
        if not self.streams:
            raise SettingsError("no stream is named; say where each lies, for example --stream visual=FOLDER")
        if self.format == "npy":
            for stream in self.streams:
                if stream.dataset is not None:
                    raise SettingsError(
                        f"stream {stream.name!r}: npy files have no datasets, got {stream.dataset!r}; name "
                        f"its folder with --stream {stream.name}=FOLDER"
                    )


def _check_unit(unit: str) -> None:
    if unit not in TIME_UNITS:
        raise SettingsError(f"time unit must be one of {', '.join(TIME_UNITS)}, got {unit!r}")
