"""Trials in processes of their own: one that is killed, and one that finds too little memory."""

from __future__ import annotations

import os
import signal
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import pytest
from joblib.externals.loky.process_executor import BrokenProcessPool

from tagf_head.comparison import trial_pool
from tagf_head.comparison.entry import Entry
from tagf_head.comparison.trial import RunTrial, Trial, TrialOutcome
from tagf_head.comparison.trial_pool import run_trials
from tagf_head.head_config import HeadConfig

ENTRY = Entry(name="x", folder="x", head=HeadConfig())
TRIALS = [Trial(entry=ENTRY, seed=seed) for seed in range(4)]


@dataclass(frozen=True)
class Work:
    """Notes that a trial runs; seed 1 is killed each time, seed 2 lacks memory while others run.

    Seed 3 says whether an interrupt could reach its process, and ends the interpreter.
    """

    folder: Path
    parent: int = field(default_factory=os.getpid)

    def __call__(self, trial: Trial) -> TrialOutcome:
        note = self.folder / f"{trial.seed}-{os.getpid()}"
        note.touch()
        if trial.seed == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        if trial.seed == 3 and os.getpid() != self.parent:
            blocked = signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])
            raise SystemExit(f"interrupts: {not blocked}")
        if trial.seed == 2 and not (self.folder / "tried").exists():
            (self.folder / "tried").touch()
            return TrialOutcome(trial=trial, status="out of memory", error="CUDA out of memory")
        return TrialOutcome(trial=trial, status="trained")


def test_a_process_that_a_trial_ends_or_the_system_kills(tmp_path: Path) -> None:
    # In this order one process serves: the next one would not be started before the next trial.
    pool = trial_pool._Pool([TRIALS[3], TRIALS[1]], Work(tmp_path), 1, print)
    ended, killed = pool.outcomes()
    assert (killed.trial.seed, killed.status) == (1, "failed")
    assert "its process was killed, though no other trial ran" in killed.error
    assert (ended.status, ended.error) == ("failed", "SystemExit: interrupts: False")
    assert os.getpid() not in {int(path.name.split("-")[1]) for path in tmp_path.iterdir()}


class Broken:
    """In place of processes: seed 1 is killed and takes seed 0 with it, where that runs at the same time."""

    runs: ClassVar[list[int]] = []

    def __init__(self, num_workers: int) -> None:
        self.waiting: list[Future[TrialOutcome]] = []

    def submit(self, run: RunTrial, trial: Trial) -> Future[TrialOutcome]:
        future: Future[TrialOutcome] = Future()
        self.waiting.append(future)
        if trial.seed == 1:
            for each in self.waiting:
                each.set_exception(BrokenProcessPool("killed"))
        elif trial.seed or 1 in self.runs:
            self.waiting.pop().set_result(TrialOutcome(trial=trial, status="trained"))
        self.runs.append(trial.seed)
        return future

    def stop(self, running: object) -> None:
        pass


def test_a_killed_worker_costs_its_own_trial_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial_pool, "_Workers", Broken)
    monkeypatch.setattr(Broken, "runs", [])
    trials = [trial for trial in TRIALS if trial.seed != 2]
    lines: list[str] = []
    outcomes = {each.trial.seed: each for each in run_trials(trials, print, 2, lines.append)}  # type: ignore[arg-type]
    status = {seed: outcome.status for seed, outcome in outcomes.items()}
    assert status == {0: "trained", 1: "failed", 3: "trained"}
    assert sorted(Broken.runs) == [0, 0, 1, 1, 3]
    assert "its process was killed, though no other trial ran" in outcomes[1].error
    assert any("a worker process was killed" in line and "x, seed 1" in line for line in lines)


class Threads(ThreadPoolExecutor):
    """In place of processes, which take seconds to start."""

    number = 0

    def __init__(self, num_workers: int) -> None:
        super().__init__(num_workers)
        Threads.number += 1

    def stop(self, running: object) -> None:
        self.shutdown()


def test_a_lack_of_memory_is_tried_again_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial_pool, "_Workers", Threads)
    trials = [trial for trial in TRIALS if trial.seed != 1]
    lines: list[str] = []
    outcomes = [*run_trials(trials, Work(tmp_path), 2, lines.append)]
    assert {outcome.status for outcome in outcomes} == {"trained"}
    assert len(outcomes) == 3
    assert lines == ["x, seed 2: CUDA out of memory: one at a time now go x, seed 2; then 1 at once"]


def test_one_job_runs_here(tmp_path: Path) -> None:
    trials = [TRIALS[0], TRIALS[3]]
    assert [outcome.trial for outcome in run_trials(trials, Work(tmp_path), 1, print)] == trials
    assert {path.name for path in tmp_path.iterdir()} == {f"0-{os.getpid()}", f"3-{os.getpid()}"}


def test_a_spoilt_process_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial_pool, "_Workers", Threads)
    made: list[int] = []

    def run(trial: Trial) -> TrialOutcome:
        made.append(Threads.number)
        return TrialOutcome(trial=trial, status="failed", is_process_spoilt=trial.seed == 0)

    for num_jobs in (1, 2):
        made.clear()
        Threads.number = 0
        assert len([*run_trials(TRIALS, run, num_jobs, print)]) == 4
        # In this process, or in the first ones; then in others.
        assert (made[0], made[-1]) == (num_jobs - 1, num_jobs)


def test_a_worker_without_leave_returns_at_once(tmp_path: Path) -> None:
    former = signal.getsignal(signal.SIGTERM)
    try:
        outcome = trial_pool._run_in_worker(lambda trial: pytest.fail("has started"), TRIALS[0], tmp_path)
    finally:
        signal.signal(signal.SIGTERM, former)
    assert (outcome.status, outcome.error) == ("failed", "interrupted")
    assert not [*tmp_path.iterdir()]
