"""The loop of a live prediction: the latest picture, its row, the window, an answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass

from pipeline.live.live_source import LiveSource
from pipeline.live.row_clock import RowClock
from pipeline.live.row_maker import RowMaker
from pipeline.live.trailing_window import TrailingWindow


@dataclass(frozen=True, kw_only=True)
class LiveAnswer:
    """What is said of one picture.

    Attributes:
        frame: Its number in the source.
        time_s: Its time in seconds.
        valence: In [-1, 1].
        arousal: In [-1, 1].
        face_found: Whether the subject's face is in it.
        latency_s: From its arrival to this answer.
    """

    frame: int
    time_s: float
    valence: float
    arousal: float
    face_found: bool
    latency_s: float


def predict_live(
    source: LiveSource,
    maker: RowMaker,
    window: TrailingWindow,
    *,
    resample_fps: float | None = None,
    now: Callable[[], float] = time.monotonic,
) -> Generator[LiveAnswer]:
    """Answers while a source goes on; memory does not grow with it.

    Args:
        source: Not started yet; closed at the end.
        maker: Makes rows of its pictures.
        window: Empty.
        resample_fps: Rate of the rows that the head was trained on; None for the source's own.
        now: The source's clock in seconds.

    Yields:
        One answer per picture that was taken.

    Raises:
        MediaError: The source failed, after the answers to what came before.
    """
    clock = RowClock(resample_fps)
    try:
        source.start()
        while (frame := source.slot.take()) is not None:
            num_rows = clock.rows_until(frame)
            if not num_rows:
                continue
            row = maker.row(frame, source.sound_until(frame.time_s))
            window.push(row, num_rows)
            valence, arousal = window.answer()
            yield LiveAnswer(
                frame=frame.index,
                time_s=frame.time_s,
                valence=valence,
                arousal=arousal,
                face_found=row.face is not None,
                latency_s=now() - frame.arrived_s,
            )
    finally:
        source.close()
