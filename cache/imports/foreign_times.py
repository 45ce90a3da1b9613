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

# What HDF5 files call the rate of their rows.
_RATE_NAMES = ("fps", "frame_rate", "rate_hz", "rate")


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


def stream_times(stream: ForeignStream, unit: str, array: ForeignArray, num_rows: int) -> StreamTimes:
    """Times of a clip's rows.

    Args:
        stream: The stream.
        unit: What times are counted in, one of `cache.imports.foreign_layout.TIME_UNITS`.
        array: Where the rows and their times are.
        num_rows: Number of rows N.

    Raises:
        SettingsError: The rate is needed and not known, or given otherwise than the file says.
        CacheError: The times do not fit the rows, or do not rise.
        CorruptFeatureError: The file of the times is damaged.
    """
    rate_hz = _rate_hz(stream, array.rows)
    if array.times is None:
        if rate_hz is None:
            raise SettingsError(
                f"{array.rows}: nothing says at which times the rows of stream {stream.name!r} are; give "
                f"--rate {stream.name}=HZ, or --times {stream.name}=PATH where their times are"
            )
        return StreamTimes(time_s=regular_times_s(num_rows, rate_hz), period_s=1 / rate_hz, frame=None)
    counts = _counts(array.times, num_rows)
    frame = None
    if unit == "frames":
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
    period_s = period_of(time_s) or (None if rate_hz is None else 1 / rate_hz)
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


def _rate_hz(stream: ForeignStream, place: ArrayPlace) -> float | None:
    """The rate that the user gave, or that the file tells; they must not contradict each other."""
    told = place.attributes()
    rates = {name: _number(told[name]) for name in _RATE_NAMES if name in told}
    known = {name: rate for name, rate in rates.items() if rate is not None}
    if stream.rate_hz is not None:
        for name, rate in known.items():
            if not math.isclose(rate, stream.rate_hz, rel_tol=1e-6):
                raise SettingsError(
                    f"{place}: stream {stream.name!r} has the rate {stream.rate_hz} Hz by the command line, "
                    f"{rate} Hz by the file's attribute {name!r}; correct one of them"
                )
        return stream.rate_hz
    if len({*known.values()}) > 1:
        raise SettingsError(
            f"{place}: its attributes tell different rates ({known}); give --rate {stream.name}=HZ and "
            "remove those that are wrong"
        )
    return next(iter(known.values()), None)


def _number(value: Any) -> float | None:
    """A scalar above 0, or None."""
    try:
        number = float(np.asarray(value).item())
    except (TypeError, ValueError):
        return None
    return number if 0 < number < math.inf else None
