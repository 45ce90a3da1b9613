"""Learning rate and early stopping: a linear rise, then plateaus of the validation score.

The rule is that of torch's ReduceLROnPlateau (mode "max", threshold 0, no cooldown): an epoch improves when
its score exceeds the best so far, and the rate falls once more than `patience` epochs in a row have not
improved. It is written out here because torch's scheduler knows neither a warm-up per optimiser step nor
early stopping, and a resumed run needs one small state for all three.
"""

from __future__ import annotations

import math
from typing import TypedDict


class ScheduleState(TypedDict):
    """Everything that changes while a schedule runs."""

    num_steps: int
    lr: float
    best_score: float
    num_bad_epochs: int
    num_epochs_since_best: int


class TrainingSchedule:
    """Learning rate of each optimiser step, and when to stop.

    Scores count from the first epoch on, but an epoch that begins during warm-up neither lowers the rate
    nor counts towards early stopping: its rate is small by design.

    Args:
        lr: Learning rate after warm-up.
        min_lr: Lowest learning rate of the plateaus.
        warmup_steps: Optimiser steps over which the rate rises linearly, from ``lr / warmup_steps`` on.
        patience: Epochs without improvement that are borne before the rate is lowered.
        factor: What the rate is multiplied by.
        stop_patience: Epochs without improvement after which training ends.
    """

    def __init__(
        self, *, lr: float, min_lr: float, warmup_steps: int, patience: int, factor: float, stop_patience: int
    ) -> None:
        self._min_lr = min_lr
        self._warmup_steps = warmup_steps
        self._patience = patience
        self._factor = factor
        self._stop_patience = stop_patience
        self._state = ScheduleState(
            num_steps=0, lr=lr, best_score=-math.inf, num_bad_epochs=0, num_epochs_since_best=0
        )

    def next_lr(self) -> float:
        """Count one optimiser step and give its learning rate."""
        self._state["num_steps"] += 1
        if self._state["num_steps"] >= self._warmup_steps:
            return self._state["lr"]
        return self._state["lr"] * self._state["num_steps"] / self._warmup_steps

    def end_epoch(self, score: float) -> bool:
        """Take in an epoch's validation score.

        Args:
            score: Higher is better.

        Returns:
            Whether it is the best so far.
        """
        state = self._state
        if score > state["best_score"]:
            state["best_score"] = score
            state["num_bad_epochs"] = state["num_epochs_since_best"] = 0
            return True
        if state["num_steps"] > self._warmup_steps:
            state["num_epochs_since_best"] += 1
            state["num_bad_epochs"] += 1
            if state["num_bad_epochs"] > self._patience:
                state["lr"] = max(state["lr"] * self._factor, self._min_lr)
                state["num_bad_epochs"] = 0
        return False

    @property
    def should_stop(self) -> bool:
        """Whether the score has not improved for `stop_patience` epochs."""
        return self._state["num_epochs_since_best"] >= self._stop_patience

    def state_dict(self) -> ScheduleState:
        """A copy of the state."""
        return self._state.copy()

    def load_state_dict(self, state: ScheduleState) -> None:
        """Continue from a state that `state_dict` gave."""
        self._state = state.copy()
