"""Rows of chosen clips, gathered from runs of rows that lie together in their stores."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cache.packed_store import PackedStore


@dataclass(frozen=True)
class RowRun:
    """Rows ``[start, stop)`` along ``frame`` of one store."""

    store: PackedStore
    start: int
    stop: int

    @property
    def num_rows(self) -> int:
        """How many."""
        return self.stop - self.start


def load_arrays(
    model: PackedStore, runs: Iterable[RowRun], names: Sequence[str], progress: bool
) -> dict[str, NDArray[Any]]:
    """Arrays of the rows of some runs, one run after another.

    Args:
        model: A store that has the arrays' types and shapes; all runs' stores have the same.
        runs: Where the rows lie.
        names: Arrays with one row per frame.
        progress: Show a progress bar.

    Returns:
        By name ``(rows, ...)``, with the views before where there are views.

    Raises:
        CacheError: As `PackedStore.read`.
    """
    from tqdm import tqdm

    joined = _joined(runs)
    num_rows = sum(run.num_rows for run in joined)
    arrays: dict[str, NDArray[Any]] = {}
    for name in names:
        grid = model.grids[name]
        shape = (*grid.shape[: grid.row_axis], num_rows, *grid.row_shape)
        arrays[name] = np.empty(shape, grid.data_type)
    total = sum(array.nbytes for array in arrays.values())
    with tqdm(total=total, unit="B", unit_scale=True, desc="features", disable=not progress) as bar:
        for name, array in arrays.items():
            leading = (slice(None),) * model.grids[name].row_axis
            first = 0
            for run in joined:
                block = array[(*leading, slice(first, first + run.num_rows))]
                run.store.read_into(block, name, run.start, progress=bar.update if progress else None)
                first += run.num_rows
    return arrays


def _joined(runs: Iterable[RowRun]) -> list[RowRun]:
    """The same rows in as few runs as they are: clips in the store's own order are one."""
    joined: list[RowRun] = []
    for run in runs:
        last = joined[-1] if joined else None
        if last is not None and last.store is run.store and last.stop == run.start:
            joined[-1] = RowRun(last.store, last.start, run.stop)
        else:
            joined.append(run)
    return joined
