"""The child process that a worker gives one clip after the other: `python -m pipeline.run.clip_process`.

It holds the networks, or a connection to the process that does, and knows nothing of the run. What it says
and when is described in `pipeline.run.clip_supervisor`.
"""

from __future__ import annotations

import pickle
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from pipeline.errors import ExtractionError
from pipeline.process_bond import end_with_parent
from pipeline.run.clip_task import ClipTask
from pipeline.run.stage_board import StageBoard
from pipeline.stage_clock import StageClock

if TYPE_CHECKING:
    from pipeline.models import Models

# A child that has nothing to do for so long gives its memory back.
IDLE_S = 60.0
# Between two signs of life on the way to the worker.
_BEAT_S = 0.25


def main() -> None:
    """Work on clips of a run of stage one."""
    models = _LoadedModels()

    def work(request: tuple[str, ClipTask], heart: Heart) -> object:
        kind, task = request
        return _work(kind, task, models, heart)

    serve(work)


def serve(work: Callable[[Any, Heart], object]) -> None:
    """Work on clips until the worker says no more.

    Args:
        work: Takes a request and tells the heart how far it is; what it returns is the answer, what it raises
            no clip would have survived.
    """
    descriptor, board, parent = map(int, sys.argv[1:])
    end_with_parent(parent)
    connection = Connection(descriptor)
    stage = StageBoard(board)
    while connection.poll(IDLE_S):
        try:
            request = connection.recv()
        except EOFError:
            return
        connection.send(("started",))
        try:
            answer = work(request, Heart(connection, stage))
        except Exception as error:
            connection.send(("fatal", _picklable(error)))
        else:
            connection.send(("done", answer))


class _LoadedModels:
    """The networks of the last configuration that was asked for."""

    def __init__(self) -> None:
        self._key: object = None
        self._models: Models | None = None

    def get(self, task: ClipTask) -> Models:
        """The networks for a task; those of another configuration go first."""
        # By fingerprint and not by path of the weights: a checkpoint may be replaced under the same path.
        key = (task.key.fingerprint, task.config.batch_size, task.device, task.server)
        if self._models is None or key != self._key:
            self._models = None
            self._models, self._key = self._load(task), key
        return self._models

    @staticmethod
    def _load(task: ClipTask) -> Models:
        if task.server is not None:
            from pipeline.backbone_server.client import RemoteModels

            return RemoteModels(task.server, task.config)
        from pipeline.models import load_models

        return load_models(task.config, task.device)


class Heart:
    """Tells the worker, now and then, that the work goes on."""

    def __init__(self, connection: Connection, board: StageBoard) -> None:
        self.clock = StageClock(show=board.show)
        self._connection = connection
        self._last = -_BEAT_S
        self._num_frames = 0

    def beat(self, num_frames: int = 0) -> None:
        """A sign of life.

        Args:
            num_frames: Frames of the clip done so far, as far as the caller knows.
        """
        self._num_frames = max(self._num_frames, num_frames)
        now = time.monotonic()
        if now - self._last >= _BEAT_S:
            self._last = now
            self._connection.send(("beat", self._num_frames))

    def expect(self, num_frames: int) -> None:
        """Say about how many frames of the clip there will be, as far as the caller knows."""
        self._connection.send(("length", num_frames))


def _work(kind: str, task: ClipTask, models: _LoadedModels, heart: Heart) -> object:
    """Whatever is wrong with the clip is in the answer; what is raised no clip would have survived."""
    # Late, because it imports torch: a worker is told at once that its child is alive.
    from pipeline.run.clip_work import compare_clip, extract_clip_parts, preview_clip

    loaded = models.get(task)
    heart.beat()
    work = {"extract": extract_clip_parts, "compare": compare_clip, "preview": preview_clip}[kind]
    return work(task, loaded, heart.clock, heart.beat)


def _picklable(error: Exception) -> Exception:
    """The error itself, or one that can travel in its place."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return ExtractionError(f"{type(error).__name__}: {' '.join(str(error).split())}")
    return error


if __name__ == "__main__":
    main()
