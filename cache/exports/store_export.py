"""One store into another format, whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cache.clip_table import clip_provenance
from cache.destination import check_outside_stores
from cache.errors import CacheError, StorageError
from cache.exports.clip_names import clip_names
from cache.exports.export_index import ExportedClip, ExportIndex
from cache.exports.exported_rows import ExportedRows
from cache.layout import CLIP_FACTS, frame_layouts
from cache.packed_store import PackedStore
from cache.store_writer import further_attributes

#: What `export_store` writes.
EXPORT_FORMATS = ("hdf5", "npy", "parquet")


def export_store(
    store: Path | str,
    destination: Path,
    format: str,
    *,
    progress: Callable[[int], object] | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> None:
    """Write a store out as one HDF5 file, a folder of npy files, or one Parquet file.

    Rows pass in blocks of a few megabytes, checked as every read of a store is.

    Args:
        store: Its path or URL.
        destination: The file or folder to write; nothing may lie there.
        format: One of `EXPORT_FORMATS`.
        progress: Called with 1 after each clip.
        storage_options: For fsspec's file system, where `store` is a URL of one.

    Raises:
        CacheError: Something lies at `destination`, or the store cannot be read.
        StorageError: The disk is full or not writable; nothing is left there.
    """
    if format not in EXPORT_FORMATS:
        raise ValueError(f"format must be one of {', '.join(EXPORT_FORMATS)}, got {format!r}")
    if destination.exists() or destination.is_symlink():
        raise CacheError(
            f"{destination}: expected nothing there, got something; remove it or choose another place"
        )
    check_outside_stores(destination)
    opened = PackedStore.open(store, storage_options)
    rows, index = ExportedRows(opened), _index_of(opened)
    report = progress or (lambda num_clips: None)
    try:
        # Each library is loaded for its own format alone.
        if format == "hdf5":
            from cache.exports.hdf5_file import write_hdf5

            write_hdf5(rows, index, destination, report)
        elif format == "npy":
            from cache.exports.npy_folder import write_npy_folder

            write_npy_folder(rows, index, destination, report)
        else:
            from cache.exports.parquet_file import write_parquet

            write_parquet(rows, index, destination, report)
    except OSError as error:
        raise StorageError(
            f"cannot write the export {destination}: {error.strerror or error}; nothing was left there, free "
            "space or choose another place"
        ) from error


def _index_of(store: PackedStore) -> ExportIndex:
    """Everything of a store but its rows; the digests of the rows are not known yet."""
    provenances = [
        clip_provenance(text, f"{store.name}: clip {clip!r}")
        for clip, text in zip(store.clip_ids, store.column(CLIP_FACTS), strict=True)
    ]
    chunk_rows = store.grids["time_s"].chunk_rows
    layouts = frame_layouts(store.spec, store.num_frames)
    is_usual = all(store.grids[each.name].shard_rows == each.shard_rows(chunk_rows) for each in layouts)
    return ExportIndex(
        spec=store.spec,
        attributes=further_attributes(store.attributes, store.spec),
        chunk_rows=chunk_rows,
        shard_rows=None if is_usual else store.grids["time_s"].shard_rows,
        digest=store.digest,
        clips=tuple(
            ExportedClip(
                name=name,
                key=key,
                facts=facts,
                num_frames=int(num_frames),
                sha256={},
            )
            for name, (key, facts), num_frames in zip(
                clip_names(store.clip_ids), provenances, store.row_size, strict=True
            )
        ),
    )
