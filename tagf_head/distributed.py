"""Processes that train one head together, as `torchrun` starts them, and sums over them with gradients.

Every process holds the whole head and a share of each batch. A loss made of sums over the processes is the
same number in each of them, and its gradient arrives P times in all, once from every process;
DistributedDataParallel divides by P. What each process then has is the gradient that one process with the
whole batch would have. (torch's SyncBatchNorm does the same for its moments, but refuses tensors on the CPU.)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from tagf_head.errors import TrainingError

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Processes:
    """The processes that train together, seen from one of them.

    Attributes:
        rank: Which one this is; 0 writes and reports.
        count: How many there are.
        local_rank: Which one this is on its machine, for the choice of a GPU.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0

    @property
    def is_first(self) -> bool:
        """Whether this process writes and reports."""
        return self.rank == 0

    def share(self, num_items: int) -> slice:
        """This process's part of so many items in a row; parts differ by one item at most.

        Example:
            >>> [Processes(rank=rank, count=4).share(6) for rank in (0, 1, 2, 3)]
            [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None), slice(5, 6, None)]
        """
        size, num_larger = divmod(num_items, self.count)
        start = self.rank * size + min(self.rank, num_larger)
        return slice(start, start + size + (self.rank < num_larger))


@contextmanager
def joined() -> Iterator[Processes]:
    """Join the processes that `torchrun` started beside this one; without it there is this one alone.

    A process group that exists already is used as it is. It must serve tensors on the CPU as well as on the
    device, as one does that `torch.distributed.init_process_group` makes when no backend is named.

    Raises:
        TrainingError: The environment names no group that can be joined.
    """
    local_rank = _number("LOCAL_RANK", 0)
    if dist.is_available() and dist.is_initialized():
        yield Processes(rank=dist.get_rank(), count=dist.get_world_size(), local_rank=local_rank)
        return
    processes = Processes(rank=_number("RANK", 0), count=_number("WORLD_SIZE", 1), local_rank=local_rank)
    if processes.count == 1:
        # Whatever RANK says: some clusters set it for every job.
        yield Processes()
        return
    if not 0 <= processes.rank < processes.count:
        raise TrainingError(
            f"RANK={processes.rank} and WORLD_SIZE={processes.count}: expected 0 <= RANK < WORLD_SIZE; start "
            "the processes with torchrun, or clear both for one process"
        )
    try:
        dist.init_process_group()
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise TrainingError(
            f"process {processes.rank} of {processes.count} cannot join the others ({reason}); start them "
            "with torchrun, or clear RANK and WORLD_SIZE for one process"
        ) from error
    try:
        yield processes
    finally:
        dist.destroy_process_group()


def sum_over_processes(values: Tensor) -> Tensor:
    """Sum of each element over the processes, the same in all of them.

    The gradient of an element is the sum of the gradients that its sum has in all processes.

    Args:
        values: Of one shape and dtype in all processes.
    """
    return _summed(values) if _num_processes() > 1 else values


def stack_over_processes(values: Tensor) -> Tensor:
    """The values of all processes in the order of their ranks, with gradients as `sum_over_processes`.

    Args:
        values: `(...)`, of one shape and dtype in all processes.

    Returns:
        `(P, ...)`; bit for bit the same in all processes.
    """
    if _num_processes() == 1:
        return values[None]
    # A sum of one number and zeros is that number: so one collective serves both directions.
    mine = torch.arange(_num_processes(), device=values.device) == dist.get_rank()
    return sum_over_processes(torch.where(mine.reshape(-1, *[1] * values.dim()), values, 0))


def sum_arrays(*arrays: NDArray[Any]) -> None:
    """Replace arrays by their sums over the processes."""
    if _num_processes() > 1:
        for array in arrays:
            dist.all_reduce(torch.from_numpy(array))


def gather_values(value: T) -> list[T]:
    """A small plain value of each process, in the order of their ranks."""
    if _num_processes() == 1:
        return [value]
    values: list[T] = [value] * _num_processes()
    dist.all_gather_object(values, value)
    return values


def from_first(compute: Callable[[], T]) -> T:
    """What a function gives in the first process, in all of them, or what it raises there.

    The others do not call it.
    """
    if _num_processes() == 1:
        return compute()
    outcome: list[tuple[Any, Exception | None]] = [(None, None)]
    if dist.get_rank() == 0:
        try:
            outcome = [(compute(), None)]
        except Exception as error:
            outcome = [(None, error)]
    dist.broadcast_object_list(outcome, src=0, device=torch.device("cpu"))
    value, failure = outcome[0]
    if failure is not None:
        raise failure
    return cast(T, value)


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, values: Tensor) -> Tensor:
        return _all_reduced(values)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> Tensor:
        return _all_reduced(gradient)


def _all_reduced(values: Tensor) -> Tensor:
    total = values.detach().clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total)
    return total


@torch.compiler.disable  # type: ignore[untyped-decorator]
def _summed(values: Tensor) -> Tensor:
    return cast(Tensor, _Sum.apply(values))  # type: ignore[no-untyped-call]


def _num_processes() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def _number(variable: str, default: int) -> int:
    text = os.environ.get(variable, "")
    try:
        return int(text) if text else default
    except ValueError:
        raise TrainingError(
            f"{variable}={text!r} is no number; start the processes with torchrun, or clear it"
        ) from None
