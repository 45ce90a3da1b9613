"""What a backbone server does: one thread that computes, and one per connection that listens.

All networks run on one thread. Torch's switches (TF32, determinism, number of threads) are of the process,
so two threads that compute would change them under each other. It takes one turn after another: one request
for faces, then a few batches of each backbone, then faces again, so that none waits for long.

A connection is one conversation, of one of three kinds:

    facts                                   ->  facts
    detect (pictures)                       ->  faces | error
    map, then any number of
        block                                         no answer: the client goes on decoding
        next                                ->  rows | error, of the oldest block not yet answered

The client says `next` when it waits for rows. So it is listening when rows are sent, and the server knows
which clips wait and which may bring more.
"""

from __future__ import annotations

import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.backbone_server.batch_queue import BatchQueue, BlockJob, Job, Piece
from pipeline.backbone_server.picture_faces import faces_message
from pipeline.backbone_server.sent_errors import error_fields
from pipeline.backbone_server.wire import Message, block_of, receive, send
from pipeline.errors import ExtractionError

if TYPE_CHECKING:
    from pipeline.models import Models


class Service:
    """The networks, for any number of clients.

    Args:
        models: The networks.
        batch_size: Inputs per call of a backbone.
        fatal: Errors after which no network computes any more; `run` raises them, others go to the client.
    """

    def __init__(
        self,
        models: Models,
        batch_size: int,
        fatal: tuple[type[Exception], ...] = (),
    ) -> None:
        self._models, self._fatal = models, fatal
        self._queues = {
            name: BatchQueue(batch_size, len(mapper.views or (None,)))
            for name, mapper in models.embedders.items()
        }
        self._pictures: deque[tuple[Job, Sequence[NDArray[Any]]]] = deque()
        self._facts = {
            name: {
                "takes": mapper.takes,
                "num_features": mapper.num_features,
                "views": mapper.views,
                "crop_size_px": mapper.crop_size_px,
                "window_samples": mapper.window_samples,
                "batch_size": batch_size,
            }
            for name, mapper in models.embedders.items()
        }
        # Whose turn it is: None for faces, else a stream.
        self._lanes: deque[str | None] = deque([None, *self._queues])
        # Guards the queues; told when one of them changes.
        self._changed = threading.Condition()

    def accept(self, listener: socket.socket) -> None:
        """Talk to every client that connects, each on a thread of its own. Does not return."""
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=self._converse, args=(connection,), daemon=True).start()

    def run(self) -> None:
        """Compute what clients ask for. Returns only by raising.

        Raises:
            Exception: One of the fatal ones.
        """
        while True:
            with self._changed:
                while (turn := self._next_turn()) is None:
                    self._changed.wait(self._patience_s())
            turn()

    def _next_turn(self) -> Callable[[], None] | None:
        """What to compute now, of whoever's turn it is among those that have something."""
        for _ in range(len(self._lanes)):
            lane = self._lanes[0]
            self._lanes.rotate(-1)
            if lane is None:
                if self._pictures:
                    return partial(self._detect, *self._pictures.popleft())
            elif pieces := self._queues[lane].take(time.monotonic()):
                return partial(self._embed, lane, pieces)
        return None

    def _patience_s(self) -> float | None:
        """How long to wait for something to change; None for as long as it takes."""
        deadlines = [queue.deadline_s() for queue in self._queues.values()]
        nearest = min((deadline for deadline in deadlines if deadline is not None), default=None)
        return None if nearest is None else max(0.0, nearest - time.monotonic())

    def _detect(self, job: Job, pictures: Sequence[NDArray[np.uint8]]) -> None:
        try:
            job.finish(self._models.detector.detect(pictures))
        except self._fatal:
            raise
        except Exception as error:
            job.fail(error)

    def _embed(self, name: str, pieces: Sequence[Piece]) -> None:
        """Run pieces through a backbone; what fails is on the account of its own block alone."""
        try:
            rows = list(self._models.embedders[name].map(piece.inputs() for piece in pieces))
            self._check(name, pieces, rows)
        except self._fatal:
            raise
        except Exception as error:
            if len(pieces) == 1:
                self._give_up(name, pieces[0].job, error)
                return
            # One of them is to blame: by itself each shows.
            for piece in pieces:
                self._embed(name, [piece])
            return
        for piece, piece_rows in zip(pieces, rows, strict=True):
            piece.job.add_rows(piece_rows)

    @staticmethod
    def _check(name: str, pieces: Sequence[Piece], rows: Sequence[NDArray[np.float32]]) -> None:
        """Every input must have a row, or its client would wait for ever."""
        expected = [piece.stop - piece.start for piece in pieces]
        got = [piece_rows.shape[-2] for piece_rows in rows]
        if got != expected:
            raise ExtractionError(
                f"stream {name!r}: expected {sum(expected)} rows for as many inputs, got {sum(got)}; mend "
                "the forward of its backbone"
            )

    def _give_up(self, name: str, job: BlockJob, error: Exception) -> None:
        with self._changed:
            self._queues[name].drop(job)
        job.fail(error)

    def _converse(self, connection: socket.socket) -> None:
        # A client that is gone, in the middle of a message or before its answer, is nobody's loss.
        with connection, suppress(OSError):
            message = receive(connection)
            if message is None:
                return
            if message.kind == "facts":
                send(connection, Message(kind="facts", fields=self._facts))
            elif message.kind == "detect":
                send(connection, self._answer_of(self._pictures_job(message), faces_message))
            else:
                self._map(connection, message.fields["stream"])

    def _pictures_job(self, message: Message) -> Job:
        job = Job()
        with self._changed:
            self._pictures.append((job, message.arrays))
            self._changed.notify()
        return job

    def _map(self, connection: socket.socket, name: str) -> None:
        """Take a clip's blocks and give its rows, until the client has no more."""
        queue = self._queues[name]
        jobs: deque[BlockJob] = deque()
        with self._changed:
            feeder = queue.open()
        try:
            while (message := receive(connection)) is not None:
                if message.kind == "block":
                    block = block_of(message)
                    with self._changed:
                        jobs.append(queue.add(feeder, block))
                        self._changed.notify()
                else:
                    job = jobs.popleft()
                    with self._changed:
                        feeder.awaited = job
                        self._changed.notify()
                    send(connection, self._answer_of(job, _rows_message))
        finally:
            with self._changed:
                queue.close(feeder)
                # Those that are left may all be waiting.
                self._changed.notify()

    def _answer_of(self, job: Job, message_of: Callable[[Any], Message]) -> Message:
        job.done.wait()
        if job.error is not None:
            return Message(kind="error", fields=error_fields(job.error))
        return message_of(job.result)


def _rows_message(rows: NDArray[np.float32]) -> Message:
    return Message(kind="rows", arrays=(rows,))
