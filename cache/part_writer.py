"""One clip's rows on their way into a part, without ever being in memory together.

Rows arrive in blocks, array by array, in any order of the arrays. Small clips stay in memory; what grows goes
to files without a name in the part's own directory, which vanish with the process. At the end the arrays are
copied one after the other into the part (`cache.parts` describes its form).
"""

from __future__ import annotations

import math
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, TypeAlias

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from cache.canonical_json import Json
from cache.features import FRAME_ARRAYS, check_finite
from cache.part_arrays import description_of, npy_header

# Up to this an array of a clip waits in memory: two and a half minutes of one visual view at 25 fps.
_IN_MEMORY_BYTES = 4 * 2**20
_COPY_BYTES = 2**20
_DATE = (1980, 1, 1, 0, 0, 0)  # the oldest that zip can hold

KEY_MEMBER = "key.json"
FACTS_MEMBER = "facts.json"
ARRAYS_MEMBER = "arrays.json"
STREAM_PREFIX = "streams/"

# Facts of the clip, what is to be said of its arrays, and what adds these to an archive -> the part's path.
Save: TypeAlias = Callable[[Mapping[str, Json], Mapping[str, Json], Callable[[zipfile.ZipFile], None]], Path]


@dataclass(kw_only=True)
class _Column:
    """An array that grows along its rows.

    Attributes:
        dtype: Of its values.
        shape: Its shape, with -1 for the number of rows.
        spools: Bytes of the rows, one file for each index of the axis before the rows (the views).
        checksums: CRC32C of the bytes in each of these files.
        num_rows: Rows so far.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    spools: list[IO[bytes]] = field(default_factory=list)
    checksums: list[int] = field(init=False)
    num_rows: int = 0

    def __post_init__(self) -> None:
        self.checksums = [0] * math.prod(self.shape[: self.row_axis])

    @property
    def full_shape(self) -> tuple[int, ...]:
        """Its shape, the rows so far among it."""
        return tuple(self.num_rows if size < 0 else size for size in self.shape)

    @property
    def description(self) -> dict[str, Json]:
        """What the part says of it."""
        return description_of(self.dtype, self.full_shape, self.checksums)

    @property
    def row_axis(self) -> int:
        return self.shape.index(-1)

    def fits(self, rows: NDArray[Any]) -> bool:
        """Whether rows have this array's dtype and, but for their number, its shape."""
        same = rows.ndim == len(self.shape) and all(
            size in (-1, got) for size, got in zip(self.shape, rows.shape, strict=True)
        )
        return same and rows.dtype == self.dtype


class PartWriter:
    """Collects the rows of one clip; `cache.parts.PartStore.writer` makes it.

    Args:
        streams: Shape of each stream's rows, with -1 for their number.
        directory: Where rows wait that are too many for the memory.
        writing: Makes a block in which errors of the disk are reported as such.
        save: Writes the part: is given its facts, and a function that adds the arrays to an open archive.
    """

    def __init__(
        self,
        streams: Mapping[str, tuple[int, ...]],
        directory: Path,
        writing: Callable[[], AbstractContextManager[None]],
        save: Save,
    ) -> None:
        self._directory = directory
        self._writing = writing
        self._save = save
        self._last_time_s = -np.inf
        self._columns = {
            name: _Column(dtype=dtype, shape=(-1, *trailing))
            for name, (dtype, trailing) in FRAME_ARRAYS.items()
        }
        for name in sorted(streams):
            self._columns[STREAM_PREFIX + name] = _Column(dtype=np.dtype(np.float16), shape=streams[name])

    def append(self, **arrays: NDArray[Any]) -> None:
        """Further rows of some of the arrays beside the streams (`time_s`, `face_found`, ...), (n, ...).

        Raises:
            StorageError: The disk is full or not writable.
            ValueError: No such array, a wrong dtype or shape, a value that is not finite, or times that do
                not rise.
        """
        for name, rows in arrays.items():
            self._append(name, name, rows)
        if "time_s" in arrays and len(arrays["time_s"]):
            times_s = np.concatenate(([self._last_time_s], arrays["time_s"]))
            if not (np.diff(times_s) > 0).all():
                row = int(np.argmin(np.diff(times_s) > 0))
                raise ValueError(
                    f"time_s must rise strictly, got {times_s[row + 1]} s after {times_s[row]} s"
                )
            self._last_time_s = float(times_s[-1])

    def append_stream(self, name: str, rows: NDArray[np.float16]) -> None:
        """Further rows of a stream: (V, n, D) for `visual`, (n, D) for others.

        Raises:
            StorageError: The disk is full or not writable.
            ValueError: No such stream, a wrong dtype or shape, or a value that is not finite.
        """
        self._append(STREAM_PREFIX + name, f"stream {name!r}", rows)

    def commit(self, facts: Mapping[str, Json]) -> Path:
        """Write the part, whole or not at all.

        Raises:
            ValueError: The arrays have different numbers of rows, or `facts` is not JSON.
            StorageError: The disk is full or not writable.
        """
        counts = {name: column.num_rows for name, column in self._columns.items()}
        if len(set(counts.values())) != 1:
            raise ValueError(f"every array must have as many rows as the others, got {counts}")
        descriptions = {name: column.description for name, column in self._columns.items()}
        return self._save(facts, descriptions, self._write)

    def close(self) -> None:
        """Drop the rows."""
        for column in self._columns.values():
            for spool in column.spools:
                spool.close()

    def _append(self, key: str, name: str, rows: NDArray[Any]) -> None:
        column = self._columns.get(key)
        if column is None:
            raise ValueError(f"{name} is none of the clip's arrays ({', '.join(self._columns)})")
        if not column.fits(rows):
            sizes = ", ".join("n" if size < 0 else str(size) for size in column.shape)
            raise ValueError(
                f"{name} must be rows of {column.dtype} with shape ({sizes}), got {rows.dtype} with shape "
                f"{rows.shape}"
            )
        axis = column.row_axis
        if np.issubdtype(rows.dtype, np.floating):
            check_finite(name, rows, axis=axis, first_row=column.num_rows)
        leading = rows.shape[:axis]
        if not column.spools:
            column.spools = [
                tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES, dir=str(self._directory))  # noqa: SIM115
                for _ in np.ndindex(*leading)
            ]
        with self._writing():
            for view, index in enumerate(np.ndindex(*leading)):
                block = np.ascontiguousarray(rows[index])
                column.spools[view].write(block.data)
                column.checksums[view] = google_crc32c.extend(column.checksums[view], block)
        column.num_rows += rows.shape[axis]

    def _write(self, archive: zipfile.ZipFile) -> None:
        for name, column in self._columns.items():
            self._write_column(archive, name, column)

    @staticmethod
    def _write_column(archive: zipfile.ZipFile, name: str, column: _Column) -> None:
        info = member(f"{name}.npy")
        # An upper bound, by which zipfile decides on its 64-bit form.
        info.file_size = column.dtype.itemsize * math.prod(column.full_shape) + 4096
        with archive.open(info, "w") as stream:
            stream.write(npy_header(column.dtype, column.full_shape))
            for spool in column.spools:
                spool.seek(0)
                shutil.copyfileobj(spool, stream, _COPY_BYTES)


def member(name: str) -> zipfile.ZipInfo:
    """Entry of a part, the same for every part."""
    info = zipfile.ZipInfo(name, date_time=_DATE)
    info.create_system = 3  # Unix, on every system
    info.external_attr = 0o644 << 16
    return info
