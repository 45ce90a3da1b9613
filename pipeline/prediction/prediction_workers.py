"""Workers of a prediction: threads with a child process each, which they watch."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace

from joblib import cpu_count

from pipeline.config import LimitsConfig
from pipeline.errors import ClipProcessError
from pipeline.prediction.prediction_record import ClipRecord
from pipeline.prediction.prediction_task import PredictionTask
from pipeline.run.clip_supervisor import ClipProcess
from pipeline.run.progress import ExtractionProgress

_CHILD = "pipeline.prediction.prediction_process"


class PredictionWorkers:
    """Threads with a child process each.

    Args:
        num_workers: How many.
        limits: What a clip may cost.
        shown: Is told how far each clip is.
        devices: Shared among the workers; each keeps to one, where its networks are.
    """

    def __init__(
        self, num_workers: int, limits: LimitsConfig, shown: ExtractionProgress, devices: Sequence[str]
    ) -> None:
        self._limits, self._shown, self._devices = limits, shown, devices
        self._threads = ThreadPoolExecutor(num_workers, thread_name_prefix="predict")
        # As stage one's workers have it: a share of the cores each, unless the user has said otherwise.
        share = str(max(1, cpu_count() // num_workers))
        self._environment = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", share)}
        self._processes: list[ClipProcess] = []
        self._of_thread = threading.local()
        self._lock = threading.Lock()
        self._closed = False

    def results(
        self, tasks: Sequence[PredictionTask]
    ) -> Iterator[tuple[PredictionTask, tuple[ClipRecord, ...]]]:
        """What became of each clip, as it is done.

        Raises:
            Exception: What no clip would have survived.
        """
        tasks_of = {self._threads.submit(self._work, task): task for task in tasks}
        for done in as_completed(tasks_of):
            yield tasks_of[done], done.result()

    def close(self) -> None:
        """End all processes, whatever they are at."""
        with self._lock:
            self._closed = True
            for process in self._processes:
                process.close()
        self._threads.shutdown(cancel_futures=True)

    def _work(self, task: PredictionTask) -> tuple[ClipRecord, ...]:
        started = time.monotonic()
        try:
            process, device = self._process()
            found: tuple[ClipRecord, ...] = process.run(
                replace(task, predictor=replace(task.predictor, device=device)),
                self._limits,
                lambda num_frames: self._shown.add_frames(task.clip_id, num_frames),
                lambda num_frames: self._shown.set_length(task.clip_id, num_frames),
            )
        except ClipProcessError as error:
            seconds = time.monotonic() - started
            return (task.failure(error.stage, f"{type(error).__name__}: {error}", seconds),)
        return found

    def _process(self) -> tuple[ClipProcess, str]:
        """The child of this thread, and its device."""
        with self._lock:
            if self._closed:
                raise ClipProcessError("start", "the run has ended")
            if not hasattr(self._of_thread, "process"):
                self._of_thread.process = ClipProcess(_CHILD, self._environment)
                self._of_thread.device = self._devices[len(self._processes) % len(self._devices)]
                self._processes.append(self._of_thread.process)
        return self._of_thread.process, self._of_thread.device
