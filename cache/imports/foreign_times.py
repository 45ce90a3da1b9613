"""At which times the rows of another toolkit's stream are: from a dataset, from attributes, from the user."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cache.errors import CacheError, SettingsError
from cache.imports.array_place import ArrayPlace, reading
from cache.imports.foreign_files import ForeignArray
from cache.imports.foreign_layout import ForeignStream
from cache.imports.row_times import period_of, regular_times_s

# What HDF5 files call the rate of their rows. Above a dataset, `rate` may be that of anything.
_RATE_NAMES = ("fps", "frame_rate", "rate_hz", "rate")
_RATE_NAMES_ABOVE = ("fps", "frame_rate", "rate_hz")
# By so much the times of rows and a rate that is given for them may differ: 29.97 Hz is called 30.
_RATE_TOLERANCE = 0.05


@dataclass(frozen=True, kw_only=True, eq=False)
class StreamTimes:
    """Times of one clip's rows of one stream.

    Attributes:
        time_s: ``(N,)`` seconds, rising strictly.
        period_s: Usual distance of neighbouring rows in seconds.
        frame: ``(N,)`` numbers of frames, where times are counted in these; else None.
    """

    time_s: NDArray[np.float64]
    period_s: float
    frame: NDArray[np.int64] | None


def stream_times(
    stream: ForeignStream, unit: str, array: ForeignArray, num_rows: int, *, is_first: bool
) -> StreamTimes:
    """Times of a clip's rows.

    Args:
        stream: The stream.
        unit: What times are counted in, one of `cache.imports.foreign_layout.TIME_UNITS`.
        array: Where the rows and their times are.
        num_rows: Number of rows N.
        is_first: Whether its rows are those of the store; what stands above the datasets of a file is said of
            them alone.

    Raises:
        SettingsError: The rate is needed and not known, or given otherwise than the file or the times say.
        CacheError: The times do not fit the rows, or do not rise.
        CorruptFeatureError: The file of the times is damaged.
    """
    if array.times is None:
        rate_hz = _rate_hz(stream, array.rows, is_first)
        if rate_hz is None:
            raise SettingsError(
                f"{array.rows}: nothing says at which times the rows of stream {stream.name!r} are; give "
                f"--rate {stream.name}=HZ, or --times {stream.name}=PATH where their times are"
            )
        return StreamTimes(time_s=regular_times_s(num_rows, rate_hz), period_s=1 / rate_hz, frame=None)
    counts = _counts(array.times, num_rows)
    frame = None
    rate_hz = stream.rate_hz
    if unit == "frames":
        rate_hz = _rate_hz(stream, array.rows, is_first)
        if rate_hz is None:
            raise SettingsError(
                f"{array.times}: times in frames need the frames' rate; give --rate {stream.name}=HZ"
            )
        time_s = counts / rate_hz
        if (counts == np.round(counts)).all():
            frame = counts.astype(np.int64)
    else:
        time_s = counts / (1000.0 if unit == "ms" else 1.0)
    if not (np.diff(time_s) > 0).all():
        row = int(np.argmin(np.diff(time_s) > 0))
        raise CacheError(
            f"{array.times}: times must rise strictly, got {time_s[row]} s at row {row} and "
            f"{time_s[row + 1]} s after it"
        )
    if unit != "frames" and rate_hz is not None:
        _check_rate(stream, rate_hz, time_s, array.times, unit)
    period_s = period_of(time_s)
    if period_s is None and num_rows:
        rate_hz = rate_hz or _rate_hz(stream, array.rows, is_first)
        period_s = None if rate_hz is None else 1 / rate_hz
    if period_s is None and num_rows:
        raise SettingsError(
            f"{array.times}: a single row does not tell the rate of stream {stream.name!r}; give --rate "
            f"{stream.name}=HZ"
        )
    return StreamTimes(time_s=time_s, period_s=period_s or 1.0, frame=frame)


def _counts(place: ArrayPlace, num_rows: int) -> NDArray[np.float64]:
    """``(N,)`` times in their unit: as they are, or the middles of intervals ``(N, 2)``."""
    with place.opened() as array, reading(place):
        values = np.asarray(array[()] if place.dataset is not None else array[:])
    if values.dtype.kind not in "fiu" or values.shape not in ((num_rows,), (num_rows, 1), (num_rows, 2)):
        raise CacheError(
            f"{place}: expected a time for each of the {num_rows} rows, or its begin and end, got "
            f"{values.dtype} of shape {values.shape}"
        )
    counts = np.asarray(values, np.float64)
    if counts.ndim == 2:
        counts = counts.mean(axis=1)
    if not np.isfinite(counts).all():
        row = int(np.argmin(np.isfinite(counts)))
        raise CacheError(f"{place}: times must be finite, got {counts[row]} at row {row}")
    return counts


def _check_rate(
    stream: ForeignStream, rate_hz: float, time_s: NDArray[np.float64], place: ArrayPlace, unit: str
) -> None:
    """Times that do not go with the rate that the user gave are those of other rows, or in another unit."""
    period_s = period_of(time_s)
    if period_s is None:
        return
    # At a variable rate either of the two may be meant.
    told_hz = (1 / period_s, (len(time_s) - 1) / float(time_s[-1] - time_s[0]))
    if all(not math.isclose(told, rate_hz, rel_tol=_RATE_TOLERANCE) for told in told_hz):
        raise SettingsError(
            f"{place}: stream {stream.name!r} has the rate {rate_hz} Hz by the command "
            f"line, {told_hz[0]:.6g} Hz by its times in {unit}; correct the rate or leave it out, or say "
            "--time-unit"
        )


def _rate_hz(stream: ForeignStream, place: ArrayPlace, is_first: bool) -> float | None:
    """The rate that the user gave, or that the file tells: the dataset, else what it lies in, from within.

    Raises:
        SettingsError: The dataset says otherwise than the user, or attributes of one level differ.
    """
    for level, attributes in enumerate(place.attribute_levels()):
        if level and (stream.rate_hz is not None or not is_first):
            break
        names = _RATE_NAMES_ABOVE if level else _RATE_NAMES
        rates = ((name, _number(attributes.get(name))) for name in names)
        known = {name: rate for name, rate in rates if rate is not None}
        for name, rate in known.items():
            if stream.rate_hz is not None and not math.isclose(rate, stream.rate_hz, rel_tol=1e-6):
                raise SettingsError(
                    f"{place}: stream {stream.name!r} has the rate {stream.rate_hz} Hz by the command line, "
                    f"{rate} Hz by the dataset's attribute {name!r}; correct one of them"
                )
        if len({*known.values()}) > 1 and stream.rate_hz is None:
            raise SettingsError(
                f"{place}: its attributes tell different rates ({known}); give --rate {stream.name}=HZ"
                + ("" if level else " and remove those that are wrong")
            )
        if known and stream.rate_hz is None:
            return next(iter(known.values()))
    return stream.rate_hz


def _number(value: Any) -> float | None:
    """A scalar above 0, or None."""
    try:
        number = float(np.asarray(value).item())
    except (TypeError, ValueError):
        return None
    return number if 0 < number < math.inf else None
