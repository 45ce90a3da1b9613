"""Where the objects of a store lie: a directory of this machine, or a place that fsspec reaches.

Everything that is known of a store before its arrays are opened comes through here: which objects there are,
how large they are, what tells one state of an object from the next, and their bytes.
"""

from __future__ import annotations

import copy
import errno
import os
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from cache.errors import CacheError, IncompleteStoreError

if TYPE_CHECKING:
    from zarr.abc.store import Store

    from cache.record import CompletionRecord

RECORD_PATH = "completion/zarr.json"
BLOCK_BYTES = 2**20

MISSING = (FileNotFoundError, NotADirectoryError, IsADirectoryError)

_REMEDIES = {
    errno.EMFILE: "raise this process's limit of open files with 'ulimit -n'",
    errno.ENFILE: "raise the system's limit of open files, or end what holds them",
    errno.EACCES: "check its permissions",
    errno.EPERM: "check its permissions",
    errno.ENOMEM: "free memory, or raise the limits of what a process may map",
}


class Stamp(NamedTuple):
    """One state of an object: another stamp is another object, or the same one written again.

    Attributes:
        size_bytes: Its size.
        token: What else the file system knows of it: inode and time of change, or an ETag.
    """

    size_bytes: int
    token: Hashable


class ChangedObjectError(IncompleteStoreError):
    """An object is gone, or was written again since the store was opened.

    Attributes:
        path: The object, relative to the store.
    """

    def __init__(self, name: str, path: str) -> None:
        super().__init__(f"{name}: object {path} is missing, or not the one that was there; open it again")
        self.path = path


class UnreadableObjectError(CacheError):
    """The system refuses an object; whether it is damaged is not known.

    Attributes:
        reason: What the system says, without name and remedy.
    """

    reason: str = ""


def unreadable(name: str, path: str, error: OSError) -> UnreadableObjectError:
    """What to raise where the system refuses an object.

    Args:
        name: The store, as messages call it.
        path: The object, relative to the store.
        error: What the system says.
    """
    reason = error.strerror or " ".join(str(error).split()) or type(error).__name__
    remedy = _REMEDIES.get(error.errno or 0, "check the disk, or the mount, and try again")
    # Not by an argument of its own: such an exception could not pass from one process to another.
    raised = UnreadableObjectError(f"{name}: object {path} cannot be read: {reason}; {remedy}")
    raised.reason = reason
    return raised


class Location(ABC):
    """A store's place, whether there is a store or not. Pickles, and may be used after a fork."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What messages call it: the path or the URL as it was given."""

    @property
    @abstractmethod
    def local(self) -> Path | None:
        """The absolute directory, or None where it is not one of this machine."""

    @abstractmethod
    def stamps(self) -> Mapping[str, Stamp]:
        """State of every object by its path relative to the store; one listing, empty where nothing lies.

        Raises:
            CacheError: The place cannot be reached.
        """

    @abstractmethod
    def stamp(self, path: str) -> Stamp | None:
        """State of one object now; None where it is missing.

        To be compared with other answers of this method: a listing may word the same state differently.
        """

    @abstractmethod
    def require(self, stamps: Mapping[str, Stamp], paths: Sequence[str]) -> None:
        """Make sure that objects still are what they were.

        Args:
            stamps: What `stamps` said before.
            paths: The objects to look at.

        Raises:
            ChangedObjectError: One is gone or was written again.
            CacheError: The place cannot be reached.
        """

    @abstractmethod
    def read(self, path: str) -> bytes:
        """All bytes of an object.

        Raises:
            FileNotFoundError: It is missing.
            CacheError: The place cannot be reached.
        """

    @abstractmethod
    def tail(self, path: str, num_bytes: int) -> bytes:
        """The last bytes of an object, fewer where it is shorter; errors as for `read`."""

    @abstractmethod
    def blocks(self, path: str, size_bytes: int = BLOCK_BYTES) -> Iterator[bytes]:
        """The bytes of an object, block by block; errors as for `read`."""

    @abstractmethod
    def zarr_store(self, record: CompletionRecord) -> Store:
        """A read-only store for zarr; a listed object that is gone is an IncompleteStoreError."""

    def sizes(self) -> dict[str, int]:
        """Size in bytes of every object by its path relative to the store; one listing."""
        return {path: stamp.size_bytes for path, stamp in self.stamps().items()}

    def read_many(self, paths: Sequence[str]) -> dict[str, bytes]:
        """All bytes of several objects, by path; errors as for `read`."""
        return {path: self.read(path) for path in paths}

    def identity(self) -> Stamp | None:
        """What tells one store from another at the same place; None where there is no finished store."""
        return self.stamp(RECORD_PATH)

    def __str__(self) -> str:
        return self.name


