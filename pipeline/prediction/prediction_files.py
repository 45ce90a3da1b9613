"""Files that grow while a clip is predicted, and that bear their names only when they are complete.

    NAME.csv.partial    rows so far, readable while the rest is computed
    NAME.csv            all rows

A run that is killed leaves partial files, which the next one writes anew.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Literal, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cache.atomic_file import sync
from cache.errors import StorageError
from pipeline.prediction.predicted_rows import PredictedRows
from pipeline.prediction.prediction_table import PredictionTable

TableFormat = Literal["csv", "parquet"]
PARTIAL_SUFFIX = ".partial"

# Rows of a row group: large enough to compress, small enough to be written soon.
_ROWS_PER_GROUP = 4096


class RowFile(Protocol):
    """Takes in a clip's rows, block by block."""

    def add(self, rows: PredictedRows) -> None:
        """The next rows.

        Raises:
            StorageError: The disk is full or not writable.
        """
        ...

    def finish(self) -> None:
        """Complete the file, there being no further rows, and close it.

        Raises:
            StorageError: The disk is full or not writable.
        """
        ...

    def commit(self) -> None:
        """Give the finished file its name.

        Raises:
            StorageError: The disk is not writable.
        """
        ...

    def discard(self) -> None:
        """Remove what was written, if it was not committed."""
        ...


class PartialFile:
    """A file under the name `PATH.partial`, until it is committed.

    Args:
        path: Its name when it is complete.

    Raises:
        StorageError: It cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._partial = path.with_name(path.name + PARTIAL_SUFFIX)
        with self.guarded():
            self.file: BinaryIO = self._partial.open("w+b")

    def finish(self) -> None:
        """Flush the file to the disk and close it.

        Raises:
            StorageError: The disk is full or not writable.
        """
        with self.guarded():
            self.file.flush()
            os.fsync(self.file.fileno())
            self.file.close()

    def commit(self) -> None:
        """Give the finished file its name.

        Raises:
            StorageError: The disk is not writable.
        """
        with self.guarded():
            self._partial.replace(self.path)
            sync(self.path.parent)

    def discard(self) -> None:
        """Remove the file, if it was not committed."""
        with suppress(OSError):  # a full disk does not take the rest of what is given up, either
            self.file.close()
        self._partial.unlink(missing_ok=True)

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Errors of the system become ours, which no other clip would survive either."""
        try:
            yield
        except OSError as error:
            raise StorageError(
                f"{self.path} cannot be written ({error.strerror or error}); free space there or choose "
                "another --out"
            ) from error


class CsvFile:
    """Rows as CSV in UTF-8; numbers have as many digits as tell them from their neighbours, in their type.

    Args:
        path: The file.
        table: Makes the columns.
        media: The media file.
    """

    def __init__(self, path: Path, table: PredictionTable, media: Path | None = None) -> None:
        self._table, self._media = table, media
        self._file = PartialFile(path)
        self._write([table.schema.names])

    def add(self, rows: PredictedRows) -> None:
        """As `RowFile.add`; the rows are in the file at once."""
        table = self._table.of_rows(rows, self._media)
        self._write(zip(*map(_texts, table.itercolumns()), strict=True))

    def finish(self) -> None:
        """As `RowFile.finish`."""
        self._file.finish()

    def commit(self) -> None:
        """As `RowFile.commit`."""
        self._file.commit()

    def discard(self) -> None:
        """As `RowFile.discard`."""
        self._file.discard()

    def _write(self, lines: object) -> None:
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows(lines)  # type: ignore[arg-type]
        with self._file.guarded():
            self._file.file.write(text.getvalue().encode())
            self._file.file.flush()


class ParquetFile:
    """Rows as Parquet; the same rows give the same bytes, in whatever blocks they come.

    Args:
        path: The file.
        table: Makes the columns.
        media: The media file.
    """

    def __init__(self, path: Path, table: PredictionTable, media: Path | None = None) -> None:
        self._table, self._media = table, media
        self._file = PartialFile(path)
        self._writer = pq.ParquetWriter(self._file.file, table.schema)
        self._waiting = table.schema.empty_table()

    def add(self, rows: PredictedRows) -> None:
        """As `RowFile.add`; whole groups of rows are written at once."""
        self._waiting = pa.concat_tables([self._waiting, self._table.of_rows(rows, self._media)])
        while len(self._waiting) >= _ROWS_PER_GROUP:
            self._write(self._waiting.slice(0, _ROWS_PER_GROUP))
            self._waiting = self._waiting.slice(_ROWS_PER_GROUP)

    def finish(self) -> None:
        """As `RowFile.finish`."""
        if len(self._waiting):
            self._write(self._waiting)
        with self._file.guarded():
            self._writer.close()
        self._file.finish()

    def commit(self) -> None:
        """As `RowFile.commit`."""
        self._file.commit()

    def discard(self) -> None:
        """As `RowFile.discard`."""
        # Else it would close itself when it is collected, into a file that is closed.
        with suppress(OSError, ValueError):
            self._writer.close()
        self._file.discard()

    def _write(self, table: pa.Table) -> None:
        with self._file.guarded():
            # In one piece, or the bytes would tell of the blocks.
            self._writer.write_table(table.combine_chunks(), row_group_size=_ROWS_PER_GROUP)
            self._file.file.flush()


def table_file(
    path: Path, table_format: TableFormat, table: PredictionTable, media: Path | None = None
) -> RowFile:
    """A table's file in one of its formats.

    Args:
        path: The file.
        table_format: `csv` or `parquet`.
        table: Makes the columns.
        media: The media file, for py-feat's column `input`.
    """
    kind = CsvFile if table_format == "csv" else ParquetFile
    return kind(path, table, media)


def _texts(column: pa.ChunkedArray) -> list[str | None]:
    """A column's cells; None, which the file shows as nothing, where there is no value."""
    if pa.types.is_boolean(column.type):
        return [str(value) for value in column.to_pylist()]
    # Arrow gives float32 the shortest text that is read back as the same float32; Python knows float64 alone.
    texts: list[str | None] = pc.cast(column, pa.string()).to_pylist()
    return texts
