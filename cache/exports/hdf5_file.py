"""A store as one HDF5 file.

::

    /                    attributes: format, format_version, fingerprint
    /index               everything of the store but its rows, JSON (`cache.exports.export_index`)
    /clips/NAME          one group per clip; NAME is its id, percent-encoded where it has to be
    /clips/NAME/visual   (V, N, D), /clips/NAME/time_s (N,), and so on: contiguous, not compressed
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py

from cache.atomic_file import make_directory, replacement_of
from cache.exports.export_index import EXPORT_FORMAT, EXPORT_VERSION, ExportIndex
from cache.exports.exported_rows import ExportedRows

INDEX = "index"
CLIPS = "clips"


def write_hdf5(
    rows: ExportedRows, index: ExportIndex, destination: Path, progress: Callable[[int], object]
) -> None:
    """Write the file, whole or not at all.

    Args:
        rows: The store's rows.
        index: The rest.
        destination: The file.
        progress: Called with 1 after each clip.

    Raises:
        OSError: The disk is full or not writable.
    """
    make_directory(destination.absolute().parent)
    with replacement_of(destination) as place, open(place.name, "r+b", buffering=0) as raw:
        disk = _PatientFile(raw)
        with h5py.File(disk, "w") as file:
            _write_file(rows, index, file, disk, progress)
        disk.check()


class _PatientFile:
    """What HDF5 writes to: remembers an error of the disk, and lets HDF5 end in peace.

    HDF5 that is told of an error cannot close its file any more, and the process crashes at its end, if not
    before. So it is told of none; whoever writes asks `check` after each block instead.

    Args:
        raw: The file, unbuffered.
    """

    def __init__(self, raw: io.FileIO) -> None:
        self._raw = raw
        self._error: OSError | None = None

    def check(self) -> None:
        """Raise the error that there was, if there was one."""
        if self._error is not None:
            raise self._error

    def write(self, data: memoryview) -> int:
        """Write everything, or nothing after an error."""
        rest = memoryview(data).cast("B")
        while rest and self._error is None:
            try:
                rest = rest[self._raw.write(rest) :]
            except OSError as error:
                self._error = error
        return len(data)

    def truncate(self, size: int) -> int:
        """Set the file's length, if there was no error."""
        if self._error is None:
            try:
                return self._raw.truncate(size)
            except OSError as error:
                self._error = error
        return size

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """As every file."""
        return self._raw.seek(offset, whence)

    def tell(self) -> int:
        """As every file."""
        return self._raw.tell()

    def read(self, size: int = -1) -> bytes:
        """As every file."""
        return self._raw.read(size) or b""

    def readinto(self, buffer: memoryview) -> int:
        """As every file."""
        return self._raw.readinto(buffer) or 0

    def flush(self) -> None:
        """Nothing is held back."""


def _write_file(
    rows: ExportedRows,
    index: ExportIndex,
    file: Any,
    disk: _PatientFile,
    progress: Callable[[int], object],
) -> None:
    file.attrs["format"] = EXPORT_FORMAT
    file.attrs["format_version"] = EXPORT_VERSION
    file.attrs["fingerprint"] = index.spec.fingerprint
    clips = file.create_group(CLIPS)
    digests = []
    for number, clip in enumerate(index.clips):
        digests.append(_write_clip(rows, number, clips.create_group(clip.name), disk))
        progress(1)
    document = index.with_digests(digests).to_json()
    file.create_dataset(INDEX, data=document, dtype=h5py.string_dtype("ascii"))


def _write_clip(rows: ExportedRows, clip: int, group: Any, disk: _PatientFile) -> dict[str, str]:
    """Write a clip's arrays; the SHA-256 of each."""
    digests = {}
    for layout in rows.layouts:
        num_frames = rows.num_frames(clip)
        dataset = group.create_dataset(layout.name, layout.shape_of(num_frames), layout.dtype)
        for name in ("long_name", "units"):
            if name in layout.attributes:
                dataset.attrs[name] = layout.attributes[name]
        digest = hashlib.sha256()
        for view, start, block in rows.blocks(layout, clip, digest):
            stop = start + len(block)
            dataset[(*(view,) * layout.row_axis, slice(start, stop))] = block
            disk.check()
        digests[layout.name] = digest.hexdigest()
    return digests
