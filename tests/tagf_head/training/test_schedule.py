"""Warm-up, plateaus and early stopping, by hand and against torch's ReduceLROnPlateau."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tagf_head.training.schedule import TrainingSchedule


def schedule(**changes: float) -> TrainingSchedule:
    values = {
        "lr": 1.0, "min_lr": 0.02, "warmup_steps": 0, "patience": 1, "factor": 0.1, "stop_patience": 100
    }  # fmt: skip
    return TrainingSchedule(**{**values, **changes})  # type: ignore[arg-type]


def test_hand_worked_table() -> None:
    # Two steps per epoch, two epochs of warm-up, patience 1, stop after 4 epochs without improvement.
    table = [
        # rates of the two steps, score, best, stop
        ((0.25, 0.50), 0.10, True, False),
        ((0.75, 1.00), 0.05, False, False),  # warm-up: counts towards nothing
        ((1.00, 1.00), 0.10, False, False),  # equal is no improvement: first bad epoch
        ((1.00, 1.00), 0.20, True, False),
        ((1.00, 1.00), 0.15, False, False),
        ((1.00, 1.00), 0.15, False, False),  # second bad epoch: more than patience
        ((0.10, 0.10), 0.15, False, False),
        ((0.10, 0.10), 0.19, False, True),  # fourth since the best
        ((0.02, 0.02), 0.30, True, False),  # 0.01 lies below the lowest rate
        ((0.02, 0.02), 0.10, False, False),
        ((0.02, 0.02), 0.10, False, False),
        ((0.02, 0.02), 0.10, False, False),
    ]
    tested = schedule(warmup_steps=4, stop_patience=4)
    for number, (rates, score, best, stop) in enumerate(table, start=1):
        assert [tested.next_lr(), tested.next_lr()] == pytest.approx(rates), f"epoch {number}"
        assert tested.end_epoch(score) is best, f"epoch {number}"
        assert tested.should_stop is stop, f"epoch {number}"


@given(
    scores=st.lists(st.integers(-3, 3).map(lambda score: score / 4), max_size=40),
    patience=st.integers(0, 4),
    factor=st.sampled_from([0.1, 0.5]),
)
def test_plateaus_are_those_of_torch(scores: list[float], patience: int, factor: float) -> None:
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    reference = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, mode="max", factor=factor, patience=patience, threshold=0, threshold_mode="abs",
        min_lr=0.02, eps=0,
    )  # fmt: skip
    tested = schedule(patience=patience, factor=factor)
    for score in scores:
        assert tested.next_lr() == optimizer.param_groups[0]["lr"]
        tested.end_epoch(score)
        reference.step(score)
    assert tested.next_lr() == optimizer.param_groups[0]["lr"]


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=20), st.data())
def test_a_restored_schedule_goes_on(scores: list[float], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(scores)))
    undisturbed, first, second = (schedule(warmup_steps=7, stop_patience=3) for _ in range(3))

    def run(tested: TrainingSchedule, part: list[float]) -> list[object]:
        seen: list[object] = []
        for score in part:
            seen += [tested.next_lr(), tested.next_lr(), tested.end_epoch(score), tested.should_stop]
        return seen

    expected = run(undisturbed, scores)
    found = run(first, scores[:cut])
    second.load_state_dict(first.state_dict())
    assert found + run(second, scores[cut:]) == expected


def test_state_is_a_copy() -> None:
    tested = schedule(patience=0)
    state = tested.state_dict()
    tested.end_epoch(0.5)
    tested.next_lr()
    assert state["num_steps"] == 0
    assert state["best_score"] == -float("inf")
