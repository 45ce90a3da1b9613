"""Saves of a run's state that take a twentieth of its time at most."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping
from typing import Any

from tagf_head.training.state import TrainingStateFile

#: Times as long as a save took, before the next one. An epoch on a GPU may take little more than a save.
_PAUSE = 20.0


class PacedSaves:
    """Saves the states of a run, as many of them as the pace allows.

    A state that is not saved is kept until the next one, so that a run that is interrupted or fails can still
    save it. One that is killed loses what came since the last save: the epoch that was going on, and before
    it no more than 20 times as long as a save takes.

    Args:
        file: Where the state lies.
        now_s: A clock.
    """

    def __init__(self, file: TrainingStateFile, *, now_s: Callable[[], float] = time.monotonic) -> None:
        self._file = file
        self._now_s = now_s
        self._next_s = -float("inf")
        self._waiting: Mapping[str, Any] | None = None

    def add(self, state: Mapping[str, Any]) -> None:
        """Save a state, or keep a copy of it.

        Raises:
            HeadError: It cannot be written.
        """
        self._waiting = None
        started_s = self._now_s()
        if started_s < self._next_s:
            # The next epoch writes into the tensors of this one.
            self._waiting = copy.deepcopy(state)
            return
        self._file.save(state)
        ended_s = self._now_s()
        self._next_s = ended_s + _PAUSE * (ended_s - started_s)

    def catch_up(self) -> None:
        """Save the state that waits, if one does.

        Raises:
            HeadError: It cannot be written.
        """
        state, self._waiting = self._waiting, None
        if state is not None:
            self._file.save(state)

    def discard(self) -> None:
        """Remove the state: the run has ended."""
        self._waiting = None
        self._file.discard()
