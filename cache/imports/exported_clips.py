"""The store that an export was made from, made again: the same bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from cache.canonical_json import Json
from cache.errors import CacheError, CorruptFeatureError
from cache.exports.export_index import EXPORT_FORMAT, ExportedClip, ExportIndex
from cache.exports.hdf5_file import CLIPS, INDEX
from cache.exports.npy_folder import INDEX_FILE
from cache.imports.array_place import ArrayPlace, RowArray, reading
from cache.imports.foreign_files import HDF5_SUFFIXES
from cache.layout import ArrayLayout, frame_layouts
from cache.location import RECORD_PATH
from cache.parts import ClipKey
from cache.record import CompletionRecord
from cache.store_writer import write_store

_HDF5_BEGIN = b"\x89HDF\r\n\x1a\n"
_PARQUET_BEGIN = b"PAR1"


def export_format(source: Path) -> str | None:
    """Of which format an export is, ``hdf5`` or ``npy``; None for the files of another toolkit.

    Raises:
        CacheError: Nothing is there, or what this program wrote otherwise.
        CorruptFeatureError: An HDF5 file cannot be read.
    """
    if source.is_dir():
        if (source / RECORD_PATH).is_file():
            raise CacheError(
                f"{source} is a feature store already, which needs no import; 'tagf cache merge' joins stores"
            )
        return "npy" if (source / INDEX_FILE).is_file() else None
    with reading(source), source.open("rb") as raw:
        begin = raw.read(len(_HDF5_BEGIN))
    if begin.startswith(_PARQUET_BEGIN):
        raise CacheError(
            f"{source} is a Parquet file, which is not imported; export the store again as hdf5 or npy"
        )
    if begin != _HDF5_BEGIN and source.suffix.lower() not in HDF5_SUFFIXES:
        return None
    with reading(source), h5py.File(source, "r") as file:
        return "hdf5" if file.attrs.get("format") == EXPORT_FORMAT else None


def import_export(
    source: Path,
    destination: Path,
    *,
    progress: Callable[[int], object] | None = None,
    total: Callable[[int], object] | None = None,
) -> tuple[CompletionRecord, str]:
    """Make the store again that an HDF5 or npy export was made from.

    Rows are compared with the digests that the export carries.

    Args:
        source: The file, or the folder.
        destination: The store to write.
        progress: Called with 1 after each clip.
        total: Called once, with the number of clips.

    Returns:
        The new store's record, and the digest of the store that was exported: the same, unless one of the two
        was written by another version of the program.

    Raises:
        StoreFormatError: `source` is no export, or something else lies at `destination`.
        CorruptFeatureError: The export was changed or is damaged.
        StorageError: The disk is full or not writable; what lay at `destination` is as it was.
    """
    index = _read_index(source)
    if total is not None:
        total(len(index.clips))
    record = write_store(
        _clips(source, index),
        index.spec,
        destination,
        attributes=index.attributes,
        progress=progress,
        chunk_rows=index.chunk_rows,
        shard_rows=index.shard_rows,
    )
    return record, index.digest


def _read_index(source: Path) -> ExportIndex:
    if source.is_dir():
        path = source / INDEX_FILE
        with reading(path):
            return ExportIndex.from_json(path.read_bytes(), where=str(path))
    with reading(source), h5py.File(source, "r") as file:
        return ExportIndex.from_json(file[INDEX].asstr()[()], where=str(source))


def _clips(source: Path, index: ExportIndex) -> Iterator[_ExportedClipRows]:
    layouts = {layout.name: layout for layout in frame_layouts(index.spec, 0)}
    with ExitStack() as stack:
        if not source.is_dir():
            # Kept open over all clips; the arrays are opened in it again, which costs little then.
            with reading(source):
                stack.enter_context(h5py.File(source, "r"))
        for clip in index.clips:
            yield _ExportedClipRows(source, clip, layouts)


class _ExportedClipRows:
    """One clip of an export on its way into a store."""

    def __init__(self, source: Path, clip: ExportedClip, layouts: Mapping[str, ArrayLayout]) -> None:
        self.key: ClipKey = clip.key
        self.facts: Mapping[str, Json] = clip.facts
        self.num_frames: int = clip.num_frames
        self._source = source
        self._clip = clip
        self._layouts = layouts
        self._stack = ExitStack()
        self._array: RowArray | None = None
        self._digest = hashlib.sha256()

    def read_into(self, array: str, view: int, start: int, out: NDArray[Any]) -> None:
        """See `cache.row_source.RowSource.read_into`."""
        layout = self._layouts[array]
        place = self._place(array)
        if not view and not start:
            self._open(layout, place)
        assert self._array is not None
        with reading(place):
            stop = start + len(out)
            out[...] = self._array[(*(view,) * layout.row_axis, slice(start, stop))]
        self._digest.update(out.data)
        if view == layout.num_views - 1 and stop == self.num_frames:
            if self._digest.hexdigest() != self._clip.sha256.get(array):
                raise CorruptFeatureError(
                    f"{place}: clip {self.key.clip_id!r} was changed since it was exported, or is damaged: "
                    "its rows do not fit their digest; export the store again"
                )
            self.close()

    def close(self) -> None:
        """Close what is open."""
        self._array = None
        self._stack.close()

    def _open(self, layout: ArrayLayout, place: ArrayPlace) -> None:
        self.close()
        self._digest = hashlib.sha256()
        array = self._stack.enter_context(place.opened())
        wanted = np.dtype(layout.dtype), layout.shape_of(self.num_frames)
        if (array.dtype, tuple(array.shape)) != wanted:
            raise CorruptFeatureError(
                f"{place}: clip {self.key.clip_id!r} was changed since it was exported: expected {wanted[0]} "
                f"of shape {wanted[1]}, got {array.dtype} of shape {array.shape}"
            )
        self._array = array

    def _place(self, array: str) -> ArrayPlace:
        if self._source.is_dir():
            return ArrayPlace(file=self._source / array / f"{self._clip.name}.npy")
        return ArrayPlace(file=self._source, dataset=f"{CLIPS}/{self._clip.name}/{array}")
