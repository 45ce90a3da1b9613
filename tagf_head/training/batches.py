"""Which windows of an epoch a process takes, step by step.

    order of the epoch     7 2 9 4 0 | 8 1 3 6 5 | 11 10        batches of 5
    first of 2 processes   7 2 9     | 8 1 3     | 11 10        its share of each batch
    the second one               4 0 |       6 5 |   -          has no window in the last step: an empty one

Every process comes to every step, since the steps add up over the processes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from tagf_head.data.rows import Batch, FeatureRows
from tagf_head.data.windows import WindowPlan
from tagf_head.distributed import Processes
from tagf_head.errors import TrainingError


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingBatches:
    """The training windows, cut into steps that all processes take together.

    Attributes:
        rows: Rows of the training clips.
        plan: W windows over them.
        batch_size: Windows per step of all processes together.
        processes: Those that train together.

    Raises:
        TrainingError: Fewer windows in a batch than processes.
    """

    rows: FeatureRows
    plan: WindowPlan
    batch_size: int
    processes: Processes

    def __post_init__(self) -> None:
        if self.batch_size < self.processes.count:
            raise TrainingError(
                f"train.batch_size {self.batch_size} leaves some of {self.processes.count} processes without "
                "a window in every step; raise it, or start fewer processes"
            )

    @property
    def num_steps(self) -> int:
        """Steps of an epoch."""
        return -(-len(self.plan) // self.batch_size)

    @property
    def num_own(self) -> int:
        """Windows of this process in a whole batch."""
        return len(range(self.batch_size)[self.processes.share(self.batch_size)])

    def epoch(self, order: Tensor, view: Tensor, audio_shift: Tensor | None) -> Iterator[Batch]:
        """This process's batch of every step.

        Args:
            order: ``(W,)`` int64, the windows in the order of the epoch, the same in all processes.
            view: ``(W,)`` int64, view of each window of the plan.
            audio_shift: ``(W,)`` int64, shift of the audio rows of each window of the plan, or None.
        """
        share = self.processes.share(self.batch_size)
        place = torch.arange(len(order)) % self.batch_size
        own = order[(place >= share.start) & (place < share.stop)]
        batches = self.rows.batches(self.plan, self.num_own, order=own, view=view, audio_shift=audio_shift)
        num_done = 0
        for batch in batches:
            yield batch
            num_done += 1
        for _ in range(num_done, self.num_steps):
            yield self._empty()

    def _empty(self) -> Batch:
        """A window of padding alone."""
        (batch,) = self.rows.batches(self.plan, 1, order=torch.zeros(1, dtype=torch.int64))
        return replace(batch, **{name: torch.zeros_like(each) for name, each in vars(batch).items()})


def filled_up(batch: Batch, num_windows: int) -> Batch:
    """A batch with windows of padding behind its own, `num_windows` in all.

    Compiled code is made for one shape, and each further one takes as long to compile as the first.
    """
    missing = num_windows - len(batch.frame_mask)
    return replace(
        batch,
        **{
            name: F.pad(each, (*[0, 0] * (each.dim() - 1), 0, missing), value=0)
            for name, each in vars(batch).items()
        },
    )
