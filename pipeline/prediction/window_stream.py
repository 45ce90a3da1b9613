"""A head over a clip that streams by: the windows of evaluation, without knowing where the clip ends.

    rows so far         0         10        20    26
    window 10           |---------|
    stride 8                    |---------|
                                        |---------|   not yet whole: it becomes a window, or the clip ends
    settled             ********                      first, and the last window is aligned to its end

A row is settled when no further window can cover it: neither one that waits for its pass, nor the last one,
whose place is not known yet. Passes, sums and their order are those of `tagf_head.evaluation.stitching`.

Letters in shapes: r rows of a block, n rows that are taken, B windows of a pass, L frames of a window.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.prediction.freed_memory import give_back_freed_memory
from pipeline.threads import one_thread
from tagf_head.evaluation.head_passes import WINDOWS_PER_PASS, GatedRows, ValueLayout, head_pass
from tagf_head.evaluation.stitching import Stitching


class WindowStream:
    """One head over one clip.

    Args:
        head: In evaluation mode.
        window: Frames per window.
        stride: Frames from one window's start to the next one's, at most `window`.
        device: Where the head is.
    """

    def __init__(self, head: nn.Module, *, window: int, stride: int, device: torch.device) -> None:
        self._head, self._window, self._stride, self._device = head, window, stride, device
        self._visual: NDArray[np.float16] | None = None  # from row `_first_kept` on
        self._audio: NDArray[np.float16] | None = None
        self._first_kept = 0
        self._num_rows = 0
        self._next_start = 0
        self._waiting: list[int] = []  # starts of windows whose pass is not full yet
        self._stitching: Stitching | None = None  # from row `num_taken` on
        self._layout = ValueLayout()
        self._num_taken = 0
        self._at_end = False

    @property
    def num_settled(self) -> int:
        """Rows that can be taken."""
        return self._first_unsettled - self._num_taken

    @property
    def _first_unsettled(self) -> int:
        if self._at_end:
            return self._num_rows
        if self._waiting:
            return self._waiting[0]
        # The last window begins behind the last whole one, and not before the rows' end less a window.
        last_start = self._next_start - self._stride
        return max(last_start + 1, self._num_rows - self._window, 0)

    def add(self, visual: NDArray[np.float16], audio: NDArray[np.float16]) -> None:
        """Take in the next rows of the clip.

        Args:
            visual: ``(r, D_v)``.
            audio: ``(r, D_a)``.
        """
        self._visual = visual if self._visual is None else np.concatenate([self._visual, visual])
        self._audio = audio if self._audio is None else np.concatenate([self._audio, audio])
        self._num_rows += len(visual)
        if self._stitching is not None:
            self._stitching.append(len(visual))
        while self._next_start + self._window <= self._num_rows:
            self._wait(self._next_start)
            self._next_start += self._stride
        self._forget()

    def finish(self) -> None:
        """The clip has ended: all rows become settled."""
        if 0 < self._num_rows < self._window:
            self._wait(0)
        elif self._num_rows and (self._num_rows - self._window) % self._stride:
            self._wait(self._num_rows - self._window)
        if self._waiting:
            self._run_pass()
        self._at_end = True

    def take(self, num_rows: int) -> GatedRows:
        """What the head says of the next rows.

        Args:
            num_rows: How many, n; at most `num_settled`, at least 1.

        Raises:
            HeadError: A prediction is not finite.
        """
        assert self._stitching is not None  # a settled row lay in a window
        self._num_taken += num_rows
        return self._layout.split(self._stitching.take(num_rows))

    def _wait(self, start: int) -> None:
        self._waiting.append(start)
        if len(self._waiting) == WINDOWS_PER_PASS:
            self._run_pass()

    def _run_pass(self) -> None:
        starts, self._waiting = np.array(self._waiting, np.int64), []
        length = np.minimum(self._num_rows - starts, self._window)
        frame_mask = torch.arange(self._window) < torch.from_numpy(length)[:, None]
        assert self._visual is not None
        assert self._audio is not None
        with one_thread():
            found = head_pass(
                self._head,
                self._gathered(self._visual, starts),
                self._gathered(self._audio, starts),
                frame_mask.to(self._device),
            )
        self._layout = found.layout
        if self._stitching is None:
            self._stitching = Stitching(self._num_rows - self._num_taken, found.values.shape[-1])
        self._stitching.add(starts - self._num_taken, length, found.values.to("cpu", torch.float64).numpy())
        give_back_freed_memory()

    def _gathered(self, rows: NDArray[np.float16], starts: NDArray[np.int64]) -> Tensor:
        """``(B, L, D)`` windows, zero behind the clip's end."""
        # Torch's own memory, as evaluation's: where an array begins may show in the last bits.
        windows = torch.zeros(len(starts), self._window, rows.shape[1], dtype=torch.float16)
        for window, start in zip(windows.numpy(), (starts - self._first_kept).tolist(), strict=True):
            part = rows[start : start + self._window]
            window[: len(part)] = part
        return windows.to(self._device)

    def _forget(self) -> None:
        """Drop the rows that no further window covers."""
        first = self._first_unsettled
        assert self._visual is not None
        assert self._audio is not None
        self._visual = self._visual[first - self._first_kept :]
        self._audio = self._audio[first - self._first_kept :]
        self._first_kept = first
