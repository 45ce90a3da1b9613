"""The arrays of a part: where their rows lie, and how they are checked while they are read.

A part says of each array its type, its shape and a CRC32C of each view's rows. Parts of before gave no more
than the arrays' names: those are told by their npy headers and checked by zip's CRC-32, which takes six times
as long.
"""

from __future__ import annotations

import io
import math
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from cache.canonical_json import Json

# Of a zip member's own header: what it begins with, then the lengths of its name and its extra field.
_LOCAL_HEADER = struct.Struct("<4s22xHH")
# The header of an npy file, which numpy makes 128 bytes long for any array of a part.
_NPY_HEADER_BYTES = 1024

# A checksum, further bytes -> the checksum of all.
Extend: TypeAlias = "Callable[[int, NDArray[np.uint8]], int]"


class PartArray:
    """One array of a part, read from its first row to its last.

    Args:
        name: What messages call it.
        dtype: Of its values.
        shape: ``(V, N, D)`` or ``(N, ...)``.
        offset: Of its first row in the file.
        extend: Takes bytes into a checksum.
        checksums: Of all rows, or of each view's, in their order.
        start: The checksum of what is before the first row.

    Attributes:
        num_rows: N.
        row_shape: What follows N.
        row_bytes: Bytes of a row.
        done_bytes: How much of the rows was read.

    Raises:
        ValueError: An array without a row does not fit its checksum.
    """

    def __init__(
        self,
        name: str,
        dtype: np.dtype[Any],
        shape: tuple[int, ...],
        offset: int,
        *,
        extend: Extend,
        checksums: Sequence[int],
        start: int = 0,
    ) -> None:
        row_axis = 1 if len(shape) == 3 else 0
        self.name = name
        self.dtype = dtype
        self.shape = shape
        self.offset = offset
        self.num_rows = shape[row_axis]
        self.row_shape = shape[row_axis + 1 :]
        self.row_bytes = dtype.itemsize * math.prod(self.row_shape)
        self.done_bytes = 0
        self._extend = extend
        self._checksums = checksums
        self._checksum = start
        self._section_bytes = dtype.itemsize * math.prod(shape) // len(checksums)
        if not self._section_bytes:
            self._compare(0)

    def take(self, piece: NDArray[np.uint8]) -> None:
        """Take the bytes that were read next into the checksum, and compare it where it ends.

        Raises:
            ValueError: They are not what was written.
        """
        self._checksum = self._extend(self._checksum, piece)
        self.done_bytes += len(piece)
        section, rest = divmod(self.done_bytes, self._section_bytes)
        if not rest:
            self._compare(section - 1)
            self._checksum = 0

    def _compare(self, section: int) -> None:
        if self._checksum != self._checksums[section]:
            raise ValueError(f"{self.name} does not fit its checksum")


def npy_header(dtype: np.dtype[Any], shape: Sequence[int]) -> bytes:
    """What an array's member begins with."""
    header = io.BytesIO()
    content = {
        "descr": np.lib.format.dtype_to_descr(dtype),
        "fortran_order": False,
        "shape": tuple(shape),
    }
    np.lib.format.write_array_header_1_0(header, content)
    return header.getvalue()


def description_of(dtype: np.dtype[Any], shape: Sequence[int], checksums: Sequence[int]) -> dict[str, Json]:
    """What a part says of an array, JSON.

    Args:
        dtype: Of its values.
        shape: Its shape.
        checksums: CRC32C of each view's rows, or of all rows of an array without views.
    """
    return {
        "crc32c": list(checksums),
        "dtype": dtype.str,
        "header_crc32c": google_crc32c.value(npy_header(dtype, shape)),
        "shape": list(shape),
    }


def described_array(descriptor: int, member: zipfile.ZipInfo, description: Mapping[str, Any]) -> PartArray:
    """An array of which the part says more than its name.

    Args:
        descriptor: The open part.
        member: The array's member.
        description: From `description_of`.

    Raises:
        ValueError: The member is damaged.
    """
    dtype, shape = np.dtype(description["dtype"]), tuple(description["shape"])
    header_bytes = member.file_size - dtype.itemsize * math.prod(shape)
    num_views = shape[0] if len(shape) == 3 else 1
    if (
        not 0 <= header_bytes <= _NPY_HEADER_BYTES
        or min(shape) < 0
        or len(description["crc32c"]) != num_views
    ):
        raise ValueError(f"{member.filename} is not what is said of it")
    offset = _content_offset(descriptor, member)
    # Nothing is taken from the header, but what is damaged is to be told.
    header = os.pread(descriptor, header_bytes, offset)
    if google_crc32c.value(header) != description["header_crc32c"]:
        raise ValueError(f"the header of {member.filename} does not fit its checksum")
    return PartArray(
        member.filename,
        dtype,
        shape,
        offset + header_bytes,
        extend=google_crc32c.extend,
        checksums=description["crc32c"],
    )


def plain_array(descriptor: int, member: zipfile.ZipInfo) -> PartArray:
    """An array of which the part says its name alone.

    Args:
        descriptor: The open part.
        member: The array's member.

    Raises:
        ValueError: The member is damaged.
    """
    offset = _content_offset(descriptor, member)
    file = io.BytesIO(os.pread(descriptor, _NPY_HEADER_BYTES, offset))
    np.lib.format.read_magic(file)
    shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
    header = file.getvalue()[: file.tell()]
    fits = member.file_size == len(header) + dtype.itemsize * math.prod(shape)
    if fortran_order or dtype.hasobject or not fits:
        raise ValueError(f"the header of {member.filename} does not fit its data")
    return PartArray(
        member.filename,
        dtype,
        shape,
        offset + len(header),
        extend=lambda checksum, piece: zlib.crc32(piece.data, checksum),
        checksums=[member.CRC],
        start=zlib.crc32(header),
    )


def _content_offset(descriptor: int, member: zipfile.ZipInfo) -> int:
    """Where a member's npy file begins."""
    name = member.filename.encode()
    header = os.pread(descriptor, _LOCAL_HEADER.size + len(name), member.header_offset)
    signature, name_bytes, extra_bytes = _LOCAL_HEADER.unpack_from(header)
    is_whole = member.compress_type == zipfile.ZIP_STORED and member.compress_size == member.file_size
    if signature != b"PK\3\4" or header[_LOCAL_HEADER.size :] != name or not is_whole:
        raise ValueError(f"{member.filename} is not where the list of members says, or not as it says")
    return int(member.header_offset) + _LOCAL_HEADER.size + int(name_bytes) + int(extra_bytes)
