"""The arrays of a packed store: names, dimensions, types and what they hold.

A store is one Zarr v3 group of flat arrays, a contiguous ragged array in the words of the CF conventions: the
rows of all clips one after another along ``frame``, and a table along ``clip`` whose ``row_size`` tells how
many rows each clip has.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cache.features import FRAME_ARRAYS
from cache.spec import FeatureSpec, StreamSpec

FORMAT_NAME = "tagf-feature-store"
FORMAT_VERSION = 2

# Inner chunks are what a reader fetches and what a checksum covers; shards are the objects. Without
# compression chunk i of a shard lies at i * (chunk_bytes + 4), so a shard can be mapped into memory as one
# strided array.
CHUNK_ROWS = 1024
# Shards are cut by bytes, so that a million rows make few objects, however narrow their arrays are, and none
# that is unwieldy to copy, to push or to lose.
SHARD_BYTES = 256 * 2**20
MAX_SHARD_ROWS = 2**20
# A CRC32C follows each chunk, and each shard's index.
CHECKSUM_BYTES = 4
# Offset and length, in a shard's index, of a chunk that is absent.
ABSENT = 2**64 - 1
# Strings have no fixed size. This is above what a clip's provenance takes: a shard of them, which zarr holds
# in memory while it writes it, has 65,536 clips.
_STRING_BYTES = 4096

CLIP_ID = "clip_id"
ROW_SIZE = "row_size"
MEDIA_SHA256 = "media_sha256"
FACE_SHARE = "face_share"
AUDIO_S = "audio_s"
CLIP_FACTS = "clip_facts"

VIEW = "view"
BOX_EDGE = "box_edge"
BOX_EDGES = ("x0", "y0", "x1", "y1")

_STRING = "string"
_INT64 = np.dtype(np.int64).name
_FLOAT64 = np.dtype(np.float64).name

# In the CF conventions a variable names its auxiliary coordinates.
_AT_TIME: Mapping[str, str] = {"coordinates": "time_s"}

_FRAME_ATTRIBUTES: Mapping[str, Mapping[str, str]] = {
    # "s" and not "seconds": xarray decodes the latter into numpy's durations.
    "time_s": {"long_name": "time of the frame on the container's timeline", "units": "s"},
    "source_frame": {"long_name": "index of the decoded picture in its video", "units": "1", **_AT_TIME},
    "face_found": {"long_name": "whether a face was found in the frame", "units": "1", **_AT_TIME},
    "audio_found": {
        "long_name": "whether decoded sound lies below the frame's audio example",
        "units": "1",
        **_AT_TIME,
    },
    "face_box": {
        "long_name": "face in the decoded picture: x0, y0, x1, y1; 0 where none",
        "units": "pixel",
        **_AT_TIME,
    },
    "face_score": {
        "long_name": "probability of the face by its detector; 0 where none",
        "units": "1",
        **_AT_TIME,
    },
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

    @property
    def is_text(self) -> bool:
        """Whether it holds strings, whose chunks have no fixed size."""
        return self.dtype == _STRING

    @property
    def num_views(self) -> int:
        """Number of rows' series: the views, 1 for an array without."""
        return math.prod(self.shape[: self.row_axis])

    @property
    def row_bytes(self) -> int:
        """Bytes of one row of one view; for strings what is reckoned with."""
        item_bytes = _STRING_BYTES if self.is_text else np.dtype(self.dtype).itemsize
        return item_bytes * math.prod(self.shape[self.row_axis + 1 :])

    def shape_of(self, rows: int) -> tuple[int, ...]:
        """Shape of so many rows: all views, all features."""
        return (*self.shape[: self.row_axis], rows, *self.shape[self.row_axis + 1 :])

    def block_of(self, rows: int) -> tuple[int, ...]:
        """Shape of a chunk or shard of so many rows: one view, all features."""
        return (*(1,) * self.row_axis, rows, *self.shape[self.row_axis + 1 :])

    def shard_rows(self, chunk_rows: int = CHUNK_ROWS) -> int:
        """Rows per shard: a power of two times `chunk_rows`, of at most `SHARD_BYTES` and `MAX_SHARD_ROWS`.

        At least one chunk, however large that is.
        """
        chunks = min(SHARD_BYTES // (self.row_bytes * chunk_rows), MAX_SHARD_ROWS // chunk_rows)
        return chunk_rows << max(chunks.bit_length() - 1, 0)

    def object_path(self, view: int, shard: int) -> str:
        """Path, relative to the store, of one shard of one view."""
        return object_path(self.name, self.row_axis, len(self.shape), view, shard)


def object_path(array: str, row_axis: int, num_axes: int, view: int, shard: int) -> str:
    """Path, relative to the store, of one shard of one view of an array that is cut along its rows alone."""
    return "/".join([array, "c", *[str(view)] * row_axis, str(shard), *["0"] * (num_axes - row_axis - 1)])


def stream_layout(stream: StreamSpec, num_frames: int) -> ArrayLayout:
    """Layout of one stream: ``(view, frame, NAME_feature)`` with views, ``(frame, NAME_feature)`` without."""
    rows = ("frame", f"{stream.name}_feature")
    return ArrayLayout(
        name=stream.name,
        dtype="float16",
        dimensions=rows if stream.views is None else (VIEW, *rows),
        shape=stream.shape(num_frames),
        row_axis=0 if stream.views is None else 1,
        attributes={"long_name": f"raw {stream.name} embedding", "units": "1", **_AT_TIME},
    )


def frame_layouts(spec: FeatureSpec, num_frames: int) -> tuple[ArrayLayout, ...]:
    """Layouts of every array with one row per frame, the streams first."""
    per_frame = [
        ArrayLayout(
            name=name,
            dtype=dtype.name,
            dimensions=("frame", *(BOX_EDGE,) * len(trailing)),
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
        (CLIP_ID, _STRING, {"long_name": "name of the clip", "cf_role": "timeseries_id"}),
        (
            ROW_SIZE,
            _INT64,
            {"long_name": "number of frames of the clip", "units": "1", "sample_dimension": "frame"},
        ),
        (MEDIA_SHA256, _STRING, {"long_name": "SHA-256 of the clip's media file"}),
        (FACE_SHARE, _FLOAT64, {"long_name": "share of the clip's frames with a face", "units": "1"}),
        (AUDIO_S, _FLOAT64, {"long_name": "time of the clip that has decoded sound", "units": "s"}),
        (CLIP_FACTS, _STRING, {"long_name": "provenance of the clip, JSON"}),
    )
    return tuple(_column(name, dtype, "clip", num_clips, attributes) for name, dtype, attributes in columns)


def coordinates(spec: FeatureSpec) -> tuple[tuple[ArrayLayout, tuple[str, ...]], ...]:
    """Layouts and values of the names along ``view`` and ``box_edge``; no views without a visual stream."""
    views = [stream.views for stream in spec.streams if stream.views is not None]
    named = [
        *((VIEW, names, "view of the face: which flip or crop of it was embedded") for names in views),
        (BOX_EDGE, BOX_EDGES, "edge of the face's box: left, top, right, bottom"),
    ]
    return tuple(
        (_column(name, _STRING, name, len(values), {"long_name": meaning}), values)
        for name, values, meaning in named
    )


def _column(
    name: str, dtype: str, dimension: str, size: int, attributes: Mapping[str, object]
) -> ArrayLayout:
    return ArrayLayout(
        name=name, dtype=dtype, dimensions=(dimension,), shape=(size,), row_axis=0, attributes=attributes
    )
