"""One part, read piece by piece into arrays that are given.

Python's zipfile reads the list of members and the JSON ones. Rows are read straight from the file into where
they are wanted, with a running checksum that is compared at the end of each array, or of each of its views:
a part of any size takes no memory.
"""

from __future__ import annotations

import errno
import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cache.canonical_json import Json
from cache.errors import CorruptFeatureError, UnknownClipError
from cache.features import FRAME_ARRAYS, ClipFeatures
from cache.part_arrays import PartArray, described_array, plain_array
from cache.part_writer import ARRAYS_MEMBER, FACTS_MEMBER, KEY_MEMBER, STREAM_PREFIX

if TYPE_CHECKING:
    from cache.parts import ClipKey

# What damaged rows, and descriptions of them that make no sense, end in. Anything else is a mistake of this
# program, and not to be called damage.
_DAMAGED_ROWS = (ValueError, ArithmeticError, LookupError, OSError)

# So much is read before its checksum is taken: it is still in the processor's cache then.
_PIECE_BYTES = 256 * 2**10


class PartReader:
    """A part that is open for reading; a context manager.

    Args:
        path: The file.
        key: Whose part it has to be.

    Attributes:
        key: The same.
        facts: Provenance of the clip.

    Raises:
        UnknownClipError: There is no such part.
        CorruptFeatureError: The file is damaged, or holds another part.
    """

    def __init__(self, path: Path, key: ClipKey) -> None:
        self.key = key
        self._path = path
        self._arrays: dict[str, PartArray] = {}
        # A damaged list of members shows as any of a dozen errors (BadZipFile, EOFError, NotImplementedError
        # for a flipped compression method, RuntimeError for a flipped encryption bit, ...).
        with self._reading(Exception):
            self._file = path.open("rb")
            try:
                with zipfile.ZipFile(self._file) as archive:
                    self._members = {member.filename: member for member in archive.infolist()}
                    self.facts = _checked_facts(archive, key)
                    # A list of our own, which has a checksum as all members have: zip's list of names has
                    # none, and a flipped bit in it can make members vanish. Parts of before have names alone.
                    self._contents: dict[str, Any] | list[str] = _member_json(archive, ARRAYS_MEMBER)
            except BaseException:
                self._file.close()
                raise

    def __enter__(self) -> PartReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def num_frames(self) -> int:
        """Number of rows.

        Raises:
            CorruptFeatureError: The file is damaged.
        """
        return self._array("time_s").shape[0]

    @cached_property
    def streams(self) -> Mapping[str, tuple[int, ...]]:
        """Shape of each stream.

        Raises:
            CorruptFeatureError: The file is damaged.
        """
        with self._reading(Exception):
            names = [
                name.removeprefix(STREAM_PREFIX) for name in self._contents if name.startswith(STREAM_PREFIX)
            ]
        return {name: self._array(name).shape for name in names}

    def read_into(self, array: str, view: int, start: int, out: NDArray[Any]) -> None:
        """See `cache.row_source.RowSource.read_into`.

        Raises:
            CorruptFeatureError: The file is damaged. Told at the latest with an array's last rows: none of
                it is to be used before.
            ValueError: Rows that are not the next ones, or `out` is not made for them.
        """
        found = self._array(array)
        count = len(out)
        if (view * found.num_rows + start) * found.row_bytes != found.done_bytes or (
            start + count > found.num_rows
        ):
            raise ValueError(
                f"{array} must be read row by row: asked for {count} rows from {start} of view {view}, "
                f"after {found.done_bytes // found.row_bytes} rows of {found.shape}"
            )
        if out.dtype != found.dtype or out.shape[1:] != found.row_shape:
            raise ValueError(
                f"{array} has rows of {found.dtype} with shape {found.row_shape}, got {out.dtype} with "
                f"shape {out.shape[1:]}"
            )
        target = out.reshape(-1, copy=False).view(np.uint8)
        with self._reading():
            for first in range(0, len(target), _PIECE_BYTES):
                piece = target[first : first + _PIECE_BYTES]
                self._fill(piece, found.offset + found.done_bytes)
                found.take(piece)

    def read(self, array: str) -> NDArray[Any]:
        """The whole of one array, of which nothing was read before; read-only.

        Raises:
            CorruptFeatureError: The file is damaged.
        """
        found = self._array(array)
        values: NDArray[Any] = np.empty(found.shape, found.dtype)
        for view, rows in enumerate(values if len(found.shape) == 3 else values[np.newaxis]):
            self.read_into(array, view, 0, rows)
        values.flags.writeable = False
        return values

    def features(self) -> ClipFeatures:
        """All arrays, of which nothing was read before; read-only.

        Raises:
            CorruptFeatureError: The file is damaged.
        """
        streams = {name: self.read(name) for name in self.streams}
        arrays = {name: self.read(name) for name in FRAME_ARRAYS}
        with self._reading():
            return ClipFeatures(streams=streams, **arrays)

    def _array(self, name: str) -> PartArray:
        """An array, looked at when it is first asked for."""
        found = self._arrays.get(name)
        if found is None:
            with self._reading(Exception):
                member = name if name in FRAME_ARRAYS else STREAM_PREFIX + name
                if member not in self._contents:
                    raise ValueError(f"it has no array {name}")
                descriptor, place = self._file.fileno(), self._members[f"{member}.npy"]
                if isinstance(self._contents, dict):
                    found = described_array(descriptor, place, self._contents[member])
                else:
                    found = plain_array(descriptor, place)
                self._check_form(name, found)
            self._arrays[name] = found
        return found

    def _check_form(self, name: str, found: PartArray) -> None:
        """Whether an array is one that a clip of so many rows can have."""
        num_frames = found.shape[0] if name == "time_s" else self.num_frames
        if name in FRAME_ARRAYS:
            dtype, trailing = FRAME_ARRAYS[name]
            fits = found.dtype == dtype and found.shape == (num_frames, *trailing)
        else:
            fits = found.dtype == np.float16 and len(found.shape) in (2, 3) and found.shape[-2] == num_frames
        if not fits:
            raise ValueError(f"array {name} is {found.dtype} with shape {found.shape}")

    def _fill(self, target: NDArray[np.uint8], offset: int) -> None:
        """Read bytes from the file, as many as are asked for."""
        filled = 0
        while filled < len(target):
            count = os.preadv(self._file.fileno(), [target[filled:].data], offset + filled)
            if not count:
                raise ValueError("the file is cut short")
            filled += count

    @contextmanager
    def _reading(self, *damage: type[Exception]) -> Iterator[None]:
        """What damage makes of a part becomes a CorruptFeatureError: these errors, or `_DAMAGED_ROWS`."""
        clip, path = self.key.clip_id, self._path
        try:
            yield
        except FileNotFoundError as error:
            raise UnknownClipError(f"clip {clip!r} has no part at {path}; extract it first") from error
        except (CorruptFeatureError, MemoryError):
            raise
        except Exception as error:
            if not isinstance(error, damage or _DAMAGED_ROWS):
                raise
            if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):  # an impossible offset
                raise
            raise CorruptFeatureError(
                f"the part of clip {clip!r} at {path} is damaged ({str(error) or type(error).__name__}); "
                "delete it and extract the clip again"
            ) from error


def _checked_facts(archive: zipfile.ZipFile, key: ClipKey) -> Mapping[str, Json]:
    found = _member_json(archive, KEY_MEMBER)
    wanted = key.as_dict()
    if found != wanted:
        differing = ", ".join(name for name, value in wanted.items() if found.get(name) != value)
        raise ValueError(f"it holds the part of another key, which differs in {differing}")
    facts: Mapping[str, Json] = _member_json(archive, FACTS_MEMBER)
    return facts


def _member_json(archive: zipfile.ZipFile, name: str) -> Any:
    return json.loads(archive.read(name))
