"""A zarr store that knows what it has to hold.

zarr takes an object that is not there for one that was never written and reads fill values. Here an object
that the completion record lists and that is gone is an IncompleteStoreError, whichever way zarr asks for it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from typing import Any

from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import WrapperStore

from cache.errors import CacheError
from cache.location import ChangedObjectError, unreadable


class ListedStore(WrapperStore[Store]):
    """A read-only view of another zarr store.

    Args:
        store: Where the bytes come from.
        name: What messages call it.
        listed: Paths of the objects that have to be there.
    """

    def __init__(self, store: Store, name: str, listed: frozenset[str]) -> None:
        super().__init__(store)
        self._name = name
        self._listed = listed

    def _with_store(self, store: Store) -> ListedStore:
        return type(self)(store, self._name, self._listed)

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Bytes of an object, None for one that is not listed either."""
        try:
            value = await self._store.get(key, prototype, byte_range)
        except (CacheError, MemoryError):
            raise
        except OSError as error:
            raise unreadable(self._name, key, error) from error
        except Exception as error:
            # Not damage, and not to be reported as such: the disk or the network did not answer.
            reason = " ".join(str(error).split()) or type(error).__name__
            raise CacheError(f"{self._name}: object {key} cannot be read: {reason}; try again") from error
        if value is None and key in self._listed:
            raise ChangedObjectError(self._name, key)
        return value

    async def get_partial_values(
        self,
        prototype: BufferPrototype,
        key_ranges: Iterable[tuple[str, ByteRequest | None]],
    ) -> list[Buffer | None]:
        """As `get`, for several ranges."""
        return [await self.get(key, prototype, byte_range) for key, byte_range in key_ranges]

    async def _get_many(
        self, requests: Iterable[tuple[str, BufferPrototype, ByteRequest | None]]
    ) -> AsyncGenerator[tuple[str, Buffer | None], None]:
        for key, prototype, byte_range in requests:
            yield key, await self.get(key, prototype, byte_range)

    async def exists(self, key: str) -> bool:
        """Whether an object is there; one that is listed has to be."""
        found = await self._store.exists(key)
        if not found and key in self._listed:
            raise ChangedObjectError(self._name, key)
        return found

    def __eq__(self, other: Any) -> bool:
        return super().__eq__(other) and self._listed == other._listed

    __hash__ = None  # type: ignore[assignment]
