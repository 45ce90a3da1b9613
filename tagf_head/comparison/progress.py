"""One line per finished trial, with the time that is left."""

from __future__ import annotations

import statistics
from collections.abc import Callable

from tagf_head.comparison.trial import TrialOutcome


class TrialProgress:
    """Tells how far a comparison is.

    Args:
        num_trials: Trials in all.
        num_jobs: Trials at once.
        report: Called with each line.
    """

    def __init__(self, num_trials: int, num_jobs: int, report: Callable[[str], None]) -> None:
        self._num_trials = num_trials
        self._num_jobs = num_jobs
        self._report = report
        self._num_done = 0
        self._seconds: list[float] = []
        self._warnings: set[str] = set()

    def add(self, outcome: TrialOutcome) -> None:
        """One more trial has ended."""
        self._num_done += 1
        name = outcome.trial.name
        for note in outcome.notes:
            # A warning is about the features and labels, which all trials share.
            if note.startswith("warning: "):
                if note not in self._warnings:
                    self._report(note)
                self._warnings.add(note)
            else:
                self._report(f"{name}: {note}")
        # Nothing else says how long a training takes: a head may fail at once.
        if outcome.status == "trained":
            self._seconds.append(outcome.seconds)
        how = {
            "kept": "kept as it is",
            "evaluated": "evaluated again, not trained",
            "trained": f"trained in {duration_text(outcome.seconds)}",
        }.get(outcome.status, f"{outcome.status}: {outcome.failure}")
        self._report(f"{name}: {how}; {self._num_done} of {self._num_trials} trials{self._time_left()}")

    def _time_left(self) -> str:
        num_left = self._num_trials - self._num_done
        if not num_left or not self._seconds:
            return ""
        rounds = num_left / min(self._num_jobs, self._num_trials)
        return f", about {duration_text(statistics.fmean(self._seconds) * rounds)} left"


def duration_text(seconds: float) -> str:
    """A duration in the unit that suits it.

    >>> [duration_text(seconds) for seconds in (7.4, 200, 9000)]
    ['7 s', '3 min', '2.5 h']
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
