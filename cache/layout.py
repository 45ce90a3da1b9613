"""The arrays of a packed store: names, dimensions, types and what they hold.

A store is one Zarr v3 group of flat arrays, a contiguous ragged array in the words of the CF conventions: the
rows of all clips one after another along ``frame``, and a table along ``clip`` whose ``row_size`` tells how
many rows each clip has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np

from cache.features import FRAME_ARRAYS
from cache.spec import FeatureSpec, StreamSpec

FORMAT_NAME = "tagf-feature-store"
FORMAT_VERSION = 1

# Inner chunks are what a reader fetches and what a checksum covers; shards are the objects. Without
# compression chunk i of a shard lies at i * (chunk_bytes + 4), so a shard can be mapped into memory as one
# strided array.
CHUNK_ROWS = 1024
SHARD_ROWS = 65536

CLIP_ID = "clip_id"
ROW_SIZE = "row_size"
CLIP_FACTS = "clip_facts"

_FRAME_ATTRIBUTES: Mapping[str, Mapping[str, str]] = {
    "time_s": {"long_name": "time of the frame on the container's timeline", "units": "s"},
    "source_frame": {"long_name": "index of the decoded picture in its video", "units": "1"},
    "face_found": {"long_name": "whether a face was found in the frame", "units": "1"},
    "audio_found": {"long_name": "whether decoded sound lies below the frame's audio example", "units": "1"},
    "face_box": {"long_name": "face in the decoded picture: x0, y0, x1, y1; 0 where none", "units": "pixel"},
    "face_score": {"long_name": "probability of the face by its detector; 0 where none", "units": "1"},
}


@dataclass(frozen=True, kw_only=True)
class ArrayLayout:
    """One array of the store.

    Attributes:
        name: Its name in the group.
        dtype: ``float16`` and so on, or ``string``.
        dimensions: Names of the dimensions.
        shape: Its shape.
        row_axis: The dimension that is cut into chunks and shards.
        attributes: ``long_name``, ``units`` and the like.
    """

    name: str
    dtype: str
    dimensions: tuple[str, ...]
    shape: tuple[int, ...]
    row_axis: int
    attributes: Mapping[str, object]

    def shape_of(self, rows: int) -> tuple[int, ...]:
        """Shape of so many rows: all views, all features."""
        return (*self.shape[: self.row_axis], rows, *self.shape[self.row_axis + 1 :])

    def block_of(self, rows: int) -> tuple[int, ...]:
        """Shape of a chunk or shard of so many rows: one view, all features."""
        return (*(1,) * self.row_axis, rows, *self.shape[self.row_axis + 1 :])

    def objects(self, rows: slice, shard_rows: int) -> list[str]:
        """Paths, relative to the store, of the shards that hold a range of rows."""
        if rows.stop <= rows.start:
            return []
        shards = range(rows.start // shard_rows, (rows.stop - 1) // shard_rows + 1)
        leading = [range(size) for size in self.shape[: self.row_axis]]
        trailing = [range(1)] * (len(self.shape) - self.row_axis - 1)
        return [
            "/".join([self.name, "c", *map(str, index)]) for index in product(*leading, shards, *trailing)
        ]


def stream_layout(stream: StreamSpec, num_frames: int) -> ArrayLayout:
    """Layout of one stream: ``(view, frame, NAME_feature)`` with views, ``(frame, NAME_feature)`` without."""
    rows = ("frame", f"{stream.name}_feature")
    views: dict[str, object] = {} if stream.views is None else {"views": list(stream.views)}
    return ArrayLayout(
        name=stream.name,
        dtype="float16",
        dimensions=rows if stream.views is None else ("view", *rows),
        shape=stream.shape(num_frames),
        row_axis=0 if stream.views is None else 1,
        attributes={"long_name": f"raw {stream.name} embedding", "units": "1", **views},
    )


def frame_layouts(spec: FeatureSpec, num_frames: int) -> tuple[ArrayLayout, ...]:
    """Layouts of every array with one row per frame, the streams first."""
    per_frame = [
        ArrayLayout(
            name=name,
            dtype=dtype.name,
            dimensions=("frame", *("box_edge",) * len(trailing)),
            shape=(num_frames, *trailing),
            row_axis=0,
            attributes=_FRAME_ATTRIBUTES[name],
        )
        for name, (dtype, trailing) in FRAME_ARRAYS.items()
    ]
    return (*(stream_layout(stream, num_frames) for stream in spec.streams), *per_frame)


def clip_layouts(num_clips: int) -> tuple[ArrayLayout, ...]:
    """Layouts of the table with one row per clip.

    The strings are Zarr's variable-length ``string``: it is in the registry of Zarr v3 extensions and read by
    zarr-python, xarray and others, while fixed-length strings are marked as unstable in zarr-python.
    """
    columns: tuple[tuple[str, str, Mapping[str, object]], ...] = (
        (CLIP_ID, "string", {"long_name": "name of the clip"}),
        (
            ROW_SIZE,
            np.dtype(np.int64).name,
            {"long_name": "number of frames of the clip", "units": "1", "sample_dimension": "frame"},
        ),
        (CLIP_FACTS, "string", {"long_name": "provenance of the clip, JSON"}),
    )
    return tuple(
        ArrayLayout(
            name=name,
            dtype=dtype,
            dimensions=("clip",),
            shape=(num_clips,),
            row_axis=0,
            attributes=attributes,
        )
        for name, dtype, attributes in columns
    )
