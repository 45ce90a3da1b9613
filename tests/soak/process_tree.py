"""All processes that this one has started, directly or not: found, killed, waited for.

Orphans become children of this process (Linux: a subreaper), so that none gets out of sight, whatever
sessions and process groups they are in.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """From now on, processes whose parent dies become children of this one."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "this system cannot give orphans to this process")


def fork(work: Callable[[], object], output: Path | None = None) -> int:
    """A process that does some work and ends, with 0, or 1 after an error.

    Args:
        work: What it does.
        output: File that its words are added to; None to let it speak.

    Returns:
        Its process id.
    """
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        if output is not None:
            descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            for standard in (1, 2):
                os.dup2(descriptor, standard)
        work()
        code = 0
    except BaseException:
        import traceback

        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(code)


def descendants(process: int | None = None) -> list[int]:
    """Living processes that another one has started, directly or not, children before their children."""
    children = defaultdict(list)
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended
            # The name between brackets may hold anything.
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
            if state not in "ZX":
                children[int(parent)].append(int(path.parent.name))
    found: list[int] = []
    waiting = [os.getpid() if process is None else process]
    while waiting:
        started = children[waiting.pop(0)]
        found += started
        waiting += started
    return found


def kill(process: int) -> None:
    """SIGKILL, to a process that may have ended."""
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


def kill_all(spared: Iterable[int] = ()) -> None:
    """SIGKILL to all descendants of this process, and to what they start meanwhile; then none is left.

    Args:
        spared: Direct children that live on.
    """
    spared = set(spared)
    while victims := set(descendants()) - spared:
        for process in victims:
            kill(process)
        _wait(victims, 60)
        reap()


def wait_for_end(spared: Iterable[int], timeout_s: float) -> list[int]:
    """Wait until no descendant is left.

    Args:
        spared: Direct children that live on.
        timeout_s: Seconds that they may take together.

    Returns:
        Those that did not end in time.
    """
    spared, until = set(spared), time.monotonic() + timeout_s
    while living := set(descendants()) - spared:
        if left := _wait(living, until - time.monotonic()):
            return left
        reap()
    reap()
    return []


def exit_code(process: int, timeout_s: float) -> int | None:
    """Wait for a child.

    Returns:
        Its exit code, minus the signal that killed it; None if it has not ended in time.
    """
    if _wait([process], timeout_s):
        return None
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def reap() -> None:
    """Let go of children that have ended."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _wait(processes: Iterable[int], timeout_s: float) -> list[int]:
    """Wait until processes have ended; those that have not in time."""
    until, left = time.monotonic() + timeout_s, []
    for process in processes:
        try:
            descriptor = os.pidfd_open(process)
        except ProcessLookupError:
            continue
        try:
            if not select.select([descriptor], [], [], max(0.0, until - time.monotonic()))[0]:
                left.append(process)
        finally:
            os.close(descriptor)
    return left
