"""Failures of one of several processes, which the others end with as well, each with one line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch.distributed as dist

from tagf_head.distributed import Processes, gather_values
from tagf_head.errors import TrainingError

T = TypeVar("T")

_REASON_LENGTH = 300
#: gloo raises plain RuntimeErrors.
_SIGNS_OF_A_LOST_PROCESS = ("gloo", "Connection ", "NCCL")


def in_all(compute: Callable[[], T]) -> T:
    """What a function gives in this process, when it has succeeded in all of them.

    Args:
        compute: Called in every process; must not wait for the others.

    Raises:
        TrainingError: It failed in another process. Where it failed itself, its own error is raised.
    """
    failure: Exception | None = None
    try:
        value = compute()
    except Exception as error:
        failure = error
    reasons = gather_values(None if failure is None else _one_line(failure))
    if failure is not None:
        raise failure
    for rank, reason in enumerate(reasons):
        if reason is not None:
            raise TrainingError(
                f"process {rank} of {len(reasons)} has failed ({reason}); mend that and start all of them "
                "again"
            )
    return value


@contextmanager
def naming_lost_processes(processes: Processes) -> Iterator[None]:
    """Say in one line that another process has ended, where a sum over the processes finds it gone.

    Raises:
        TrainingError: Instead of the errors of torch's process groups.
    """
    try:
        yield
    except RuntimeError as error:
        is_lost = isinstance(error, dist.DistError) or any(
            sign in str(error) for sign in _SIGNS_OF_A_LOST_PROCESS
        )
        if processes.count == 1 or not is_lost:
            raise
        raise TrainingError(
            f"process {processes.rank} of {processes.count} has lost another one ({_one_line(error)}); see "
            "what that one ended with, and start all of them again with --resume"
        ) from error


def _one_line(error: Exception) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:_REASON_LENGTH]
