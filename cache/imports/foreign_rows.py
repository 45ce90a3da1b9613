"""One clip's rows of one stream as another toolkit left them, on their way to float16."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from cache.errors import CacheError, CorruptFeatureError
from cache.imports.array_place import ArrayPlace, RowArray, reading

_BLOCK_BYTES = 4 * 2**20
_LARGEST = float(np.finfo(np.float16).max)


def check_shape(stream: str, place: ArrayPlace, array: RowArray) -> None:
    """Refuse what cannot be rows of embeddings.

    Raises:
        CacheError: An array that is not ``(N, D)``, or not of floating-point numbers.
    """
    if array.dtype.kind != "f" or array.dtype.itemsize > 8 or len(array.shape) != 2 or not array.shape[1]:
        raise CacheError(
            f"{place}: expected rows of stream {stream!r} as float16, float32 or float64 of shape (N, D), "
            f"got {array.dtype} of shape {tuple(array.shape)}"
        )


class ForeignRows:
    """Rows of an open array, converted as they are asked for.

    Args:
        place: Where the array lies, for messages.
        array: ``(N, D)``, of float16, float32 or float64.
    """

    def __init__(self, place: ArrayPlace, array: RowArray) -> None:
        self._place = place
        self._array = array
        row_bytes = array.shape[1] * array.dtype.itemsize
        self._block_rows = max(1, _BLOCK_BYTES // row_bytes)

    @property
    def num_rows(self) -> int:
        """Number of rows N."""
        return self._array.shape[0]

    def marks(self) -> NDArray[np.bool_]:
        """Which rows are not all zero once they are float16, ``(N,)``; looks at every value.

        Raises:
            CorruptFeatureError: A value is not finite, or too large for float16; or the file is damaged.
        """
        marks = np.zeros(self.num_rows, np.bool_)
        for start in range(0, self.num_rows, self._block_rows):
            values = self._read(start, min(start + self._block_rows, self.num_rows))
            with np.errstate(over="ignore"):
                stored = values.astype(np.float16)
            finite = np.isfinite(stored)
            if not finite.all():
                row, feature = (int(number) for number in np.argwhere(~finite)[0])
                value = float(values[row, feature])
                reason = (
                    f"float16 holds values up to {_LARGEST:.0f}; scale the features"
                    if np.isfinite(value)
                    else "values must be finite; mark rows that could not be had by zeros"
                )
                raise CorruptFeatureError(f"{self._place}: got {value} at row {start + row}: {reason}")
            marks[start : start + len(values)] = stored.any(axis=1)
        return marks

    def take(self, rows: NDArray[np.int64], out: NDArray[np.float16]) -> None:
        """Fill `out` ``(n, D)`` with the rows of these numbers, ``(n,)`` rising; zeros for the number -1."""
        for part in self._spans(rows):
            chosen = rows[part]
            held = chosen >= 0
            block = np.zeros(out[part].shape, np.float16)
            if held.any():
                first, last = int(chosen[held].min()), int(chosen[held].max())
                block[held] = self._read(first, last + 1)[chosen[held] - first].astype(np.float16)
            out[part] = block

    def _spans(self, rows: NDArray[np.int64]) -> Iterator[slice]:
        """Parts of `rows` whose rows lie within a block: a stream of a high rate is not read as a whole."""
        start = 0
        while start < len(rows):
            ahead = rows[start:]
            held = ahead[ahead >= 0]
            first = int(held[0]) if len(held) else 0
            beyond = np.flatnonzero(ahead >= first + self._block_rows)
            stop = start + int(beyond[0]) if len(beyond) else len(rows)
            yield slice(start, stop)
            start = stop

    def _read(self, start: int, stop: int) -> NDArray[np.floating]:
        with reading(self._place):
            return np.asarray(self._array[start:stop])
