"""Smoothing of rows on their way: the values alone, each clip by itself, in whatever blocks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

import numpy as np
import pytest

from pipeline.prediction.predicted_rows import PredictedRows
from pipeline.prediction.smoothed_rows import smoothed_rows
from tagf_head.evaluation.smoothing import Smoothing, smooth_clip

MakeRows = Callable[..., PredictedRows]
NAMES = [field.name for field in fields(PredictedRows) if field.name not in ("clip_id", "values", "gates")]


@pytest.mark.parametrize("kind", ["median", "exponential"])
@pytest.mark.parametrize("deviation", [True, False])
def test_values_are_smoothed_and_all_else_stays(make_rows: MakeRows, kind, deviation: bool) -> None:
    smoothing = Smoothing(kind=kind, seconds=0.4)
    blocks = [
        make_rows(size, first_frame=first, clip_id=clip, deviation=deviation)
        for clip, sizes in {"one": (3, 0, 1, 40, 6), "short": (2,), "two": (30,)}.items()
        for first, size in zip(np.cumsum([0, *sizes]), sizes, strict=False)
    ]
    smoothed = list(smoothed_rows(blocks, smoothing))
    assert all(len(block) for block in smoothed)
    for clip in ("one", "short", "two"):
        before = [block for block in blocks if block.clip_id == clip]
        after = [block for block in smoothed if block.clip_id == clip]
        values, times = (
            np.concatenate([getattr(each, name) for each in before]) for name in ("values", "time_s")
        )
        np.testing.assert_array_equal(
            np.concatenate([block.values for block in after]), smooth_clip(values, times, smoothing)
        )
        for name in NAMES:
            parts = [[getattr(each, name) for each in side] for side in (before, after)]
            if name == "deviation" and not deviation:
                assert all(part is None for part in parts[1])
            else:
                np.testing.assert_array_equal(np.concatenate(parts[1]), np.concatenate(parts[0]))
        for gate in blocks[0].gates:
            np.testing.assert_array_equal(
                np.concatenate([block.gates[gate] for block in after]),
                np.concatenate([block.gates[gate] for block in before]),
            )
    assert [block.clip_id for block in smoothed] == sorted([block.clip_id for block in smoothed])


def test_rows_are_held_back_no_longer_than_the_median_looks_ahead(make_rows: MakeRows) -> None:
    given = []
    source = (make_rows(10, first_frame=first) for first in range(0, 100, 10))

    def counted():
        for number, block in enumerate(source, start=1):
            given.append(10 * number)
            yield block

    num_rows = 0
    for block in smoothed_rows(counted(), Smoothing(kind="median", seconds=0.4)):
        num_rows += len(block)
        assert given[-1] - num_rows <= 6
    assert num_rows == 100
