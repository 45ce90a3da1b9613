"""Progress of a run over clips: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TextIO

from tqdm import tqdm

from pipeline.extraction_report import ClipOutcome

# Into a file or a pipe, where a bar would leave hundreds of lines.
SECONDS_BETWEEN_LINES = 10.0


class ExtractionProgress:
    """Clips done, frames per second, and the time left, on standard error.

    The time left goes by bytes of media: clips differ in length by factors of hundreds.

    Args:
        num_clips: Clips to do.
        num_bytes: Size of their media files together.
        enabled: Whether to show anything.
        file: Where to; standard error by default.
        now: Clock in seconds.
    """

    def __init__(
        self,
        num_clips: int,
        num_bytes: int,
        *,
        enabled: bool,
        file: TextIO | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._file = file if file is not None else sys.stderr
        self._enabled = enabled and num_clips > 0
        self._num_clips, self._num_bytes = num_clips, num_bytes
        self._clips_done = self._bytes_done = self._frames_done = self._failed = 0
        self._now = now
        self._started = self._last_line = now()
        self._bar = (
            tqdm(total=num_clips, desc="extract", file=self._file, bar_format="{desc} |{bar:20}| {postfix}")
            if self._enabled and self._file.isatty()
            else None
        )
        if self._bar is not None:
            self._bar.set_postfix_str(self.line())

    def add(self, outcome: ClipOutcome, num_bytes: int) -> None:
        """One more clip is done.

        Args:
            outcome: What became of it.
            num_bytes: Size of its media file.
        """
        self._clips_done += 1
        self._bytes_done += num_bytes
        self._frames_done += outcome.num_frames
        self._failed += outcome.status == "failed"
        if self._bar is not None:
            self._bar.set_postfix_str(self.line(), refresh=False)
            self._bar.update()
        elif self._enabled:
            last = self._clips_done == self._num_clips
            if last or self._now() - self._last_line >= SECONDS_BETWEEN_LINES:
                self._last_line = self._now()
                print(f"extract: {self.line()}", file=self._file, flush=True)

    def line(self) -> str:
        """Clips done, failures, speed and time left, as text."""
        elapsed_s = self._now() - self._started
        parts = [f"{self._clips_done}/{self._num_clips} clips"]
        if self._failed:
            parts.append(f"{self._failed} failed")
        if self._frames_done and elapsed_s > 0:
            parts.append(f"{self._frames_done / elapsed_s:.0f} frames/s")
        if self._clips_done == self._num_clips:
            parts.append(f"{tqdm.format_interval(elapsed_s)} in all")
        elif self._bytes_done:
            left_s = elapsed_s * (self._num_bytes - self._bytes_done) / self._bytes_done
            parts.append(f"{tqdm.format_interval(left_s)} left")
        return ", ".join(parts)

    def close(self) -> None:
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.close()
