"""Rows of windows by index arithmetic, against a walk over every frame."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from tagf_head.data.window_rows import WindowRows
from tagf_head.data.windows import WindowPlan, plan_windows

WINDOWS = st.integers(1, 9)


@st.composite
def passes(draw: st.DrawFn) -> tuple[list[int], WindowPlan, list[int], list[int] | None]:
    """Sizes of clips, a plan over them, an order and shifts."""
    row_size = draw(st.lists(st.integers(0, 20), min_size=1, max_size=5).filter(any))
    window = draw(WINDOWS)
    plan = plan_windows(np.array(row_size), window, draw(st.integers(1, window)))
    order = draw(st.lists(st.integers(0, len(plan) - 1), max_size=12))
    reach = st.integers(-25, 25)
    shift = draw(st.none() | st.lists(reach, min_size=len(plan), max_size=len(plan)))
    return row_size, plan, order, shift


@given(passes())
def test_equals_a_walk_over_every_frame(arguments) -> None:
    row_size, plan, order, shift = arguments
    windows = WindowRows.of_plan(
        plan,
        np.array(row_size),
        order=torch.tensor(order, dtype=torch.int64),
        view=torch.arange(len(plan)) + 100,
        audio_shift=None if shift is None else torch.tensor(shift),
    )
    num_rows = sum(row_size)
    frames = windows.frames(plan.window, num_rows)
    clip_of_row = [clip for clip, size in enumerate(row_size) for _ in range(size)]
    starts = np.cumsum(row_size) - row_size
    assert frames.row.shape == frames.audio_row.shape == (len(order), plan.window)
    assert windows.view.tolist() == [100 + index for index in order]
    for place, index in enumerate(order):
        for offset in range(plan.window):
            clip = plan.clip[index]
            row = starts[clip] + plan.start[index] + offset
            is_frame = offset < plan.length[index]
            audio_row = row + (0 if shift is None else shift[index])
            has_audio = is_frame and 0 <= audio_row < num_rows and clip_of_row[audio_row] == clip
            assert frames.frame_mask[place, offset].item() == is_frame
            assert frames.row[place, offset].item() == (row if is_frame else num_rows)
            assert frames.audio_row[place, offset].item() == (audio_row if has_audio else num_rows)


@given(passes(), st.integers(1, 7))
def test_parts_are_the_pass_cut_into_batches(arguments, batch_size: int) -> None:
    row_size, plan, order, shift = arguments
    windows = WindowRows.of_plan(
        plan,
        np.array(row_size),
        order=torch.tensor(order, dtype=torch.int64),
        view=torch.arange(len(plan)),
        audio_shift=None if shift is None else torch.tensor(shift),
    )
    parts = windows.split(batch_size)
    sizes = [len(part.length) for part in parts]
    assert sizes == [min(batch_size, len(order) - start) for start in range(0, len(order), batch_size)]
    for name, values in vars(windows).items():
        found = [getattr(part, name) for part in parts]
        assert (values is None) == all(each is None for each in found) or not parts
        if parts and values is not None:
            assert torch.equal(torch.cat(found), values)


def test_the_plans_own_order_is_the_default() -> None:
    plan = plan_windows(np.array([5, 3]), 2, 2)
    windows = WindowRows.of_plan(
        plan, np.array([5, 3]), order=None, view=torch.zeros(len(plan), dtype=torch.int64), audio_shift=None
    )
    assert windows.first_row.tolist() == [0, 2, 3, 5, 6]
    assert windows.clip.tolist() == plan.clip.tolist()
