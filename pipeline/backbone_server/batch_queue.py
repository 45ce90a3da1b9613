"""What waits for one backbone, and when a batch of it is run.

A batch has one fixed shape, and running it half empty costs as much as running it full. So:

1.  As soon as the waiting inputs, of all clips together, fill batches, those are run, and no more than fill.
2.  A rest that does not fill a batch is run at once, padded, when no clip that is being worked on could add
    to it: each has said that it waits for rows, so nothing more comes before they have theirs. This is how
    the last batch of the last clip, or of each clip where there is one client, is run without delay.
3.  Otherwise some clip may be about to add to it, or may yet be decoding for seconds: the rest is run when it
    has been a rest for `LINGER_S` and is still none that fills a batch. That bounds the wait, so that no
    client starves, and it gives clients that just received rows the time to send what they have ready.

Nothing here blocks or looks at a clock: the service asks with the time, and sleeps until `deadline`.

Shapes: n inputs of a block, V views, D features.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.input_blocks import Block

# A tenth of what a client needs to decode a block, or less.
LINGER_S = 0.01
# Full batches in one turn: more would let other backbones and the detector wait, fewer would let a GPU wait
# for the CPU between two turns more often.
MAX_TURN_BATCHES = 8


class Job:
    """Something asked for, and what came of it.

    Attributes:
        result: What was asked for, once `done` is set and there is no error.
        error: Why there is no result.
        done: Set when there is one of them.
    """

    def __init__(self) -> None:
        self.result: Any = None
        self.error: Exception | None = None
        self.done = threading.Event()

    def finish(self, result: object) -> None:
        """Hand the result over."""
        self.result = result
        self.done.set()

    def fail(self, error: Exception) -> None:
        """Hand over why there is none."""
        self.error = error
        self.done.set()


class BlockJob(Job):
    """The rows of one block.

    Attributes:
        block: The block.
        num_taken: Inputs of it that were taken for a batch.
    """

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.block = block
        self.num_taken = 0
        self._rows: list[NDArray[np.float32]] = []

    def add_rows(self, rows: NDArray[np.float32]) -> None:
        """The rows of the next inputs, (n, D) or (V, n, D); with the last ones the job is done."""
        self._rows.append(rows)
        if sum(part.shape[-2] for part in self._rows) == len(self.block):
            self.finish(self._rows[0] if len(self._rows) == 1 else np.concatenate(self._rows, axis=-2))


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Consecutive inputs of one block that go into the same turn.

    Attributes:
        job: Whose block it is.
        start: First input.
        stop: One past the last input.
    """

    job: BlockJob
    start: int
    stop: int

    def inputs(self) -> Block:
        """The inputs as a block of their own, which shares the memory of the whole."""
        return self.job.block.part(slice(self.start, self.stop))


class Feeder:
    """A clip that is being worked on, as far as one backbone is concerned.

    Attributes:
        awaited: The job whose rows the client waits for, and adds nothing before it has them.
    """

    def __init__(self) -> None:
        self.awaited: Job | None = None

    @property
    def waits(self) -> bool:
        """Whether nothing more comes before rows are given."""
        return self.awaited is not None and not self.awaited.done.is_set()


class BatchQueue:
    """Blocks of several clips in the order in which they came.

    Args:
        batch_size: Inputs per call of the backbone, each view counting as one.
        num_views: Views per input.
    """

    def __init__(self, batch_size: int, num_views: int) -> None:
        # So few inputs fill whole batches with their views.
        self._unit = batch_size // math.gcd(batch_size, num_views)
        self._max_taken = self._unit * max(1, MAX_TURN_BATCHES * batch_size // (self._unit * num_views))
        self._jobs: deque[tuple[Feeder, BlockJob]] = deque()
        self._feeders: set[Feeder] = set()
        # When `take` first found inputs that fill no batch.
        self._rest_since_s: float | None = None

    @property
    def num_inputs(self) -> int:
        """Inputs that wait."""
        return sum(len(job.block) - job.num_taken for _, job in self._jobs)

    def open(self) -> Feeder:
        """A place for a clip that is now being worked on."""
        feeder = Feeder()
        self._feeders.add(feeder)
        return feeder

    def close(self, feeder: Feeder) -> None:
        """The clip is done, or its client is gone: nobody wants what is left of it."""
        self._feeders.discard(feeder)
        self._jobs = deque(entry for entry in self._jobs if entry[0] is not feeder)

    def add(self, feeder: Feeder, block: Block) -> BlockJob:
        """A block of at least one input joins the queue."""
        job = BlockJob(block)
        self._jobs.append((feeder, job))
        return job

    def drop(self, job: BlockJob) -> None:
        """Leave out what is left of a block that failed."""
        self._jobs = deque(entry for entry in self._jobs if entry[1] is not job)

    def take(self, now_s: float) -> list[Piece]:
        """The inputs that are to be run now by the rule above; none where it is better to wait.

        Args:
            now_s: Seconds on any clock that never goes back.
        """
        waiting = self.num_inputs
        wanted = min(waiting - waiting % self._unit, self._max_taken)
        if wanted or not waiting:
            self._rest_since_s = None
        elif self._nothing_comes() or (
            self._rest_since_s is not None and now_s >= self._rest_since_s + LINGER_S
        ):
            wanted, self._rest_since_s = waiting, None
        elif self._rest_since_s is None:
            self._rest_since_s = now_s
        pieces: list[Piece] = []
        while wanted:
            job = self._jobs[0][1]
            stop = min(job.num_taken + wanted, len(job.block))
            pieces.append(Piece(job=job, start=job.num_taken, stop=stop))
            wanted -= stop - job.num_taken
            job.num_taken = stop
            if stop == len(job.block):
                self._jobs.popleft()
        return pieces

    def deadline_s(self) -> float | None:
        """When to call `take` again if nothing changes; None for not at all."""
        return None if self._rest_since_s is None else self._rest_since_s + LINGER_S

    def _nothing_comes(self) -> bool:
        return all(feeder.waits for feeder in self._feeders)
