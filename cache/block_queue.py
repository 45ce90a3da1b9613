"""Blocks of bytes on their way to the disk: one thread hashes them, one writes them, one flushes the files.

All three let go of Python's lock while they work, so that a store is written as fast as the slowest step
allows. Each takes what comes in the order in which it comes. The number of buffers of each size is bounded:
who asks for one waits until a block is written.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from types import TracebackType
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from cache.output_file import OutputFile

Buffer: TypeAlias = "NDArray[np.uint8]"


@dataclass(frozen=True, kw_only=True)
class _Block:
    """The first bytes of a buffer, and the file that they belong to; `last` closes it."""

    file: OutputFile
    buffer: Buffer
    num_bytes: int
    last: bool

    @property
    def data(self) -> memoryview:
        return self.buffer.data[: self.num_bytes]


class BlockQueue:
    """Hashes and writes blocks of several files in threads; a context manager.

    What goes wrong in a thread is raised by the next call of `buffer`, else at the end of the block; nothing
    is written after it. No thread and no open file outlives the block.

    Args:
        directory: Where the files lie; has to be there.
        num_buffers: Size in bytes -> how many buffers of it there are.

    Attributes:
        files: Every file that was opened.
    """

    def __init__(self, directory: Path, num_buffers: Mapping[int, int]) -> None:
        self._directory = directory
        self._free: dict[int, SimpleQueue[Buffer]] = {size_bytes: SimpleQueue() for size_bytes in num_buffers}
        for size_bytes, number in num_buffers.items():
            for _ in range(number):
                self._free[size_bytes].put(np.empty(size_bytes, np.uint8))
        self.files: list[OutputFile] = []
        self._failure: BaseException | None = None
        self._stopped = False
        self._inboxes: list[SimpleQueue[_Block | None]] = []
        self._threads: list[Thread] = []

    def __enter__(self) -> BlockQueue:
        for work in (self._hash, self._write, self._flush):
            self._inboxes.append(SimpleQueue())
            name = f"store-{work.__name__.strip('_')}"
            thread = Thread(target=self._serve, args=(len(self._threads), work), name=name, daemon=True)
            self._threads.append(thread)
        try:
            for thread in self._threads:
                thread.start()
        except BaseException as error:
            self._inboxes[0].put(None)
            self._join()
            if isinstance(error, RuntimeError):  # the system's limit on threads
                raise OSError(errno.EAGAIN, f"no thread could be started to write with ({error})") from error
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped |= error is not None
        self._inboxes[0].put(None)
        try:
            self._join()
        finally:
            for file in self.files:
                with suppress(OSError):  # what matters was said when it was written
                    file.close()
        if error is None:
            self._raise_failure()

    def open(self, name: str) -> OutputFile:
        """A new file to put blocks to; its path relative to the directory is `name`."""
        file = OutputFile(self._directory, name)
        self.files.append(file)
        return file

    def buffer(self, size_bytes: int) -> Buffer:
        """A buffer to fill; waits until there is one.

        Args:
            size_bytes: One of the sizes that there are.

        Raises:
            OSError: The disk is full or not writable.
        """
        buffer = self._free[size_bytes].get()
        self._raise_failure()
        return buffer

    def put(self, file: OutputFile, buffer: Buffer, num_bytes: int, *, last: bool = False) -> None:
        """Give a filled buffer away.

        Args:
            file: Where its bytes go.
            buffer: From `buffer`; no longer the caller's.
            num_bytes: How many of its bytes.
            last: Whether these are the file's last.
        """
        self._inboxes[0].put(_Block(file=file, buffer=buffer, num_bytes=num_bytes, last=last))

    def _serve(self, step: int, work: Callable[[_Block], None]) -> None:
        """Do one step's work on what comes, and pass it on; after a failure, only pass it on."""
        while True:
            block = self._inboxes[step].get()
            if block is not None and not self._stopped:
                try:
                    work(block)
                except BaseException as error:
                    self._failure = self._failure or error
                    self._stopped = True
            # Buffers come back after the write, or who waits for one would wait for the disk's flush.
            if block is not None and work == self._write:
                self._free[len(block.buffer)].put(block.buffer)
            if step + 1 < len(self._inboxes):
                self._inboxes[step + 1].put(block)
            if block is None:
                return

    def _hash(self, block: _Block) -> None:
        block.file.hash(block.data)

    def _write(self, block: _Block) -> None:
        block.file.write(block.data)

    def _flush(self, block: _Block) -> None:
        block.file.flush(last=block.last)
        if block.last:
            block.file.close()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _join(self) -> None:
        """Wait for the threads; an interrupt makes them stop early, and is raised when they have."""
        interrupt: BaseException | None = None
        for thread in self._threads:
            while thread.is_alive():
                try:
                    thread.join()
                except BaseException as error:
                    interrupt, self._stopped = error, True
        if interrupt is not None:
            raise interrupt
