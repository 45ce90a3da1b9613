"""Progress of work that has no more to tell than how much of it is done."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, TextIO

from tqdm import tqdm

# Into a file or a pipe, where a bar would leave hundreds of lines.
SECONDS_BETWEEN_LINES = 10.0


class ProgressBar(AbstractContextManager["ProgressBar"]):
    """A bar on a terminal; elsewhere, where it would leave hundreds of lines, one line every 10 s.

    Work that takes less leaves no line at all.

    Args:
        what: Name of the work.
        unit: Of what is counted; `B` for bytes.
        total: How many there are; None where nobody knows.
        initial: How many are done already.
        shown: Whether to show anything.
        file: Where to; standard error by default.
        now: Clock in seconds.
    """

    def __init__(
        self,
        what: str,
        unit: str,
        total: int | None = None,
        *,
        initial: int = 0,
        shown: bool = True,
        file: TextIO | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._what, self._unit, self._now = what, unit, now
        self._file = file if file is not None else sys.stderr
        self._shown, self._total = shown, total
        self._initial = self._done = initial
        self._started = self._last = now()
        self._bar: tqdm[Any] | None = None
        if shown and self._file.isatty():
            self._bar = tqdm(
                desc=what, unit=unit, unit_scale=unit == "B", total=total, initial=initial, file=self._file
            )

    @property
    def total(self) -> int | None:
        """How many there are."""
        return self._total

    @total.setter
    def total(self, total: int | None) -> None:
        self._total = total
        if self._bar is not None:
            self._bar.total = total

    def update(self, num: int = 1) -> None:
        """So many more are done."""
        self._done += num
        if self._bar is not None:
            self._bar.update(num)
        elif self._shown and self._now() - self._last >= SECONDS_BETWEEN_LINES:
            self._last = self._now()
            print(f"{self._what}: {self.line()}", file=self._file, flush=True)

    def reset(self, total: int | None = None) -> None:
        """Begin anew, with another total if one is given."""
        self._total = total if total is not None else self._total
        self._initial = self._done = 0
        self._started = self._last = self._now()
        if self._bar is not None:
            self._bar.reset(total)

    def line(self) -> str:
        """How much is done, how fast, and the time left."""
        scale = self._unit == "B"
        done = tqdm.format_sizeof(self._done) if scale else str(self._done)
        if self._total is not None:
            done += f"/{tqdm.format_sizeof(self._total) if scale else self._total}"
        parts = [f"{done}{'' if scale else ' '}{self._unit}{'' if scale else 's'}"]
        elapsed_s = self._now() - self._started
        new = self._done - self._initial
        if new > 0 and elapsed_s > 0:
            rate = new / elapsed_s
            parts.append(
                f"{tqdm.format_sizeof(rate) if scale else f'{rate:.1f} '}{self._unit}{'' if scale else 's'}/s"
            )
            if self._total is not None:
                parts.append(f"{tqdm.format_interval((self._total - self._done) / rate)} left")
        return ", ".join(parts)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()
