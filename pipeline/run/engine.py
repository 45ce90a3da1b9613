"""Where the workers of a run are: processes of this machine, or of a Dask cluster. Both go through joblib."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from typing import Any, Generic, Literal, Protocol, TypeVar

from joblib import Parallel, delayed, parallel_config
from joblib.externals.loky import reusable_executor
from joblib.externals.loky.process_executor import TerminatedWorkerError

from pipeline.errors import EngineError
from pipeline.process_bond import end_with_parent

T = TypeVar("T")
A = TypeVar("A")

EngineName = Literal["local", "dask"]


_MANY = 1_000_000
_CONNECT_S = 5.0
_WORKERS_S = 60.0


class LostWorkersError(Exception):
    """Workers died, and with them results of work that may have been done."""


class Engine(Protocol):
    """What the run asks of either kind.

    Attributes:
        num_workers: How many work at once.
    """

    num_workers: int

    def results(self, work: Callable[[A], T], tasks: Sequence[A]) -> Iterator[T]:
        """Results as they come, so that none waits for a longer clip before it.

        Raises:
            LostWorkersError: Some workers died; results that have not come are lost, tasks that have not
                begun are not done.
        """
        ...

    def alone(self, work: Callable[[A], T], task: A) -> T:
        """The result of one task that may kill its worker; nothing else runs beside it.

        Raises:
            LostWorkersError: It did.
        """
        ...

    def close(self) -> None:
        """Let go of the workers."""
        ...


class LocalEngine:
    """Processes of this machine, by loky; with one worker, this process.

    Args:
        num_workers: How many.
    """

    def __init__(self, num_workers: int) -> None:
        self.num_workers = num_workers

    def results(self, work: Callable[[A], T], tasks: Sequence[A]) -> Iterator[T]:
        """As `Engine.results`."""
        if not tasks:
            return iter(())
        # With two or more, one task goes to a process of its own, too: it may kill that.
        num_jobs = min(self.num_workers, max(2, len(tasks)))
        return _in_parallel(_EndingWithRun(work), tasks, num_jobs)

    def alone(self, work: Callable[[A], T], task: A) -> T:
        """As `Engine.alone`; never in this process, which would die with it."""
        (result,) = _in_parallel(_EndingWithRun(work), [task], 2)
        return result

    def close(self) -> None:
        """As `Engine.close`; loky's workers stay for a next run, see `end_local_workers`."""


def end_local_workers() -> None:
    """Kill the idle workers of local engines, for a process that is about to end.

    loky asks them to end, and they might not: one of several idle workers waits with the lock of loky's queue
    in its hands. Where it was killed, the others wait for that lock, and this process for them, for minutes.
    They have nothing to lose: parts are committed whole.
    """
    executor = reusable_executor._executor
    if executor is not None:
        executor.shutdown(wait=True, kill_workers=True)


class DaskEngine:
    """Workers of a Dask cluster that runs already, by joblib's Dask backend.

    Workers of one thread each are best (`dask worker --nthreads 1`): then a dead worker tells which clip it
    had. All of them must see the media and the work directory under the same paths.

    Args:
        scheduler: Address of the cluster's scheduler, for example `tcp://10.0.0.1:8786`.

    Raises:
        EngineError: Dask is not installed, or no cluster answers there.
    """

    def __init__(self, scheduler: str) -> None:
        try:
            distributed: Any = import_module("distributed")  # untyped
        except ModuleNotFoundError as error:
            raise EngineError(
                "engine 'dask': expected the package distributed, found none; install tagf with its extra: "
                "pip install 'tagf[cluster]'"
            ) from error
        try:
            self._client = distributed.Client(scheduler, timeout=_CONNECT_S, set_as_default=False)
        except (OSError, ValueError) as error:
            raise EngineError(
                f"engine 'dask': expected a scheduler at {scheduler!r}, got none ({error}); start one with "
                "'dask scheduler' and give the address that it prints"
            ) from error
        try:
            self._client.wait_for_workers(1, timeout=_WORKERS_S)
        except TimeoutError as error:
            self._client.close()
            raise EngineError(
                f"engine 'dask': expected workers at {scheduler!r}, found none in {_WORKERS_S:g} s; start "
                f"some with 'dask worker {scheduler} --nthreads 1'"
            ) from error
        self.num_workers = sum(self._client.nthreads().values())
        # Dask blames a dead worker on every task that waited there, and joblib then waits for ever. Which
        # clip it was, the workers themselves know better.
        self._client.run_on_scheduler(_tolerate_dead_workers)

    def results(self, work: Callable[[A], T], tasks: Sequence[A]) -> Iterator[T]:
        """As `Engine.results`. What a dead worker had begun, Dask gives to another one by itself."""
        if tasks:
            with parallel_config(backend=_cluster_backend(self._client)):
                yield from _in_parallel(work, tasks, -1)

    def alone(self, work: Callable[[A], T], task: A) -> T:
        """As `Engine.alone`."""
        (result,) = self.results(work, [task])
        return result

    def close(self) -> None:
        """As `Engine.close`; the cluster goes on as it was."""
        self._client.run_on_scheduler(_stop_tolerating_dead_workers)
        self._client.close()


def _cluster_backend(client: Any) -> Any:
    """Joblib's Dask backend, which never takes the work for itself: with one worker, joblib would."""
    dask_backend: Any = import_module("joblib._dask").DaskDistributedBackend

    class ClusterBackend(dask_backend):  # type: ignore[misc]  # joblib is untyped
        def effective_n_jobs(self, n_jobs: int) -> int:
            workers: int = super().effective_n_jobs(n_jobs)
            return max(2, workers)

    return ClusterBackend(client=client)


def _tolerate_dead_workers(dask_scheduler: Any) -> None:
    """Let any number of workers die with a task, until the last run that asked for it has ended."""
    if not getattr(dask_scheduler, "tagf_runs", 0):
        dask_scheduler.tagf_allowed_failures = dask_scheduler.allowed_failures
        dask_scheduler.allowed_failures = _MANY
        dask_scheduler.tagf_runs = 0
    dask_scheduler.tagf_runs += 1


def _stop_tolerating_dead_workers(dask_scheduler: Any) -> None:
    dask_scheduler.tagf_runs -= 1
    if not dask_scheduler.tagf_runs:
        dask_scheduler.allowed_failures = dask_scheduler.tagf_allowed_failures


class _EndingWithRun(Generic[A, T]):
    """Work in processes of this machine that end when this one does."""

    def __init__(self, work: Callable[[A], T]) -> None:
        self._work = work
        self._run = os.getpid()

    def __call__(self, task: A) -> T:
        if os.getpid() != self._run:
            end_with_parent(self._run)
        return self._work(task)


def _in_parallel(work: Callable[[A], T], tasks: Sequence[A], num_jobs: int) -> Iterator[T]:
    # batch_size=1: joblib would otherwise tie short clips together, to succeed or die together. loky gives
    # each worker its share of the cores in OMP_NUM_THREADS, by which torch goes, unless the user has set it.
    parallel = Parallel(n_jobs=num_jobs, batch_size=1, return_as="generator_unordered")
    try:
        yield from parallel(delayed(work)(task) for task in tasks)
    except TerminatedWorkerError as error:
        raise LostWorkersError(str(error)) from error
