"""Which windows training and evaluation cut out of clips: arithmetic on row counts alone.

    rows of a clip   0         10        20    26
    window 10        |---------|              first starts at 0
    stride 8                 |---------|      then every `stride` rows
                                     |--------|   last one aligned to the end, so that no row is left out

A clip shorter than the window gives one window, which the gather pads.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, eq=False)
class WindowPlan:
    """Windows over a list of clips, in the order of the clips and of time.

    Attributes:
        clip: ``(W,)`` int64, index of the window's clip in the list.
        start: ``(W,)`` int64, the window's first row, counted from the clip's first row.
        length: ``(W,)`` int64, number of rows of the clip in the window; below `window` only in short clips.
        window: Frames per window, padding included.
    """

    clip: NDArray[np.int64]
    start: NDArray[np.int64]
    length: NDArray[np.int64]
    window: int

    def __len__(self) -> int:
        return len(self.clip)

    def select(self, keep: NDArray[np.bool_]) -> WindowPlan:
        """The windows for which `keep`, ``(W,)``, is true."""
        return WindowPlan(
            clip=self.clip[keep], start=self.start[keep], length=self.length[keep], window=self.window
        )


def plan_windows(row_size: NDArray[np.int64], window: int, stride: int) -> WindowPlan:
    """Windows that cover every row of every clip and never cross from one clip into the next.

    Args:
        row_size: ``(C,)`` number of rows of each clip; a clip without rows gets no window.
        window: Frames per window.
        stride: Frames from one window's start to the next one's; only a clip's last window may start closer.

    Returns:
        The plan. A clip of n > window rows has ``1 + ceil((n - window) / stride)`` windows.

    Raises:
        ValueError: `stride` is not in 1..window.
    """
    if not 1 <= stride <= window:
        raise ValueError(f"stride must lie in 1..window ({window}), or rows stay unseen; got {stride}")
    row_size = np.asarray(row_size, np.int64)
    rows_beyond_first = np.maximum(row_size - window, 0)
    num_windows = np.where(row_size > 0, 1 + -(-rows_beyond_first // stride), 0)
    clip = np.repeat(np.arange(len(row_size)), num_windows)
    first_window = np.cumsum(num_windows) - num_windows
    index_in_clip = np.arange(len(clip)) - first_window[clip]
    return WindowPlan(
        clip=clip,
        start=np.minimum(index_in_clip * stride, rows_beyond_first[clip]),
        length=np.minimum(row_size[clip], window),
        window=window,
    )
