"""Arrays in npy and HDF5 files, read block by block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np

from cache.errors import CacheError, CorruptFeatureError

_MAX_LISTED = 8


class RowArray(Protocol):
    """What a memory-mapped npy file and an HDF5 dataset have in common."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of its values."""

    def __getitem__(self, index: Any) -> Any:
        """Some of its values, as a numpy array."""


@dataclass(frozen=True, kw_only=True)
class ArrayPlace:
    """Where an array lies.

    Attributes:
        file: An npy file, or an HDF5 file.
        dataset: Path in the HDF5 file; None for an npy file.
    """

    file: Path
    dataset: str | None = None

    def __str__(self) -> str:
        return str(self.file) if self.dataset is None else f"{self.file}:{self.dataset}"

    @contextmanager
    def opened(self) -> Iterator[RowArray]:
        """The array.

        Raises:
            CacheError: There is no such array.
            CorruptFeatureError: The file cannot be read.
        """
        if self.dataset is None:
            with reading(self):
                array: RowArray = np.load(self.file, mmap_mode="r", allow_pickle=False)
            yield array
            return
        with reading(self):
            file = h5py.File(self.file, "r")
        with file:
            yield dataset_of(file, self)

    def attribute_levels(self) -> list[dict[str, Any]]:
        """Attributes of an HDF5 dataset, then those of each group that it lies in, the file's last."""
        if self.dataset is None:
            return []
        with reading(self), h5py.File(self.file, "r") as file:
            item = dataset_of(file, self)
            levels = [dict(item.attrs)]
            while item.name != "/":
                item = item.parent
                levels.append(dict(item.attrs))
            return levels


def dataset_of(file: Any, place: ArrayPlace) -> Any:
    """A dataset of an open HDF5 file.

    Raises:
        CacheError: There is none, or a group is there.
    """
    found = file.get(place.dataset)
    if not isinstance(found, h5py.Dataset):
        names = datasets_in(file)
        more = ", ..." if len(names) > _MAX_LISTED else ""
        listed = ", ".join(names[:_MAX_LISTED]) + more if names else "none"
        raise CacheError(f"{place.file}: expected a dataset {place.dataset!r}, got none (datasets: {listed})")
    return found


def datasets_in(file: Any) -> list[str]:
    """Paths of all datasets of an open HDF5 file."""
    names: list[str] = []
    file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    return names


@contextmanager
def reading(place: ArrayPlace | Path) -> Iterator[None]:
    """Errors of a file that is damaged, or is no such file, in words of this package.

    Raises:
        CorruptFeatureError: It cannot be read.
    """
    try:
        yield
    except CacheError:
        raise
    except FileNotFoundError as error:
        raise CacheError(f"{place}: no such file") from error
    # h5py raises whatever its library met with: OSError, KeyError, RuntimeError, ValueError.
    except (OSError, KeyError, RuntimeError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise CorruptFeatureError(
            f"{place}: cannot be read ({reason}); it is damaged or of another kind"
        ) from error
