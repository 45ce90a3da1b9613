"""The window plan, against a walk over every clip and against its properties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagf_head.data.windows import plan_windows


def brute_force(row_size: list[int], window: int, stride: int) -> list[tuple[int, int, int]]:
    """Windows as (clip, start, length), by walking along each clip."""
    found = []
    for clip, size in enumerate(row_size):
        if size == 0:
            continue
        if size <= window:
            found.append((clip, 0, size))
            continue
        start = 0
        while start + window < size:
            found.append((clip, start, window))
            start += stride
        found.append((clip, size - window, window))
    return found


@st.composite
def plans(draw: st.DrawFn) -> tuple[list[int], int, int]:
    window = draw(st.integers(1, 12))
    stride = draw(st.integers(1, window))
    return draw(st.lists(st.integers(0, 40), max_size=6)), window, stride


@given(plans())
def test_equals_the_walk(arguments: tuple[list[int], int, int]) -> None:
    row_size, window, stride = arguments
    plan = plan_windows(np.array(row_size, np.int64), window, stride)
    triples = list(zip(plan.clip.tolist(), plan.start.tolist(), plan.length.tolist(), strict=True))
    assert triples == brute_force(row_size, window, stride)
    assert plan.window == window
    assert len(plan) == len(triples)


@given(plans())
def test_every_row_is_covered_and_no_clip_is_left(arguments: tuple[list[int], int, int]) -> None:
    row_size, window, stride = arguments
    plan = plan_windows(np.array(row_size, np.int64), window, stride)
    covered = [np.zeros(size, bool) for size in row_size]
    for clip, start, length in zip(plan.clip, plan.start, plan.length, strict=True):
        assert start >= 0
        assert 1 <= length <= window
        assert start + length <= row_size[clip]
        covered[clip][start : start + length] = True
    assert all(each.all() for each in covered)
    for clip, size in enumerate(row_size):
        if size:
            own = plan.clip == clip
            assert plan.start[own][0] == 0
            assert plan.start[own][-1] + plan.length[own][-1] == size
            assert (np.diff(plan.start[own]) >= 1).all()


def test_select_keeps_windows_in_order() -> None:
    plan = plan_windows(np.array([5, 9]), 4, 3).select(np.array([False, True, True, False, True]))
    assert (plan.clip.tolist(), plan.start.tolist(), plan.length.tolist()) == (
        [0, 1, 1],
        [1, 0, 5],
        [4, 4, 4],
    )
    assert plan.window == 4


@pytest.mark.parametrize("stride", [0, 5])
def test_stride_that_leaves_rows_unseen_is_refused(stride: int) -> None:
    with pytest.raises(ValueError, match=r"stride must lie in 1\.\.window \(4\)"):
        plan_windows(np.array([10]), 4, stride)
