"""What went wrong with a trial: whether it may be the machine's fault, and where in one's own head."""

from __future__ import annotations

import errno
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import torch

from tagf_head.errors import HeadError
from tagf_head.heads.own_head import is_own_head
from tagf_head.heads.own_head_source import locate_source

FailureStatus = Literal["failed", "out of memory", "disk full"]

# Of a plain RuntimeError: torch's allocator on a CPU, cuBLAS, and CUDA's own calls.
_NO_MEMORY = (
    "DefaultCPUAllocator: can't allocate memory",
    "DefaultCPUAllocator: not enough memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDA error: out of memory",
)


def failure_status(error: BaseException) -> FailureStatus:
    """Whether memory or disk did not suffice; other trials may fare alike, and this one better alone."""
    for cause in _causes(error):
        if isinstance(cause, (MemoryError, torch.OutOfMemoryError)):
            return "out of memory"
        if isinstance(cause, RuntimeError) and any(words in str(cause) for words in _NO_MEMORY):
            return "out of memory"
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
            return "disk full"
    return "failed"


def failure_text(error: BaseException, head: str) -> str:
    """What went wrong, in one line; with file and line where it went through the code of one's own head.

    Args:
        error: What was raised.
        head: Name of the head.
    """
    message = " ".join(str(error).split())
    if not (isinstance(error, ValueError) and message):
        message = f"{type(error).__name__}: {message}"
    place = _place_in_own_head(error, head)
    return message if place is None else f"{message} ({place})"


def _place_in_own_head(error: BaseException, head: str) -> str | None:
    """``file:line`` of the innermost call in the head's own code."""
    if not is_own_head(head):
        return None
    try:
        root = locate_source(head).root.resolve()
    except (HeadError, OSError):
        return None
    for cause in _causes(error):
        for frame in reversed(traceback.extract_tb(cause.__traceback__)):
            if Path(frame.filename).resolve().is_relative_to(root):
                return f"{frame.filename}:{frame.lineno}"
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__
