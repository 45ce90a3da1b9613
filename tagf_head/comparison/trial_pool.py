"""Many trials at once, in processes of this machine.

A process that the system kills, mostly for its memory, takes the others of the pool with it. Their trials go
on from where they were, one by one, so that the one that cannot be done is found; the rest then runs with
half as many processes. A trial whose memory did not suffice, on a GPU too, is treated alike. A process that
an error on the GPU has made useless is replaced, once the others have come to the end of their trials.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import closing, suppress
from multiprocessing import resource_tracker
from pathlib import Path

from joblib.externals.loky import ProcessPoolExecutor
from joblib.externals.loky.backend.context import get_context
from joblib.externals.loky.process_executor import BrokenProcessPool

from tagf_head.comparison.failures import failure_status, failure_text
from tagf_head.comparison.trial import RunTrial, Trial, TrialOutcome

# What an interrupted training needs to save its state.
_GRACE_S = 20.0
_SECONDS_BETWEEN_LOOKS = 0.25

# In the folder of some processes: they go on while the first is there, and each has one of the second kind
# while it works on a trial.
_GOING_ON = "going-on"
_BUSY = "busy-"


def run_trials(
    trials: Sequence[Trial], run: RunTrial, num_jobs: int, report: Callable[[str], None]
) -> Iterator[TrialOutcome]:
    """Outcomes as they come; those of all trials, but where a disk is full.

    Args:
        trials: The trials.
        run: Runs one; is sent to other processes where there are several jobs.
        num_jobs: Most trials at once; with one, it runs in this process.
        report: Called with a line where something unusual happens.
    """
    pool = _here(trials, run, report) if num_jobs == 1 else _Pool(trials, run, num_jobs, report).outcomes()
    with closing(pool) as outcomes:
        for outcome in outcomes:
            yield outcome
            if outcome.status == "disk full":
                # The others would fail as well, each after its first epoch.
                return


def _here(
    trials: Sequence[Trial], run: RunTrial, report: Callable[[str], None]
) -> Generator[TrialOutcome, None, None]:
    for number, trial in enumerate(trials, 1):
        outcome = run(trial)
        yield outcome
        if outcome.is_process_spoilt and number < len(trials):
            yield from _Pool(trials[number:], run, 1, report).outcomes()
            return


class _Pool:
    """See `run_trials`."""

    def __init__(
        self, trials: Sequence[Trial], run: RunTrial, num_jobs: int, report: Callable[[str], None]
    ) -> None:
        self._waiting = deque(trials)
        self._alone: deque[Trial] = deque()
        self._run = run
        self._num_jobs = min(num_jobs, len(trials))
        self._report = report
        self._workers = _Workers(self._num_jobs)
        self._running: dict[Future[TrialOutcome], Trial] = {}
        # Whether what runs is one trial that is to have the machine to itself.
        self._is_lone = False
        # Whether a process is of no more use: none knows which of them takes the next trial.
        self._is_spoilt = False

    def outcomes(self) -> Generator[TrialOutcome, None, None]:
        try:
            while self._waiting or self._alone or self._running:
                try:
                    self._start()
                except BrokenProcessPool:
                    yield from self._after_a_killed_worker([])
                    continue
                done, _ = wait(self._running, return_when=FIRST_COMPLETED)
                yield from self._collected(done)
        finally:
            self._workers.stop(self._running)

    def _start(self) -> None:
        """Fill the places, or give the machine to one trial once the others have ended."""
        if self._is_spoilt:
            if self._running:
                return
            self._is_spoilt = False
            self._workers.stop({})
            self._workers = _Workers(self._num_jobs)
        if self._alone:
            if not self._running:
                self._is_lone = True
                self._submit(self._alone)
            return
        while not self._is_lone and self._waiting and len(self._running) < self._num_jobs:
            self._is_lone = self._num_jobs == 1
            self._submit(self._waiting)

    def _submit(self, trials: deque[Trial]) -> None:
        future = self._workers.submit(self._run, trials[0])
        self._running[future] = trials.popleft()

    def _collected(self, done: set[Future[TrialOutcome]]) -> Iterator[TrialOutcome]:
        lost: list[Trial] = []
        for future in done:
            trial = self._running.pop(future)
            was_lone, self._is_lone = self._is_lone, False
            try:
                outcome = future.result()
            except BrokenProcessPool:
                self._is_lone = was_lone
                lost.append(trial)
                continue
            except (Exception, SystemExit) as error:  # what it found could not be sent, for example
                error_text = failure_text(error, trial.entry.head.name)
                outcome = TrialOutcome(trial=trial, status=failure_status(error), error=error_text)
            self._is_spoilt |= outcome.is_process_spoilt
            if outcome.status == "out of memory" and not was_lone:
                self._try_alone([trial], f"{trial.name}: {outcome.error}")
            else:
                yield outcome
        if lost:
            yield from self._after_a_killed_worker(lost)

    def _after_a_killed_worker(self, lost: list[Trial]) -> Iterator[TrialOutcome]:
        lost += self._running.values()
        self._running.clear()
        self._workers.stop({})
        was_lone, self._is_lone = self._is_lone, False
        if was_lone:
            for trial in lost:
                error = (
                    "its process was killed, though no other trial ran; most often the memory is too small: "
                    "try fewer frames per batch, or a machine with more"
                )
                yield TrialOutcome(trial=trial, status="failed", error=error)
        else:
            self._try_alone(lost, "a worker process was killed, most often for want of memory")
        self._workers = _Workers(self._num_jobs)

    def _try_alone(self, trials: list[Trial], why: str) -> None:
        self._alone.extend(trials)
        self._num_jobs = max(1, self._num_jobs // 2)
        names = "; ".join(trial.name for trial in trials)
        self._report(
            f"{why}: one at a time now go {names}; then {self._num_jobs} at once"
            if trials
            else f"{why}: {self._num_jobs} at once from now on"
        )


class _Workers:
    """Processes that end with this one, save their state when it is interrupted, and have one thread each."""

    def __init__(self, num_workers: int) -> None:
        # Python's own lets interrupts through again when it starts, which would undo what `submit` does.
        resource_tracker.ensure_running()
        # What processes share to be told (an Event, a Pipe) may be held by one that was killed, for ever.
        self._folder = Path(tempfile.mkdtemp(prefix="tagf-compare-"))
        (self._folder / _GOING_ON).touch()
        self._executor = ProcessPoolExecutor(
            num_workers,
            context=get_context("loky"),
            initializer=_prepare_worker,
            initargs=(self._folder, os.getpid()),
            env={"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
        )

    def submit(self, run: RunTrial, trial: Trial) -> Future[TrialOutcome]:
        # Processes start here, and inherit what is blocked: an interrupt while they import would end each
        # with a traceback. Here it waits until they have started.
        former = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            future: Future[TrialOutcome] = self._executor.submit(_run_in_worker, run, trial, self._folder)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, former)
        return future

    def stop(self, running: Iterable[Future[TrialOutcome]]) -> None:
        """End the processes; trainings that go on may save their state."""
        (self._folder / _GOING_ON).unlink(missing_ok=True)
        left = {*running}
        ends_s = time.monotonic() + _GRACE_S
        # A second interrupt ends the waiting, not the cleaning up.
        with suppress(KeyboardInterrupt):
            while left and time.monotonic() < ends_s and any(self._folder.glob(f"{_BUSY}*")):
                _, left = wait(left, timeout=_SECONDS_BETWEEN_LOOKS)
        # A process that still imports has nothing to save.
        is_stuck = not all(future.done() for future in left)
        self._executor.shutdown(wait=True, kill_workers=is_stuck)
        shutil.rmtree(self._folder, ignore_errors=True)


def _prepare_worker(folder: Path, parent: int) -> None:
    # An interrupt from the terminal reaches every process; the first one passes it on, once.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=_watch, args=(folder / _GOING_ON, parent), daemon=True).start()


def _run_in_worker(run: RunTrial, trial: Trial, folder: Path) -> TrialOutcome:
    """Can be interrupted, where a process that waits for work could only end with a traceback."""
    interrupted = TrialOutcome(trial=trial, status="failed", error="interrupted")
    busy = folder / f"{_BUSY}{os.getpid()}"
    try:
        signal.signal(signal.SIGTERM, _interrupt)
        busy.touch()
        # In this order: either it is seen to be busy, or it sees that it is time to stop.
        if not (folder / _GOING_ON).exists():
            return interrupted
        return run(trial)
    except KeyboardInterrupt:
        return interrupted
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        busy.unlink(missing_ok=True)


def _watch(going_on: Path, parent: int) -> None:
    """Interrupt the trial when it is time to stop, and end when nobody would read what it finds."""
    while going_on.exists():
        if os.getppid() != parent:
            os._exit(1)
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    os.kill(os.getpid(), signal.SIGTERM)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt
