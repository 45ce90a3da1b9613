"""The stage that a process is in, where another one can read it when the first has died."""

from __future__ import annotations

import os
import tempfile

from pipeline.stage_clock import STAGES

_NAMES = ("rows", *STAGES)


class StageBoard:
    """One byte in a file without a name, which a child process inherits.

    Args:
        descriptor: Of a file that another process made; None to make one.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        self._file = tempfile.TemporaryFile() if descriptor is None else None  # noqa: SIM115
        self.descriptor = self._file.fileno() if self._file is not None else (descriptor or 0)

    def show(self, stage: str | None) -> None:
        """Put up a stage; None between stages."""
        os.pwrite(self.descriptor, bytes([_NAMES.index(stage or "rows")]), 0)

    def read(self) -> str:
        """The stage that was put up last; `rows` between stages and before the first one."""
        return _NAMES[int.from_bytes(os.pread(self.descriptor, 1, 0))]
