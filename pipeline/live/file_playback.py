"""A media file as a live source: its pictures arrive at their times, or as soon as the one before is done."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pipeline.config import LimitsConfig, MediaConfig
from pipeline.live.live_source import FrameSlot, LiveFrame
from pipeline.live.trailing_sound import TrailingSound
from pipeline.media.audio import stream_sound
from pipeline.media.video import decode_video

# Short, as a microphone's would be: what is resampled at once delays the sound.
SOUND_PIECE_S = 0.04
# An example reaches so far beyond its picture.
_BEYOND_S = 0.005


class FilePlayback:
    """Plays a file.

    A picture arrives when it is due, counted from the first one, even where decoding is late: that is part of
    its latency. Its sound is there with it.

    Args:
        path: The file.
        media: Which streams; rows at a rate of their own are not made here.
        limits: What the file may cost.
        every: Only every n-th picture is offered.
        at_own_pace: Whether pictures arrive at their times, and are missed by a slow reader; otherwise none
            is missed.
        window_samples: Of the audio backbone, as for `TrailingSound`.
        now: Clock in seconds.

    Attributes:
        slot: Where the pictures arrive.
        num_frames: Pictures so far.
    """

    def __init__(
        self,
        path: Path,
        media: MediaConfig,
        limits: LimitsConfig,
        *,
        every: int = 1,
        at_own_pace: bool = True,
        window_samples: int | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.slot = FrameSlot(keep_all=not at_own_pace, now=now)
        self.num_frames = 0
        self._path, self._every, self._at_own_pace, self._now = path, every, at_own_pace, now
        self._media, self._limits = replace(media, resample_fps=None), limits
        self._first_s = self._last_s = 0.0
        self._closed = threading.Event()
        self._sound = TrailingSound(window_samples)
        self._stream = stream_sound(path, self._media, limits, piece_s=SOUND_PIECE_S)
        self._sound_at_end = False
        self._thread = threading.Thread(target=self._read, name="playback", daemon=True)

    @property
    def rate_hz(self) -> float | None:
        """See `LiveSource`."""
        return (self.num_frames - 1) / (self._last_s - self._first_s) if self.num_frames > 1 else None

    def start(self) -> None:
        """See `LiveSource`."""
        self._thread.start()

    def sound_until(self, time_s: float) -> TrailingSound:
        """See `LiveSource`.

        Raises:
            MediaError: The sound cannot be decoded.
        """
        while not self._sound_at_end and (self._sound.stop_s or self._stream.start_s) < time_s + _BEYOND_S:
            piece = next(self._stream.pieces, None)
            if piece is None:
                self._sound_at_end = True
            else:
                self._sound.add(piece, self._stream.start_s)
        return self._sound

    def close(self) -> None:
        """See `LiveSource`."""
        self._closed.set()
        self.slot.close()
        if self._thread.is_alive():
            self._thread.join()

    def _read(self) -> None:
        try:
            self._play()
        except Exception as error:
            self.slot.finish(error)
        else:
            self.slot.finish()

    def _play(self) -> None:
        began_s: float | None = None
        for frame in decode_video(self._path, self._media, self._limits):
            assert frame.rgb is not None
            if began_s is None:
                began_s, self._first_s = self._now(), frame.time_s
            due_s = began_s + frame.time_s - self._first_s
            if self._at_own_pace:
                self._closed.wait(max(0.0, due_s - self._now()))
            self.num_frames, self._last_s = frame.index + 1, frame.time_s
            if frame.index % self._every and not self._closed.is_set():
                continue
            if not self.slot.offer(
                LiveFrame(index=frame.index, time_s=frame.time_s, rgb=frame.rgb, arrived_s=due_s)
            ):
                return