class LocalFolder(Location):
    """A directory of this machine, whether its objects are files or, as DVC may leave them, links."""

    def __init__(self, path: Path | str) -> None:
        self._name = str(path)
        self._inodes = True
        self._root = os.path.abspath(path)  # the process may change its directory while the store is open

    @property
    def name(self) -> str:
        """The path as it was given."""
        return self._name

    @property
    def local(self) -> Path:
        """The absolute directory."""
        return Path(self._root)

    def with_inodes(self, inodes: bool) -> LocalFolder:
        """The same directory, inodes being part of its stamps or not.

        Some mounts of FUSE give a file another inode each time they look at it.
        """
        other = copy.copy(self)
        other._inodes = inodes
        return other

    def file(self, path: str) -> str:
        """The absolute path of an object."""
        return f"{self._root}/{path}"

    def stamps(self) -> dict[str, Stamp]:
        """State of every file, links followed."""
        found = {}

        def refused(error: OSError) -> None:
            # A folder that cannot be listed is not an empty one.
            if not isinstance(error, MISSING):
                raise unreadable(self.name, os.path.relpath(error.filename, self._root), error) from error

        for directory, _, names in os.walk(self._root, followlinks=True, onerror=refused):
            relative = os.path.relpath(directory, self._root)
            for name in names:
                path = name if relative == os.curdir else f"{relative}/{name}"
                stamp = self.stamp(path)
                if stamp is not None:
                    found[path] = stamp
        return found

    def stamp(self, path: str) -> Stamp | None:
        """State of one file; None where it is missing."""
        try:
            return stamp_of(os.stat(self.file(path)), inodes=self._inodes)
        except MISSING:
            return None
        except OSError as error:
            raise unreadable(self.name, path, error) from error

    def require(self, stamps: Mapping[str, Stamp], paths: Sequence[str]) -> None:
        """As `Location.require`."""
        for path in paths:
            if self.stamp(path) != stamps[path]:
                raise ChangedObjectError(self.name, path)

    def read(self, path: str) -> bytes:
        """As `Location.read`."""
        return b"".join(self.blocks(path))

    def tail(self, path: str, num_bytes: int) -> bytes:
        """As `Location.tail`."""
        with self._opened(path) as file:
            size = os.fstat(file.fileno()).st_size
            return os.pread(file.fileno(), num_bytes, max(size - num_bytes, 0))

    def blocks(self, path: str, size_bytes: int = BLOCK_BYTES) -> Iterator[bytes]:
        """As `Location.blocks`."""
        with self._opened(path) as file:
            while block := file.read(size_bytes):
                yield block

    def zarr_store(self, record: CompletionRecord) -> Store:
        """As `Location.zarr_store`."""
        from zarr.storage import LocalStore

        from cache.listed_store import ListedStore

        return ListedStore(LocalStore(self._root, read_only=True), self.name, frozenset(record.objects))

    @contextmanager
    def _opened(self, path: str) -> Iterator[Any]:
        try:
            with open(self.file(path), "rb") as file:
                yield file
        except MISSING as error:
            raise FileNotFoundError(f"{self.name}: {path} is missing") from error
        except OSError as error:
            raise unreadable(self.name, path, error) from error


def location_of(path: Path | str | Location, storage_options: Mapping[str, Any] | None = None) -> Location:
    """The place that a path or a URL names.

    Args:
        path: A path, ``file://`` and a path, or any other URL that fsspec knows.
        storage_options: For fsspec's file system, where `path` is a URL of one.
    """
    if isinstance(path, Location):
        return path
    text = os.fspath(path)
    if text.startswith("file://"):
        text = text.removeprefix("file://")
    elif "://" in text and not isinstance(path, Path):
        from cache.remote_folder import RemoteFolder

        return RemoteFolder(text, storage_options)
    return LocalFolder(text)


def stamp_of(facts: os.stat_result, *, inodes: bool = True) -> Stamp:
    """The stamp of a local file, with its inode or without."""
    inode = (facts.st_ino,) if inodes else ()
    return Stamp(facts.st_size, (facts.st_dev, *inode, facts.st_mtime_ns))
