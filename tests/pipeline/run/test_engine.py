"""Where work is done, and what a cluster is left as."""

from __future__ import annotations

import os
from types import SimpleNamespace

from pipeline.run.engine import LocalEngine, _stop_tolerating_dead_workers, _tolerate_dead_workers


def process_id(_: object) -> int:
    return os.getpid()


def test_a_lone_task_does_not_run_in_this_process_unless_there_is_one_worker() -> None:
    assert list(LocalEngine(1).results(process_id, [0, 1])) == [os.getpid()] * 2
    assert os.getpid() not in LocalEngine(2).results(process_id, [0])
    assert LocalEngine(1).alone(process_id, 0) != os.getpid()
    assert list(LocalEngine(2).results(process_id, [])) == []


def test_a_scheduler_is_as_it_was_when_the_last_of_several_runs_has_ended() -> None:
    scheduler = SimpleNamespace(allowed_failures=3)
    _tolerate_dead_workers(scheduler)
    _tolerate_dead_workers(scheduler)
    _stop_tolerating_dead_workers(scheduler)
    assert scheduler.allowed_failures > 1000
    _stop_tolerating_dead_workers(scheduler)
    assert scheduler.allowed_failures == 3
    _tolerate_dead_workers(scheduler)
    _stop_tolerating_dead_workers(scheduler)
    assert scheduler.allowed_failures == 3
