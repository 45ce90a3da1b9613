"""What tests of whole runs share: to know when the last process of a run has ended."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from pathlib import Path

import pytest

# Long enough for processes to end on a busy machine; nothing waits for it to pass.
PATIENCE_S = 120


class Lifeline:
    """A named pipe that every process holds which imports the tiny backbones, until it ends.

    Standard output would not do: what works on clips has another one than its run.

    Attributes:
        environment: Tells the processes where it is.
    """

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self._descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self.environment = {"TEST_LIFELINE": str(path)}

    def all_ended(self) -> bool:
        """Whether there were such processes, and all of them end; waits for it."""
        # Readable, with nothing to read, when the last writer is gone; not before there was one.
        readable, _, _ = select.select([self._descriptor], [], [], PATIENCE_S)
        return bool(readable)

    def close(self) -> None:
        os.close(self._descriptor)


@pytest.fixture
def lifeline(tmp_path: Path) -> Iterator[Lifeline]:
    line = Lifeline(tmp_path / "lifeline")
    yield line
    line.close()
