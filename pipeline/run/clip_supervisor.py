"""A process of its own for the work on clips, and the watch over it.

A damaged file can make a decoder crash, hang or swell, and no `try` helps against any of these. So a worker
does not touch media itself. It keeps a child process with the networks loaded, gives it one clip after the
other, and listens:

    worker ---- task ---> child        "started", then "beat" (frames so far) now and then, then "done"
           <--- beats --- decodes,
           <--- done ---- embeds, commits the part

Where the child is silent for `clip_timeout_s`, grows beyond `memory_mb` or dies, its whole process group is
killed and the clip has failed, alone: the next clip gets a fresh child.
"""

from __future__ import annotations

import atexit
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pipeline.config import LimitsConfig
from pipeline.errors import ClipProcessError
from pipeline.run.stage_board import StageBoard

# Between two looks at the child's memory.
_LOOK_S = 0.1
# Importing torch and loading the networks, on a busy machine and a slow disk.
_START_TIMEOUT_S = 900.0
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class ClipProcess:
    """A child process that works on clips; started when it is first needed, and again after it was killed.

    Args:
        module: What the child runs; it calls `pipeline.run.clip_process.serve`.
        environment: Variables that the child has besides those of this process.
    """

    def __init__(
        self,
        module: str = "pipeline.run.clip_process",
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._module, self._environment = module, environment
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._board = StageBoard()
        self._messages = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as this object
        atexit.register(self.close)

    def run(
        self,
        request: object,
        limits: LimitsConfig,
        on_beat: Callable[[int], None],
        on_length: Callable[[int], None] = lambda _: None,
    ) -> Any:
        """Have the child work on one clip.

        Args:
            request: Understood by the child's module; picklable.
            limits: How long it may be silent, how large it may grow.
            on_beat: Called with the number of frames done so far.
            on_length: Called with about the number of frames that there will be, if the child says it.

        Returns:
            What the child answers.

        Raises:
            ClipProcessError: The child hung, swelled or died, and was killed; names the stage.
            Exception: What the child raised because no clip would have fared better.
        """
        self._board.show(None)
        connection = self._send(request)
        loading, last = True, time.monotonic()
        while True:
            timeout_s = _START_TIMEOUT_S if loading else limits.clip_timeout_s
            left_s = last + timeout_s - time.monotonic()
            try:
                if connection.poll(max(0.0, min(_LOOK_S, left_s))):
                    kind, *content = connection.recv()
                    loading, last = False, time.monotonic()
                    if kind == "beat":
                        on_beat(content[0])
                    elif kind == "length":
                        on_length(content[0])
                    elif kind == "done":
                        return content[0]
                    elif kind == "fatal":
                        raise content[0]
                    continue
            except (EOFError, ConnectionError) as error:
                raise self._died() from error
            if left_s <= 0 and loading:
                self.close()
                raise ClipProcessError(
                    "start",
                    f"the networks were not loaded within {timeout_s:g} s: see whether the disk with the "
                    "weights answers, and run again",
                )
            if left_s <= 0:
                self.close()
                raise ClipProcessError(
                    self._board.read(),
                    f"no further frame within {timeout_s:g} s (extract.limits.clip_timeout_s); the process "
                    "was killed: repair or remove the media file, or allow more time",
                )
            memory_mb = self._memory_bytes() // 2**20
            if memory_mb > limits.memory_mb:
                self.close()
                raise ClipProcessError(
                    self._board.read(),
                    f"the process grew to {memory_mb} MB, more than {limits.memory_mb} MB "
                    "(extract.limits.memory_mb), and was killed: repair or remove the media file, or allow "
                    "more memory",
                )

    def close(self) -> None:
        """Kill the child, if there is one."""
        if self._process is not None:
            # Its group is its own session: whatever it has started goes with it.
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        if self._connection is not None:
            self._connection.close()
        self._process = self._connection = None

    def _send(self, request: object) -> Connection:
        """Hand the request over to a child that took it up."""
        while True:
            fresh = self._process is None
            connection = self._start() if self._connection is None else self._connection
            try:
                connection.send(request)
                # A child that had nothing to do for long may be on its way out: then another takes its place.
                if connection.poll(_START_TIMEOUT_S) and connection.recv() == ("started",):
                    return connection
            except (EOFError, ConnectionError) as error:
                if fresh:
                    raise self._died() from error
            self.close()
            if fresh:
                raise ClipProcessError("start", "a process to work on clips did not start; run 'tagf doctor'")

    def _start(self) -> Connection:
        self._messages.seek(0)
        self._messages.truncate()  # what an earlier child said
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                # -P: not what happens to lie in the working directory, but what this process can import, a
                # backbone of the user's own for one.
                [
                    *(sys.executable, "-P", "-m", self._module),
                    *map(str, (theirs.fileno(), self._board.descriptor, os.getpid())),
                ],
                env={
                    **os.environ,
                    **self._environment,
                    "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
                },
                stdin=subprocess.DEVNULL,
                stdout=self._messages,
                stderr=self._messages,
                pass_fds=[theirs.fileno(), self._board.descriptor],
                start_new_session=True,
            )
        self._connection = Connection(ours.detach())
        return self._connection

    def _died(self) -> ClipProcessError:
        """What is known of a child that ended by itself."""
        process = self._process
        assert process is not None  # there is a connection, so there is a process
        try:
            code = process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            code = 0  # it closed its end and lives on
        self.close()
        # What a process that ran into a Python error said last is the error.
        how = f"died of {signal.Signals(-code).name}" if code < 0 else f"ended with {self._last_line()!r}"
        return ClipProcessError(self._board.read(), f"the process {how}: repair or remove the media file")

    def _last_line(self) -> str:
        """The last line that children wrote to their standard error."""
        self._messages.seek(0)
        lines = self._messages.read().decode(errors="replace").split("\n")
        return next((line.strip()[:200] for line in reversed(lines) if line.strip()), "")

    def _memory_bytes(self) -> int:
        """Resident memory of the child; 0 where the system does not tell."""
        assert self._process is not None
        try:
            return int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]) * _PAGE_BYTES
        except (OSError, IndexError):
            return 0


_of_this_thread = threading.local()


def clip_process() -> ClipProcess:
    """The child of this thread: a worker of the Dask engine may have several threads."""
    if not hasattr(_of_this_thread, "process"):
        _of_this_thread.process = ClipProcess()
    process: ClipProcess = _of_this_thread.process
    return process
