"""Where pictures and sound come from while they happen, and how far a slow reader falls behind: one picture.

source    a  b  c  d  e  f  g  h        each offered when it arrives
slot      a     c     e  f     h        one that is not taken yet is replaced by the next one
reader    [--a--][--c-][e][--f--][h-    takes the latest; b, d and g are missed
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.live.trailing_sound import TrailingSound

# How long a wait lasts before Python looks for an interrupt.
_WAIT_S = 0.2


@dataclass(frozen=True, kw_only=True, eq=False)
class LiveFrame:
    """A picture and when it came.

    Attributes:
        index: Its number in the source, from 0.
        time_s: Its time in seconds: on the container's timeline, or since the capture's first picture.
        rgb: Upright, (height, width, 3) uint8.
        arrived_s: Reading of `time.monotonic` when it was there, when it was due in a file, or, where each
            waits until the one before is done, when its turn came.
    """

    index: int
    time_s: float
    rgb: NDArray[np.uint8]
    arrived_s: float


class FrameSlot:
    """Room for one frame, between the thread that reads the source and the one that computes.

    Args:
        keep_all: Whether a frame waits until the one before has been taken, instead of replacing it. It then
            arrives when it is taken.
        now: Clock in seconds.

    Attributes:
        num_missed: Frames that were replaced before they were taken.
    """

    def __init__(self, *, keep_all: bool = False, now: Callable[[], float] = time.monotonic) -> None:
        self.num_missed = 0
        self._keep_all, self._now = keep_all, now
        self._changed = threading.Condition()
        self._frame: LiveFrame | None = None
        self._at_end = self._closed = False
        self._error: BaseException | None = None

    def offer(self, frame: LiveFrame) -> bool:
        """Put a frame in.

        Returns:
            False when nobody takes frames any more.
        """
        with self._changed:
            while self._keep_all and self._frame is not None and not self._closed:
                self._changed.wait()
            if self._closed:
                return False
            self.num_missed += self._frame is not None
            self._frame = frame
            self._changed.notify_all()
            return True

    def finish(self, error: BaseException | None = None) -> None:
        """Say that no frame follows, and why where that is a failure; the first one counts."""
        with self._changed:
            self._at_end, self._error = True, self._error or error
            self._changed.notify_all()

    def take(self) -> LiveFrame | None:
        """The latest frame, once there is one; None after the last.

        Raises:
            Exception: What the source failed with, after its last frame.
        """
        with self._changed:
            while self._frame is None and not self._at_end:
                self._changed.wait(_WAIT_S)
            frame, self._frame = self._frame, None
            self._changed.notify_all()
            if frame is None and self._error is not None:
                raise self._error
            if frame is not None and self._keep_all:
                return replace(frame, arrived_s=self._now())
            return frame

    def close(self) -> None:
        """Take no more frames."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class LiveSource(Protocol):
    """Pictures and sound that are read by a thread of their own from `start` on."""

    @property
    def slot(self) -> FrameSlot:
        """Where the pictures arrive."""
        ...

    @property
    def num_frames(self) -> int:
        """Pictures so far, missed ones included."""
        ...

    @property
    def rate_hz(self) -> float | None:
        """Pictures per second by their own times; None before the second one."""
        ...

    def start(self) -> None:
        """Begin to read."""
        ...

    def sound_until(self, time_s: float) -> TrailingSound:
        """The sound that has been heard, as far as a time where it is known so far."""
        ...

    def close(self) -> None:
        """Stop reading, whatever is left."""
        ...
