"""Where stores and exports are written to, and where not."""

from __future__ import annotations

import os
from pathlib import Path

from cache.errors import CacheError, StoreFormatError
from cache.location import RECORD_PATH


def check_outside_stores(destination: Path) -> None:
    """Refuse a place inside a store, which would be damaged by it, and whose replacement would delete it.

    Args:
        destination: What is to be written.

    Raises:
        StoreFormatError: A folder that it is to lie in is a store.
    """
    for folder in Path(os.path.realpath(destination)).parents:
        if (folder / RECORD_PATH).is_file():
            raise StoreFormatError(
                f"{destination} lies inside the store {folder}, which nothing may be written into; choose a "
                "place outside"
            )


def check_vacant(destination: Path, *, remedy: str = "remove it or choose another place") -> None:
    """Refuse a place where something lies; an empty folder is nothing.

    Args:
        destination: What is to be written.
        remedy: What messages tell the user to do.

    Raises:
        CacheError: Something lies there.
    """
    if not (destination.exists() or destination.is_symlink()):
        return
    if destination.is_dir() and not any(destination.iterdir()):
        return
    raise CacheError(f"{destination}: expected nothing there, got something; {remedy}")
