"""Where is written, and where not."""

from __future__ import annotations

from pathlib import Path

import pytest

from cache.destination import check_outside_stores, check_vacant
from cache.errors import CacheError, StoreFormatError


def test_places_inside_a_store(tmp_path: Path) -> None:
    store = tmp_path / "s.zarr"
    (store / "completion").mkdir(parents=True)
    check_outside_stores(store / "new.h5")
    (store / "completion" / "zarr.json").write_text("{}")
    check_outside_stores(store)
    check_outside_stores(tmp_path / "new.h5")
    for place in (store / "new.h5", store / "a" / "b" / "new.zarr"):
        with pytest.raises(StoreFormatError, match=r"lies inside the store .*s\.zarr"):
            check_outside_stores(place)


def test_places_where_something_lies(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    (tmp_path / "dangling").symlink_to(tmp_path / "gone")
    check_vacant(tmp_path / "nothing")
    check_vacant(tmp_path / "empty")
    for name in ("full", "full/x", "dangling"):
        with pytest.raises(CacheError, match="expected nothing there, got something; move it"):
            check_vacant(tmp_path / name, remedy="move it")
