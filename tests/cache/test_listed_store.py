"""zarr asks in several ways; whichever it is, a lost object is an error and a foreign one is not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import zarr
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import LocalStore

from cache import CacheError, IncompleteStoreError
from cache.listed_store import ListedStore

PROTOTYPE = default_buffer_prototype()


async def _collected(store: ListedStore, key: str) -> list[Any]:
    return [value async for _, value in store._get_many([(key, PROTOTYPE, None)])]


WAYS: dict[str, Callable[[ListedStore, str], Coroutine[Any, Any, object]]] = {
    "get": lambda store, key: store.get(key, PROTOTYPE),
    "get_partial_values": lambda store, key: store.get_partial_values(PROTOTYPE, [(key, None)]),
    "get_many": _collected,
    "exists": lambda store, key: store.exists(key),
}


@pytest.fixture
def store(tmp_path: Path) -> ListedStore:
    (tmp_path / "kept").write_bytes(b"bytes")
    return ListedStore(LocalStore(tmp_path, read_only=True), "the store", frozenset(["kept", "lost"]))


@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_asking(store: ListedStore, way: str) -> None:
    assert asyncio.run(WAYS[way](store, "kept")) not in (None, False, [None])
    assert asyncio.run(WAYS[way](store, "unlisted")) in (None, False, [None])
    with pytest.raises(IncompleteStoreError, match=r"^the store: object lost is missing"):
        asyncio.run(WAYS[way](store, "lost"))
    with pytest.raises(IncompleteStoreError):
        asyncio.run(WAYS[way](store.with_read_only(True), "lost"))


def test_bytes_are_those_of_the_store_below(store: ListedStore) -> None:
    found = asyncio.run(store.get("kept", PROTOTYPE))
    assert found is not None
    assert found.to_bytes() == b"bytes"


def test_what_cannot_be_read_is_not_called_missing(store: ListedStore, tmp_path: Path) -> None:
    async def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    store._store.get = refuse  # type: ignore[method-assign, assignment]
    with pytest.raises(
        CacheError, match=r"object kept cannot be read: .*Permission denied; check its permissions"
    ) as caught:
        asyncio.run(store.get("kept", PROTOTYPE))
    assert not isinstance(caught.value, IncompleteStoreError)


def test_it_compares_with_what_it_lists(store: ListedStore, tmp_path: Path) -> None:
    below = LocalStore(tmp_path, read_only=True)
    assert store == ListedStore(below, "the store", frozenset(["kept", "lost"]))
    assert store != ListedStore(below, "the store", frozenset(["kept"]))
    assert store != below


def test_an_array_through_it(tmp_path: Path) -> None:
    array = zarr.create_array(tmp_path / "a", shape=(6,), chunks=(2,), dtype="int64")
    array[:] = range(6)
    listed = frozenset(
        path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()
    )
    (tmp_path / "a/c/1").unlink()
    assert zarr.open_array(tmp_path / "a", mode="r")[:].tolist() == [0, 1, 0, 0, 4, 5]  # what zarr does
    through = zarr.open_array(
        ListedStore(LocalStore(tmp_path, read_only=True), "s", listed), path="a", mode="r", zarr_format=3
    )
    assert through[:2].tolist() == [0, 1]
    with pytest.raises(IncompleteStoreError, match=r"^s: object a/c/1 is missing"):
        _ = through[:]
