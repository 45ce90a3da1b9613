"""Arithmetic of time: frames, audio samples and VGGish examples on one axis.

Every time is in seconds on the container's timeline, which need not start at zero. The waveform's samples,
the log-mel rows and the examples lie on it like this (anchor `center`):

    container time   0 ----------- start_s -------------------- time_s of a frame ----------------->
    samples                        |0 1 2 3 ...                      |              16,000 per second
    log-mel rows                   |row 0: samples   0..399          |              every 160 samples
                                   | row 1: samples 160..559         |
    example of the frame                     |<---- 48.75 rows ----->|<---- 48.75 rows ----->|
                                             r0           96 rows, 15,600 samples   r0 + 95

`start` puts the left edge of the example at the frame, `end` its right edge (causal). `r0` is the row
nearest to the example's first sample, so that an example lies within 5 ms of where it should; it may be
negative, and the example may reach beyond the last sample.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.config import Anchor
from pipeline.errors import OutOfClipError

SAMPLE_RATE_HZ = 16_000
WINDOW_SAMPLES = 400
HOP_SAMPLES = 160
EXAMPLE_ROWS = 96
EXAMPLE_SAMPLES = (EXAMPLE_ROWS - 1) * HOP_SAMPLES + WINDOW_SAMPLES  # 15,600
EXAMPLE_S = EXAMPLE_SAMPLES / SAMPLE_RATE_HZ  # 0.975

# Share of the example that lies before the frame's time.
_SHARE_BEFORE: dict[Anchor, float] = {"start": 0.0, "center": 0.5, "end": 1.0}
# Two times that differ by less than this are one: far above float64 rounding of any clip's length, far
# below a sample.
SAME_TIME_S = 1e-8


def example_span(time_s: float, anchor: Anchor) -> tuple[float, float]:
    """Stretch of sound that a frame's VGGish example looks at.

    Args:
        time_s: The frame's time in seconds.
        anchor: What of the example lies at the frame's time.

    Returns:
        Start and end in seconds, 0.975 s apart.

    >>> example_span(2.0, "end")
    (1.025, 2.0)
    """
    start_s = time_s - _SHARE_BEFORE[anchor] * EXAMPLE_S
    return start_s, start_s + EXAMPLE_S


def example_first_rows(times_s: ArrayLike, start_s: float, anchor: Anchor) -> NDArray[np.int64]:
    """First log-mel row of each frame's example: the row nearest to the example's first sample.

    Args:
        times_s: Frame times in seconds, (N,).
        start_s: Time of the waveform's first sample in seconds; row 0 starts there.
        anchor: What of the example lies at the frame's time.

    Returns:
        Rows, (N,); row r starts at sample 160 r. Negative before the waveform. A tie goes to the earlier
        row, also where rounding of the times hides it, so that evenly spaced frames get evenly spaced rows.
    """
    return _nearest(times_s, start_s, _SHARE_BEFORE[anchor] * EXAMPLE_S, HOP_SAMPLES / SAMPLE_RATE_HZ)


def window_first_samples(
    times_s: ArrayLike, start_s: float, anchor: Anchor, window_samples: int
) -> NDArray[np.int64]:
    """First sample of each frame's window of sound: the one nearest to where the window begins.

    Args:
        times_s: Frame times in seconds, (N,).
        start_s: Time of the waveform's first sample in seconds.
        anchor: What of the window lies at the frame's time.
        window_samples: Length of a window.

    Returns:
        Samples, (N,), negative before the waveform; ties as in `example_first_rows`.
    """
    before_s = _SHARE_BEFORE[anchor] * window_samples / SAMPLE_RATE_HZ
    return _nearest(times_s, start_s, before_s, 1 / SAMPLE_RATE_HZ)


def _nearest(times_s: ArrayLike, start_s: float, before_s: float, step_s: float) -> NDArray[np.int64]:
    """Steps from `start_s` to the step nearest to each time less `before_s`, the earlier of two."""
    first_s = np.asarray(times_s, dtype=np.float64) - before_s - start_s
    return np.ceil((first_s - SAME_TIME_S) / step_s - 0.5).astype(np.int64)


def overlaps_any(starts: NDArray[np.int64], length: int, spans: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether half-open intervals of one length share at least one sample with any of the spans.

    Args:
        starts: First sample of each interval, (N,).
        length: Number of samples of every interval.
        spans: Half-open sample ranges, (S, 2), ascending and disjoint.

    Returns:
        (N,) bool.
    """
    if len(spans) == 0:
        return np.zeros(starts.shape, dtype=np.bool_)
    # The first span that ends after the interval's start is the only one that need be looked at.
    nearest = np.searchsorted(spans[:, 1], starts, side="right")
    reachable = nearest < len(spans)
    overlap: NDArray[np.bool_] = reachable & (spans[np.minimum(nearest, len(spans) - 1), 0] < starts + length)
    return overlap


def index_at(times_s: ArrayLike, time_s: float) -> int:
    """Row whose frame is on screen nearest to a time.

    Args:
        times_s: Strictly rising frame times in seconds, (N,).
        time_s: Seconds on the same timeline.

    Returns:
        Row in ``[0, N)``; a tie goes to the earlier row.

    Raises:
        OutOfClipError: No frames, or more than half a frame before the first or after the last one.

    >>> index_at([0.0, 0.04, 0.08], 0.061)
    2
    """
    times = np.asarray(times_s, dtype=np.float64)
    if len(times) == 0:
        raise OutOfClipError(f"no frame at {time_s} s: the clip has no frames; choose a clip with frames")
    # A lone frame has no neighbour that tells how long it stays: it answers for its own time.
    lead_s = (times[1] - times[0]) / 2 if len(times) > 1 else 0.0
    trail_s = (times[-1] - times[-2]) / 2 if len(times) > 1 else 0.0
    first_s, last_s = times[0] - lead_s, times[-1] + trail_s
    if not first_s - SAME_TIME_S <= time_s <= last_s + SAME_TIME_S:
        raise OutOfClipError(
            f"no frame at {time_s} s: expected a time from {first_s:.6g} to {last_s:.6g} s, where the clip's "
            f"{len(times)} frames lie; ask for a time within the clip"
        )
    return int(np.argmin(np.abs(times - time_s)))


def rising_time(
    stamp_s: float | None, previous_s: float | None, frame_s: float, tick_s: float
) -> float | None:
    """Time of a frame from its stamp, so that the times of a clip rise strictly.

    A row is kept for every decoded frame, so a frame with a poor stamp cannot be dropped:

        stamp        no stamp        repeated or slightly behind        far behind
        the stamp    one frame on    one tick after the frame before    None: the clock ran backwards

    Args:
        stamp_s: The frame's presentation time in seconds, None where the file gives none.
        previous_s: Time given to the frame before, None for the first frame.
        frame_s: Nominal length of a frame in seconds; a stamp may lie up to this far behind.
        tick_s: The time base in seconds.

    Returns:
        The time in seconds, greater than `previous_s`; None where the stamp lies more than a frame behind.
    """
    if previous_s is None:
        return 0.0 if stamp_s is None else stamp_s
    if stamp_s is None:
        return previous_s + frame_s
    if stamp_s > previous_s:
        return stamp_s
    if stamp_s < previous_s - frame_s - SAME_TIME_S:
        return None
    return previous_s + tick_s
