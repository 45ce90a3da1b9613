"""Where the time of a clip goes.

Stages nest: decoding happens while the face tracker asks for its next frame. Time is charged to the
innermost stage alone, so the stages add up to the whole.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")

STAGES = ("decode", "faces", "log_mel", "visual_backbone", "audio_backbone", "clip_streams", "write")


class StageClock:
    """Seconds per stage of one clip.

    Args:
        now: Clock in seconds.
        show: Told the innermost stage whenever it is another one; None between stages.

    Attributes:
        seconds: By stage.
        failed_stage: Innermost stage that an exception came out of, None while there was none.
    """

    def __init__(
        self,
        now: Callable[[], float] = time.perf_counter,
        show: Callable[[str | None], None] = lambda _: None,
    ) -> None:
        self.seconds: dict[str, float] = dict.fromkeys(STAGES, 0.0)
        self.failed_stage: str | None = None
        self._now, self._show = now, show
        self._running: list[str] = []
        self._since = 0.0

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Charge the time of a block to a stage, and not to the stage around it."""
        self._charge()
        self._running.append(name)
        self._show(name)
        try:
            yield
        except Exception:
            self.failed_stage = self.failed_stage or name
            raise
        finally:
            self._charge()
            self._running.pop()
            self._show(self._running[-1] if self._running else None)

    def timed(self, name: str, items: Iterable[T]) -> Iterator[T]:
        """Charge to a stage the time that an iterable takes to give its items."""
        iterator = iter(items)
        while True:
            with self.stage(name):
                try:
                    item = next(iterator)
                except StopIteration:
                    return
            yield item

    def _charge(self) -> None:
        now = self._now()
        if self._running:
            self.seconds[self._running[-1]] += now - self._since
        self._since = now
