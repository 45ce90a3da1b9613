"""A head's forward passes in evaluation and prediction: what a clip is given depends on its rows alone.

Libraries choose another order of summation for another number of rows, for rows at another place of a batch,
and for another number of threads, so that the same window's values differ in their last bits. On a CPU, a
pass therefore holds windows of one clip alone, always the same ones, and computes on one thread; several
passes run side by side instead:

    clip       windows                     passes of up to 8
    a          0 1 2 3 4 5 6 7 8 9         a0-a7   a8-a9
    b          0 1 2                       b0-b2

An accelerator is given full batches across clips; its values depend on them in the last bits.

Letters in shapes: B windows of a pass, L frames, K values per frame, N rows, M gate candidates.
"""

from __future__ import annotations

import copy
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tagf_head.config import TARGETS
from tagf_head.data.rows import Batch
from tagf_head.heads.head import HeadOutput

#: Windows of a pass on a CPU. Whoever predicts in another way than evaluation must keep to it.
WINDOWS_PER_PASS = 8


@dataclass(frozen=True, kw_only=True, eq=False)
class GatedRows:
    """What a head says of N rows, and what its gates chose there.

    Attributes:
        values: ``(N, 2)`` float64, valence and arousal.
        variance: ``(N, 2)`` float64, predicted variances of their errors, means over the windows like the
            values; None of a head that predicts none.
        gates: Gate -> ``(N, M)`` float64 weights of its candidates, which sum to 1; empty for a head without
            gates.
    """

    values: NDArray[np.float64]
    variance: NDArray[np.float64] | None
    gates: Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True, kw_only=True)
class ValueLayout:
    """Where each of a head's K values per frame stands.

    Attributes:
        num_estimates: 2 for valence and arousal, 4 with their variances, which follow them.
        num_candidates: Gate -> number M of its candidates, whose weights follow the estimates.
    """

    num_estimates: int = len(TARGETS)
    num_candidates: Mapping[str, int] = field(default_factory=dict)

    @property
    def num_values(self) -> int:
        """K."""
        return self.num_estimates + sum(self.num_candidates.values())

    def split(self, values: NDArray[np.float64]) -> GatedRows:
        """``(N, K)`` values by their names."""
        bounds = np.cumsum([self.num_estimates, *self.num_candidates.values()]).tolist()
        return GatedRows(
            values=values[:, : len(TARGETS)],
            variance=values[:, len(TARGETS) : self.num_estimates]
            if self.num_estimates > len(TARGETS)
            else None,
            gates={
                name: values[:, start:stop]
                for name, (start, stop) in zip(self.num_candidates, pairwise(bounds), strict=True)
            },
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class PassValues:
    """All that a head says of the windows of a pass.

    Attributes:
        values: ``(B, L, K)``, on the head's device.
        layout: Which is which.
    """

    values: Tensor
    layout: ValueLayout


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """The module is in evaluation mode inside the block; afterwards in that which it had."""
    was_training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(was_training)


def pass_sizes(clip: NDArray[np.int64]) -> list[int]:
    """How many windows the passes on a CPU have.

    Args:
        clip: ``(W,)`` clip of each window; those of a clip follow one another.

    >>> pass_sizes(np.repeat([0, 3], [10, 3]))
    [8, 2, 3]
    """
    bounds = [0, *(np.flatnonzero(np.diff(clip)) + 1).tolist(), len(clip)]
    return [
        min(WINDOWS_PER_PASS, stop - start)
        for first, stop in pairwise(bounds)
        for start in range(first, stop, WINDOWS_PER_PASS)
    ]


def with_variance(found: HeadOutput) -> Tensor:
    """Valence and arousal, ``(B, L, 2)``, followed by their variances, ``(B, L, 4)``, where there are some.

    Overlapping windows are averaged in the variance: the mean square is what a deviation is made of.
    """
    if found.deviation is None:
        return found.prediction
    return torch.cat([found.prediction, found.deviation.square()], dim=-1)


def head_pass(head: nn.Module, visual: Tensor, audio: Tensor, frame_mask: Tensor) -> PassValues:
    """One forward pass of a head in evaluation mode, on as many threads as torch has.

    Args:
        head: The head.
        visual: ``(B, L, D_v)``, as for `Head.forward`.
        audio: ``(B, L, D_a)``, likewise.
        frame_mask: ``(B, L)``, likewise.
    """
    with torch.no_grad():
        found: HeadOutput = head(visual, audio, frame_mask, return_all=True)
        estimates = with_variance(found)
        layout = ValueLayout(
            num_estimates=estimates.shape[-1],
            num_candidates={name: weights.shape[-1] for name, weights in found.gates.items()},
        )
        return PassValues(values=torch.cat([estimates, *found.gates.values()], dim=-1), layout=layout)


def head_passes(head: nn.Module, batches: Iterable[Batch], device: torch.device) -> Iterator[PassValues]:
    """Forward passes of a head in evaluation mode, in order.

    Args:
        head: The head.
        batches: One for each pass; on a CPU those of `pass_sizes`.
        device: Where the head and the batches are. On a CPU, as many passes run at a time as torch has
            threads, each on one thread.
    """
    num_threads = torch.get_num_threads()
    if device.type != "cpu" or num_threads == 1:
        for batch in batches:
            yield head_pass(head, batch.visual, batch.audio, batch.frame_mask)
        return
    of_thread = threading.local()

    def begin() -> None:
        torch.set_num_threads(1)
        # Of its own: a head may leave something of a pass in its attributes.
        of_thread.head = copy.deepcopy(head)

    def work(batch: Batch) -> PassValues:
        return head_pass(of_thread.head, batch.visual, batch.audio, batch.frame_mask)

    waiting: deque[Future[PassValues]] = deque()
    try:
        with ThreadPoolExecutor(num_threads, initializer=begin) as pool:
            for batch in batches:
                waiting.append(pool.submit(work, batch))
                if len(waiting) > num_threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
    finally:
        torch.set_num_threads(num_threads)  # threads that begin later go by the last number that was set
