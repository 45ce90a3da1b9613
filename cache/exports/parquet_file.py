"""A store as one Parquet file, a row per frame, for data frames and query engines.

Columns: ``clip_id``, ``frame`` (its number within the clip), the arrays beside the streams, and each stream
as a list of fixed size of half floats; a stream with views has a column for each (``visual_center``). The
file's key-value metadata has everything of the store but its rows under the key ``tagf``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from cache.atomic_file import make_directory, replacement_of
from cache.errors import CacheError
from cache.exports.export_index import ExportIndex
from cache.exports.exported_rows import ExportedRows
from cache.layout import ArrayLayout

# A reader holds whole row groups: this is what it has to have room for.
_ROW_GROUP_BYTES = 64 * 2**20
_MAX_ROW_GROUP_ROWS = 2**20
_METADATA_KEY = b"tagf"
_CLIP_ID = "clip_id"
_FRAME = "frame"


class _Column(NamedTuple):
    """One column of the file: an array of the store, or one view of it."""

    name: str
    layout: ArrayLayout
    view: int

    @property
    def type(self) -> pa.DataType:
        """Its type in Arrow."""
        item = pa.from_numpy_dtype(np.dtype(self.layout.dtype))
        trailing = self.layout.shape[self.layout.row_axis + 1 :]
        return pa.list_(pa.field("item", item, nullable=False), trailing[0]) if trailing else item


def write_parquet(
    rows: ExportedRows, index: ExportIndex, destination: Path, progress: Callable[[int], object]
) -> None:
    """Write the file, whole or not at all; see `cache.exports.hdf5_file.write_hdf5`.

    Raises:
        CacheError: A view's column would have the name of another column.
    """
    columns = list(_columns(rows, index))
    twice = [
        name for name, count in Counter([_CLIP_ID, _FRAME, *(c.name for c in columns)]).items() if count > 1
    ]
    if twice:
        raise CacheError(
            f"{destination}: a view and another array would share the column {twice[0]!r}; choose another "
            "format"
        )
    row_bytes = sum(column.layout.row_bytes for column in columns)
    step = min(max(_ROW_GROUP_BYTES // row_bytes, 1), _MAX_ROW_GROUP_ROWS)
    schema = pa.schema(
        [
            pa.field(_CLIP_ID, pa.string(), nullable=False),
            pa.field(_FRAME, pa.int64(), nullable=False),
            *(pa.field(column.name, column.type, nullable=False) for column in columns),
        ],
        metadata={_METADATA_KEY: index.to_json().encode()},
    )
    clip_ids = np.array([clip.key.clip_id for clip in index.clips], object)
    row_size = np.array([clip.num_frames for clip in index.clips], np.int64)
    row_stop = np.cumsum(row_size)
    make_directory(destination.absolute().parent)
    with (
        replacement_of(destination) as file,
        # Embeddings neither shrink nor repeat, and nobody asks for their least and greatest values.
        pq.ParquetWriter(
            file,
            schema,
            compression="none",
            use_dictionary=[_CLIP_ID],
            write_statistics=[_CLIP_ID, _FRAME, "time_s"],
        ) as writer,
    ):
        num_done = 0
        for start in range(0, rows.num_rows, step):
            stop = min(start + step, rows.num_rows)
            frames = np.arange(start, stop)
            clips = np.searchsorted(row_stop, frames, side="right")
            arrays = [
                pa.array(clip_ids[clips], pa.string()),
                pa.array(frames - (row_stop - row_size)[clips]),
                *(_arrow(rows.read(column.layout, start, stop, column.view), column) for column in columns),
            ]
            writer.write_table(pa.table(arrays, schema=schema), row_group_size=step)
            done = int(np.searchsorted(row_stop, stop, side="right"))
            progress(done - num_done)
            num_done = done
        progress(len(index.clips) - num_done)


def _columns(rows: ExportedRows, index: ExportIndex) -> Iterator[_Column]:
    """The columns, the streams last."""
    views = {stream.name: stream.views for stream in index.spec.streams}
    for layout in sorted(rows.layouts, key=lambda layout: layout.name in views):
        names = views.get(layout.name)
        if names is None:
            yield _Column(layout.name, layout, 0)
        for view, name in enumerate(names or ()):
            yield _Column(f"{layout.name}_{name}", layout, view)


def _arrow(values: NDArray[Any], column: _Column) -> pa.Array:
    flat = pa.array(values.reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, type=column.type) if values.ndim > 1 else flat
