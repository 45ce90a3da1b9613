"""Runs of rows, gathered: equal to slicing and joining by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cache import ClipFeatures
from cache.packed_store import PackedStore
from cache.row_runs import RowRun, load_arrays

Packed = tuple[Path, dict[str, ClipFeatures]]


@pytest.mark.parametrize(
    "runs",
    [
        [],
        [(0, 23)],
        [(0, 7), (7, 19), (19, 23)],
        [(19, 23), (0, 7), (7, 8), (2, 5)],
        [(3, 3), (1, 2)],
    ],
)
def test_runs_in_any_order(packed: Packed, runs: list[tuple[int, int]]) -> None:
    path, features = packed
    store = PackedStore.open(path)
    visual = np.concatenate([each.streams["visual"] for each in features.values()], axis=1)
    times = np.concatenate([each.time_s for each in features.values()])
    found = load_arrays(store, [RowRun(store, *run) for run in runs], ["visual", "time_s"], progress=False)
    rows = np.array([row for start, stop in runs for row in range(start, stop)], int)
    np.testing.assert_array_equal(found["visual"], visual[:, rows])
    np.testing.assert_array_equal(found["time_s"], times[rows])
    assert found["visual"].dtype == np.float16


def test_neighbours_are_read_in_one_go(packed: Packed, monkeypatch: pytest.MonkeyPatch) -> None:
    store = PackedStore.open(packed[0])
    reads: list[tuple[int, int]] = []
    read_into = PackedStore.read_into

    def counted(self: PackedStore, out: np.ndarray, array: str, start: int, **options: object) -> None:
        reads.append((start, len(out)))
        read_into(self, out, array, start, **options)

    monkeypatch.setattr(PackedStore, "read_into", counted)
    load_arrays(store, [RowRun(store, *run) for run in [(0, 7), (7, 9), (12, 13)]], ["audio"], progress=False)
    assert reads == [(0, 9), (12, 1)]
