"""Rows of some clips, wherever they lie, and the batches of windows that are gathered from them.

Three masks are kept apart: `frame_mask` is false in padding and enters the forward pass; `label_mask` is
false where a frame has no label and enters the loss and the metrics alone; frames without a face or sound
are zero rows in the store.

Letters in shapes: V views, N rows, C clips, W windows, B windows in a batch, L frames of a window.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tagf_head.data.window_rows import FrameRows, WindowRows
from tagf_head.data.windows import WindowPlan


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """Windows of one step, zero in padding.

    Attributes:
        visual: ``(B, L, D_v)`` float16 as in the store, or float32 where they were augmented; heads take
            both.
        audio: ``(B, L, D_a)``, likewise.
        frame_mask: ``(B, L)`` bool, false in padding.
        label: ``(B, L, 2)`` float32, valence and arousal; 0 where `label_mask` is false.
        label_mask: ``(B, L)`` bool, false in padding and where a frame has no label.
    """

    visual: Tensor
    audio: Tensor
    frame_mask: Tensor
    label: Tensor
    label_mask: Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class FeatureRows(ABC):
    """Rows of C clips, each clip's rows together; the labels are on the device of the batches.

    Attributes:
        row_size: ``(C,)`` int64, rows of each clip.
        label: ``(N + 1, 2)`` float32; the last row stands for frames that are none, and is zero.
        label_mask: ``(N + 1,)`` bool, false in the last row.
        center_view: Index of the view that evaluation reads.
    """

    row_size: NDArray[np.int64]
    label: Tensor
    label_mask: Tensor
    center_view: int

    @property
    def num_rows(self) -> int:
        """Number of rows N."""
        return len(self.label) - 1

    @property
    @abstractmethod
    def num_views(self) -> int:
        """Number of views V."""

    @property
    def row_start(self) -> Tensor:
        """``(C,)`` int64, first row of each clip, on the CPU."""
        size = torch.from_numpy(np.array(self.row_size, np.int64))
        return size.cumsum(0) - size

    @abstractmethod
    def batches(
        self,
        plan: WindowPlan,
        batch_size: int | list[int],
        *,
        order: Tensor | None = None,
        view: Tensor | None = None,
        audio_shift: Tensor | None = None,
    ) -> Iterator[Batch]:
        """Batches of a plan's windows; the last one may be smaller.

        Args:
            plan: Windows over the clips of these rows.
            batch_size: Windows per batch, or of each batch, which add up to the windows that are taken.
            order: Int64, the windows to take, in their order; all in that of the plan by default.
            view: ``(len(plan),)`` int64, view of each window of the plan; the center view by default.
            audio_shift: ``(len(plan),)`` int64, for each window of the plan the frames by which its audio
                rows are taken later than the pictures'; where that is outside the clip, they are zero.
        """

    def labelled(self, plan: WindowPlan) -> NDArray[np.bool_]:
        """``(len(plan),)``, whether a window has at least one labelled frame."""
        labels_before = np.concatenate([[0], np.cumsum(self.label_mask.cpu().numpy())])
        first_row = self.row_start.numpy()[plan.clip] + plan.start
        return np.asarray(labels_before[first_row + plan.length] > labels_before[first_row])

    def _windows(
        self, plan: WindowPlan, order: Tensor | None, view: Tensor | None, audio_shift: Tensor | None
    ) -> WindowRows:
        """The windows that `batches` was asked for, on the CPU."""
        view = torch.full((len(plan),), self.center_view) if view is None else view
        return WindowRows.of_plan(plan, self.row_size, order=order, view=view, audio_shift=audio_shift)

    def _batch(self, frames: FrameRows, *, visual: Tensor, audio: Tensor) -> Batch:
        """A batch of these streams and the labels of its frames."""
        return Batch(
            visual=visual,
            audio=audio,
            frame_mask=frames.frame_mask,
            label=take_rows(self.label, frames.row),
            label_mask=take_rows(self.label_mask, frames.row),
        )


def take_rows(rows: Tensor, index: Tensor) -> Tensor:
    """``(B, L, ...)`` rows of ``(N, ...)`` at indices ``(B, L)``.

    On a CPU this copies row by row, where ``rows[index]`` takes three times as long.
    """
    return rows.index_select(0, index.flatten()).reshape(*index.shape, *rows.shape[1:])


def with_empty_row(values: NDArray[np.generic], device: torch.device) -> Tensor:
    """``(N, ...)`` values on a device, with a row of zeros behind them: ``(N + 1, ...)``."""
    rows = torch.from_numpy(np.ascontiguousarray(values))
    return torch.cat([rows, rows.new_zeros(1, *rows.shape[1:])]).to(device)
