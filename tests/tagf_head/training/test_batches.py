"""Which windows a process takes: all of them once, in every number of processes, and as many steps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from cache import FeatureStore
from tagf_head.annotations import load_annotations
from tagf_head.data.rows import Batch
from tagf_head.data.split_data import SplitData, load_split
from tagf_head.data.windows import WindowPlan, plan_windows
from tagf_head.distributed import Processes
from tagf_head.errors import TrainingError
from tagf_head.training.batches import TrainingBatches, filled_up

WINDOW = 20


@pytest.fixture(scope="module")
def train_split(corpus) -> SplitData:
    return load_split(FeatureStore.open(corpus.store), load_annotations(corpus.annotations), "train")


@pytest.fixture(scope="module")
def plan(train_split: SplitData) -> WindowPlan:
    return plan_windows(train_split.row_size, WINDOW, 12)


def batches_of(
    split: SplitData, plan: WindowPlan, rank: int, count: int, batch_size: int
) -> tuple[TrainingBatches, list[Batch]]:
    batches = TrainingBatches(
        rows=split.rows, plan=plan, batch_size=batch_size, processes=Processes(rank=rank, count=count)
    )
    order = torch.randperm(len(plan), generator=torch.Generator().manual_seed(3))
    view, shift = torch.arange(len(plan)) % 2, torch.arange(len(plan)) % 3 - 1
    return batches, list(batches.epoch(order, view, shift))


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_steps_of_all_processes_are_those_of_one(
    train_split: SplitData, plan: WindowPlan, count: int
) -> None:
    # 11 windows in batches of 5: of 3 processes, one has no window in the last step, of 5 four have none.
    assert len(plan) == 11
    _, whole = batches_of(train_split, plan, 0, 1, 5)
    assert [len(batch.label) for batch in whole] == [5, 5, 1]
    parts = [batches_of(train_split, plan, rank, count, 5)[1] for rank in range(count)]
    for step, expected in enumerate(whole):
        for name, tensor in vars(expected).items():
            found = torch.cat([vars(part[step])[name] for part in parts])
            torch.testing.assert_close(found[: len(tensor)], tensor, rtol=0, atol=0)
            # Behind the last windows come those of padding alone.
            assert not found[len(tensor) :].any()
    assert {len(part) for part in parts} == {3}


def test_windows_of_a_process() -> None:
    sizes = [
        TrainingBatches(
            rows=None,  # type: ignore[arg-type]
            plan=None,  # type: ignore[arg-type]
            batch_size=7,
            processes=Processes(rank=rank, count=3),
        ).num_own
        for rank in range(3)
    ]
    assert sizes == [3, 2, 2]


def test_a_batch_has_a_window_for_every_process(train_split: SplitData, plan: WindowPlan) -> None:
    with pytest.raises(TrainingError, match=r"train\.batch_size 2 leaves some of 3 processes without"):
        batches_of(train_split, plan, 0, 3, 2)


def random_batch(num_windows: int) -> Batch:
    generator = torch.Generator().manual_seed(0)

    def rows(width: int) -> Tensor:
        return torch.randn(num_windows, 4, width, generator=generator).half()

    mask = torch.ones(num_windows, 4, dtype=torch.bool)
    return Batch(visual=rows(3), audio=rows(2), frame_mask=mask, label=rows(2).float(), label_mask=mask)


@pytest.mark.parametrize("num_windows", [3, 5])
def test_a_batch_is_filled_up_with_padding(num_windows: int) -> None:
    batch = random_batch(3)
    filled = filled_up(batch, num_windows)
    for name, tensor in vars(filled).items():
        original = vars(batch)[name]
        assert tensor.dtype == original.dtype
        assert tensor.shape == (num_windows, *original.shape[1:])
        assert torch.equal(tensor[:3], original)
        assert not tensor[3:].any()


def test_every_window_is_taken_once(train_split: SplitData, plan: WindowPlan) -> None:
    """Told by the number of frames and the labels, which differ between any two windows."""
    found = [
        (int(mask.sum()), label.double().sum().item())
        for rank in range(2)
        for batch in batches_of(train_split, plan, rank, 2, 4)[1]
        for mask, label in zip(batch.frame_mask, batch.label, strict=True)
    ]
    start = np.concatenate([[0], np.cumsum(train_split.row_size)])[plan.clip] + plan.start
    labels = np.where(train_split.label_mask[:, None], train_split.label, 0).astype(np.float64)
    expected = [
        (int(length), labels[first : first + length].sum())
        for first, length in zip(start, plan.length, strict=True)
    ]
    assert len(found) == len(expected)
    for (size, total), (expected_size, expected_total) in zip(sorted(found), sorted(expected), strict=True):
        assert size == expected_size
        assert total == pytest.approx(expected_total, abs=1e-5)
