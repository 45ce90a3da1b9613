"""A store at a place that fsspec reaches: S3, other object stores, HTTP, memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from cache.errors import CacheError
from cache.location import BLOCK_BYTES, MISSING, ChangedObjectError, Location, Stamp

if TYPE_CHECKING:
    from zarr.abc.store import Store

    from cache.record import CompletionRecord

# What file systems call that which changes when an object is written again; the first that there is counts,
# since some tell their times more finely in one answer than in another.
_CHANGE_MARKS = ("ETag", "etag", "mtime", "LastModified", "last_modified", "updated", "created", "md5Hash")


class RemoteFolder(Location):
    """A place that fsspec reaches, for example ``s3://bucket/features.zarr``.

    Args:
        url: With its scheme.
        storage_options: For fsspec's file system: endpoint, credentials and so on. Never shown in a message.
    """

    def __init__(self, url: str, storage_options: Mapping[str, Any] | None = None) -> None:
        self._url = url.rstrip("/")
        self._options = dict(storage_options or {})

    @property
    def name(self) -> str:
        """The URL as it was given."""
        return self._url

    @property
    def local(self) -> None:
        """None."""
        return None

    def stamps(self) -> dict[str, Stamp]:
        """State of every object; one listing."""
        with self._reaching():
            system, root = self._system()
            system.invalidate_cache()
            try:
                found = system.find(root, detail=True)
            except MISSING:
                return {}
            return {
                # The listings of some file systems, HTTP's for one, know no sizes.
                name.removeprefix(root).lstrip("/"): _stamp_of_info(
                    system.info(name) if info.get("size") is None else info
                )
                for name, info in found.items()
                if info.get("type", "file") == "file"
            }

    def stamp(self, path: str) -> Stamp | None:
        """State of one object; never from a cache."""
        with self._reaching():
            system, root = self._system()
            system.invalidate_cache()
            try:
                info = system.info(f"{root}/{path}")
            except MISSING:
                return None
            return _stamp_of_info(info)

    def require(self, stamps: Mapping[str, Stamp], paths: Sequence[str]) -> None:
        """As `Location.require`."""
        found = self.stamps() if paths else {}  # one listing takes no longer than one look
        for path in paths:
            if found.get(path) != stamps[path]:
                raise ChangedObjectError(self.name, path)

    def read(self, path: str) -> bytes:
        """As `Location.read`."""
        with self._reaching(path):
            system, root = self._system()
            return bytes(system.cat_file(f"{root}/{path}"))

    def read_many(self, paths: Sequence[str]) -> dict[str, bytes]:
        """As `Location.read_many`, all at once."""
        if not paths:
            return {}
        with self._reaching():
            system, root = self._system()
            found = system.cat([f"{root}/{path}" for path in paths], on_error="return")
            contents = {}
            for path in paths:
                content = found[f"{root}/{path}"]
                if isinstance(content, BaseException):
                    raise content
                contents[path] = bytes(content)
            return contents

    def tail(self, path: str, num_bytes: int) -> bytes:
        """As `Location.tail`."""
        with self._reaching(path):
            system, root = self._system()
            size = int(system.info(f"{root}/{path}")["size"])
            return bytes(system.cat_file(f"{root}/{path}", start=max(size - num_bytes, 0), end=size))

    def blocks(self, path: str, size_bytes: int = BLOCK_BYTES) -> Iterator[bytes]:
        """As `Location.blocks`."""
        with self._reaching(path):
            system, root = self._system()
            with system.open(f"{root}/{path}", "rb") as file:
                while block := file.read(size_bytes):
                    yield bytes(block)

    def zarr_store(self, record: CompletionRecord) -> Store:
        """As `Location.zarr_store`."""
        from zarr.storage import FsspecStore

        from cache.listed_store import ListedStore

        with self._reaching():
            store = FsspecStore.from_url(self._url, storage_options=dict(self._options), read_only=True)
        return ListedStore(store, self.name, frozenset(record.objects))

    def _system(self) -> tuple[Any, str]:
        """The file system and the store's place in it; fsspec keeps one instance per process."""
        from fsspec.core import url_to_fs

        system, root = url_to_fs(self._url, **self._options)
        return system, str(root).rstrip("/")

    @contextmanager
    def _reaching(self, path: str = "") -> Iterator[None]:
        """Tell what is missing from what cannot be reached; each file system has errors of its own."""
        try:
            yield
        except (GeneratorExit, CacheError, MemoryError):
            raise
        except MISSING as error:
            raise FileNotFoundError(f"{self.name}: {path or 'an object'} is missing") from error
        except ImportError as error:
            raise CacheError(
                f"{self.name}: a library for this kind of address is missing ({error}); "
                "for s3:// install it with pip install 'tagf[s3]'"
            ) from error
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise CacheError(
                f"{self.name} cannot be reached: {reason}; check the address, the network and the credentials"
            ) from error


def _stamp_of_info(info: Mapping[str, Any]) -> Stamp:
    marks = (str(info[mark]) for mark in _CHANGE_MARKS if info.get(mark) is not None)
    return Stamp(int(info["size"]), next(marks, None))
