"""Where work is done, and what a cluster is left as."""

from __future__ import annotations

import os
import signal
from types import SimpleNamespace

import pytest

from pipeline.run.engine import (
    LocalEngine,
    _stop_tolerating_dead_workers,
    _tolerate_dead_workers,
    end_local_workers,
)


def process_id(_: object) -> int:
    return os.getpid()


def test_a_lone_task_does_not_run_in_this_process_unless_there_is_one_worker() -> None:
    assert list(LocalEngine(1).results(process_id, [0, 1])) == [os.getpid()] * 2
    assert os.getpid() not in LocalEngine(2).results(process_id, [0])
    assert LocalEngine(1).alone(process_id, 0) != os.getpid()
    assert list(LocalEngine(2).results(process_id, [])) == []


def test_workers_are_gone_at_the_end_even_where_they_do_not_answer() -> None:
    engine = LocalEngine(2)
    workers = set(engine.results(_own_process, range(20)))
    for worker in workers:
        os.kill(worker, signal.SIGSTOP)
    end_local_workers()
    for worker in workers:
        with pytest.raises(ProcessLookupError):
            os.kill(worker, 0)
    end_local_workers()
    assert sorted(engine.results(abs, [-2, 1])) == [1, 2]  # and there are others afterwards
    end_local_workers()


def _own_process(_: int) -> int:
    return os.getpid()


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
