"""Where runs of the crash campaign write, and what lies there."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

_TWO_DAYS_S = 48 * 3600.0


@dataclass(frozen=True)
class Place:
    """Where a run writes.

    Attributes:
        root: Holds nothing else.
    """

    root: Path

    @property
    def work(self) -> Path:
        """Work directory."""
        return self.root / "work"

    @property
    def parts(self) -> Path:
        """Directory of the parts."""
        return self.work / "parts"

    @property
    def store(self) -> Path:
        """The store."""
        return self.root / "data" / "features.zarr"


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder by its relative path; none where it is missing."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def visible(files: dict[str, bytes]) -> dict[str, bytes]:
    """Without temporary files, which readers never look at."""
    return {name: data for name, data in files.items() if not Path(name).name.startswith(".")}


def files(place: Place) -> set[str]:
    """Files and folders of a place; not the store's objects, and not the locks that runs keep by design."""
    found = set()
    for path in place.root.rglob("*"):
        name = path.relative_to(place.root).as_posix()
        if not path.is_relative_to(place.store) and not name.startswith("work/locks"):
            found.add(name)
    return found


def age(place: Place, names: set[str]) -> None:
    """Make files look as if nobody had touched them for two days."""
    then = time.time() - _TWO_DAYS_S
    for name in names:
        os.utime(place.root / name, (then, then))
