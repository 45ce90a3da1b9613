"""What zarr writes of a new store: the group, every array's metadata, the table of clips, the coordinates.

The rows' shards are written beforehand, by `cache.shard_writer`; how many rows there are is known only then.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np

from cache.clip_table import ClipTable
from cache.layout import ArrayLayout, clip_layouts, coordinates, frame_layouts
from cache.spec import FeatureSpec


def write_metadata(
    directory: Path,
    spec: FeatureSpec,
    table: ClipTable,
    attributes: Mapping[str, Any],
    *,
    chunk_rows: int,
    shard_rows: int | None,
) -> None:
    """Make a store of a directory that has the shards of all rows.

    Args:
        directory: The store.
        spec: Its streams.
        table: Its clips.
        attributes: Of the group.
        chunk_rows: Rows per inner chunk.
        shard_rows: Rows per shard; by default what `ArrayLayout.shard_rows` says.

    Raises:
        OSError: The disk is full or not writable.
    """
    import zarr  # a quarter of a second, for packing alone
    from zarr.storage import LocalStore

    group = zarr.create_group(LocalStore(directory), zarr_format=3, attributes=dict(attributes))
    columns = dict(table.columns())
    layouts = [*frame_layouts(spec, table.num_frames), *clip_layouts(len(table))]
    for layout, names in coordinates(spec):
        layouts.append(layout)
        columns[layout.name] = np.array(names, np.dtypes.StringDType())
    for layout in layouts:
        rows = shard_rows or layout.shard_rows(chunk_rows)
        array = _create_array(group, layout, chunk_rows, rows)
        if layout.name in columns:
            for start in range(0, len(columns[layout.name]), rows):
                array[start : start + rows] = columns[layout.name][start : start + rows]


def _create_array(group: Any, layout: ArrayLayout, chunk_rows: int, shard_rows: int) -> Any:
    from zarr.codecs import BytesCodec, Crc32cCodec

    return group.create_array(
        layout.name,
        shape=layout.shape,
        dtype=layout.dtype,
        chunks=layout.block_of(chunk_rows),
        shards=layout.block_of(shard_rows),
        filters=None,
        # Strings have a serializer of their own, bytes of variable length with their lengths before them.
        serializer="auto" if layout.is_text else BytesCodec(endian="little"),
        compressors=[Crc32cCodec()],
        fill_value="" if layout.is_text else 0,
        attributes=cast("dict[str, Any]", dict(layout.attributes)),
        dimension_names=layout.dimensions,
        config={"write_empty_chunks": True},
    )
