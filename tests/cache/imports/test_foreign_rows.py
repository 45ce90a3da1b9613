"""Rows of another toolkit, a block at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cache.imports import foreign_rows
from cache.imports.array_place import ArrayPlace
from cache.imports.foreign_rows import ForeignRows

PLACE = ArrayPlace(file=Path("rows.npy"))


class Recorder:
    """An array that remembers how many rows it was asked for at once."""

    def __init__(self, rows: np.ndarray) -> None:
        self.rows = rows
        self.shape = rows.shape
        self.dtype = rows.dtype
        self.asked: list[int] = []

    def __getitem__(self, index: Any) -> np.ndarray:
        self.asked.append(len(self.rows[index]))
        return self.rows[index]


@pytest.mark.parametrize("step", [1, 7, 40])
def test_no_more_than_a_block_is_read_at_once(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    monkeypatch.setattr(foreign_rows, "_BLOCK_BYTES", 10 * 2 * 4)  # ten rows
    array = Recorder(np.random.default_rng(0).standard_normal((400, 2)).astype(np.float32))
    rows = ForeignRows(PLACE, array)
    chosen = np.repeat(np.arange(0, 400, step), 2)
    chosen[::5] = -1
    out = np.empty((len(chosen), 2), np.float16)
    rows.take(chosen, out)
    wanted = [array.rows[row].astype(np.float16).tolist() if row >= 0 else [0, 0] for row in chosen]
    assert out.tolist() == wanted
    assert rows.marks().all()
    assert max(array.asked) == 10
    assert min(array.asked) >= 1


def test_rows_of_which_none_is_there() -> None:
    array = Recorder(np.ones((3, 2), np.float32))
    out = np.ones((4, 2), np.float16)
    ForeignRows(PLACE, array).take(np.full(4, -1), out)
    assert not out.any()
    assert array.asked == []
