"""Progress of a run over clips: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import TextIO

from tqdm import tqdm

from pipeline.progress_bar import SECONDS_BETWEEN_LINES
from pipeline.run.extraction_report import ClipOutcome

# On a terminal, which heartbeats of many workers would keep busy.
_SECONDS_BETWEEN_DRAWINGS = 0.2


class _Display:
    """A bar on a terminal, lines elsewhere.

    Args:
        what: Name of the work.
        total: Of the bar.
        enabled: Whether to show anything.
        file: Where to; standard error by default.
        now: Clock in seconds.
    """

    def __init__(
        self, what: str, total: int, *, enabled: bool, file: TextIO | None, now: Callable[[], float]
    ) -> None:
        self._what, self._enabled, self._now = what, enabled, now
        self._file = file if file is not None else sys.stderr
        self._last = now()
        self._bar = (
            tqdm(total=total, desc=what, file=self._file, bar_format="{desc} |{bar:20}| {postfix}")
            if enabled and self._file.isatty()
            else None
        )

    def show(self, done: int, line: Callable[[], str], *, at_once: bool = False) -> None:
        """Show how far the work is, if it is time to.

        Args:
            done: Of the bar's total.
            line: What to write beside the bar, or alone.
            at_once: Whether it is worth showing whatever was shown a moment ago.
        """
        if not self._enabled:
            return
        pause_s = SECONDS_BETWEEN_LINES if self._bar is None else _SECONDS_BETWEEN_DRAWINGS
        if not at_once and self._now() - self._last < pause_s:
            return
        self._last = self._now()
        if self._bar is None:
            print(f"{self._what}: {line()}", file=self._file, flush=True)
        else:
            self._bar.n = done
            self._bar.set_postfix_str(line(), refresh=False)
            self._bar.refresh()

    def close(self) -> None:
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.close()


class ExtractionProgress:
    """Clips done, frames per second, and the time left, on standard error; safe to tell from several threads.

    The time left goes by bytes of media: clips differ in length by factors of hundreds. What a clip that is
    still being worked on has of them is estimated from its frames, by the bytes per frame of the clips done.

    Args:
        num_bytes: Size of the media file of each clip to do, by clip id.
        enabled: Whether to show anything.
        what: Name of the work.
        file: Where to; standard error by default.
        now: Clock in seconds.
    """

    def __init__(
        self,
        num_bytes: Mapping[str, int],
        *,
        enabled: bool,
        what: str = "extract",
        file: TextIO | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._num_bytes = num_bytes
        self._all_bytes = sum(num_bytes.values())
        self._bytes_done = self._frames_done = self._failed = 0
        # Of the clips that are done and gave frames; a failed one says nothing of bytes per frame.
        self._bytes_with_frames = 0
        self._done: set[str] = set()
        self._running: dict[str, int] = {}  # clip -> frames so far
        self._lengths: dict[str, int] = {}  # clip -> about its number of frames, where that is known
        self._lock = threading.Lock()
        self._now = now
        self._started = now()
        self._display = _Display(
            what, len(num_bytes), enabled=enabled and bool(num_bytes), file=file, now=now
        )

    def add_frames(self, clip_id: str, num_frames: int) -> None:
        """A clip that is being worked on has come further.

        Args:
            clip_id: The clip.
            num_frames: Frames of it that are done, from its first one.
        """
        with self._lock:
            # What a clip's worker noted may be read after the clip has come back.
            if clip_id not in self._done:
                self._running[clip_id] = num_frames
                self._display.show(self._clips_done, self.line)

    def set_length(self, clip_id: str, num_frames: int) -> None:
        """About how many frames a clip has; without it, the bytes per frame of the clips done must tell."""
        with self._lock:
            self._lengths[clip_id] = num_frames

    def add(self, outcome: ClipOutcome) -> None:
        """One more clip is done.

        Args:
            outcome: What became of it.
        """
        with self._lock:
            num_bytes = self._num_bytes[outcome.clip_id]
            self._done.add(outcome.clip_id)
            self._running.pop(outcome.clip_id, None)
            self._lengths.pop(outcome.clip_id, None)
            self._bytes_done += num_bytes
            self._frames_done += outcome.num_frames
            self._bytes_with_frames += num_bytes if outcome.num_frames else 0
            self._failed += outcome.status == "failed"
            self._display.show(self._clips_done, self.line, at_once=self._clips_done == len(self._num_bytes))

    @property
    def _clips_done(self) -> int:
        return len(self._done)

    def line(self) -> str:
        """Clips done, failures, speed and time left, as text."""
        elapsed_s = self._now() - self._started
        num_clips = len(self._num_bytes)
        parts = [f"{self._clips_done}/{num_clips} clips"]
        if self._failed:
            parts.append(f"{self._failed} failed")
        num_frames = self._frames_done + sum(self._running.values())
        if num_frames and elapsed_s > 0:
            parts.append(f"{num_frames / elapsed_s:.0f} frames/s")
        if self._clips_done == num_clips:
            parts.append(f"{tqdm.format_interval(elapsed_s)} in all")
        elif (bytes_done := self._bytes_done + self._running_bytes()) > 0:
            left_s = elapsed_s * (self._all_bytes - bytes_done) / bytes_done
            parts.append(f"{tqdm.format_interval(left_s)} left")
        return ", ".join(parts)

    def close(self) -> None:
        """Leave the bar as it is."""
        self._display.close()

    def _running_bytes(self) -> float:
        """Of the clips being worked on, about as much as was read; never all of a clip."""
        bytes_per_frame = self._bytes_with_frames / self._frames_done if self._frames_done else 0.0
        total = 0.0
        for clip_id, num_frames in self._running.items():
            num_bytes, length = self._num_bytes[clip_id], self._lengths.get(clip_id)
            read = num_frames * (num_bytes / length if length else bytes_per_frame)
            total += min(read, 0.99 * num_bytes)
        return total


class DigestProgress:
    """Files done and bytes per second while media are hashed; safe to tell from several threads.

    Nothing is shown while there is nothing to read, nor in the first moments.

    Args:
        num_files: Files, and folders of faces, to do.
        enabled: Whether to show anything.
        file: Where to; standard error by default.
        now: Clock in seconds.
    """

    def __init__(
        self,
        num_files: int,
        *,
        enabled: bool,
        file: TextIO | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._num_files = num_files
        self._num_done = self._num_bytes = 0
        self._now = now
        self._started = now()
        self._lock = threading.Lock()
        self._display: _Display | None = None
        self._open = partial(_Display, "digests", num_files, enabled=enabled, file=file, now=now)

    def add_bytes(self, num_bytes: int) -> None:
        """So many bytes more were read."""
        with self._lock:
            self._num_bytes += num_bytes
            if self._display is None:
                self._display = self._open()
            self._display.show(self._num_done, self.line)

    def add_file(self) -> None:
        """One more file is done, read or remembered."""
        with self._lock:
            self._num_done += 1
            if self._display is not None:
                self._display.show(self._num_done, self.line)

    def line(self) -> str:
        """Files done and speed, as text."""
        elapsed_s = self._now() - self._started
        speed = f", {self._num_bytes / elapsed_s / 1e6:.0f} MB/s" if elapsed_s > 0 else ""
        return f"{self._num_done}/{self._num_files} files read or remembered{speed}"

    def close(self) -> None:
        """Leave the bar as it is."""
        if self._display is not None:
            self._display.close()
