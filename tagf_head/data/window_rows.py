"""Which rows the windows of one pass take: arithmetic on indices, on any device.

    rows          ... 40 41 42 43 44 | 45 46 47 ...      a clip ends behind row 44
    window of 4            42 43 44 N                    first row 42, length 3, the fourth frame is padding
    its audio, 1 later     43 44  N N                    the row behind the clip's last is not another clip's

N stands for the row behind all rows, which is zero and has no label. So padding and what a shift takes from
outside a clip need no pass of their own over the gathered values.

Letters in shapes: C clips, W windows of a pass, B windows of a batch, L frames of a window, N rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tagf_head.data.windows import WindowPlan


@dataclass(frozen=True, kw_only=True, eq=False)
class WindowRows:
    """The windows of a pass, or of a part of it, in the order in which they are taken.

    Attributes:
        first_row: ``(W,)`` int64, row of each window's first frame.
        length: ``(W,)`` int64, rows in each window.
        view: ``(W,)`` int64, the visual view of each window.
        clip: ``(W,)`` int64, index of the window's clip.
        clip_start: ``(W,)`` int64, first row of that clip.
        clip_stop: ``(W,)`` int64, the row behind its last.
        audio_shift: ``(W,)`` int64, frames by which the audio rows are taken later than the pictures'; None
            for 0 everywhere.
    """

    first_row: Tensor
    length: Tensor
    view: Tensor
    clip: Tensor
    clip_start: Tensor
    clip_stop: Tensor
    audio_shift: Tensor | None = None

    @classmethod
    def of_plan(
        cls,
        plan: WindowPlan,
        row_size: NDArray[np.int64],
        *,
        order: Tensor | None,
        view: Tensor,
        audio_shift: Tensor | None,
    ) -> WindowRows:
        """The windows of a plan over clips whose rows follow one another.

        Args:
            plan: Windows.
            row_size: ``(C,)`` number of rows of each clip.
            order: Int64, windows of the plan in the order of the pass, which may leave some out and take some
                twice; the plan's own by default.
            view: ``(len(plan),)`` int64, view of each window of the plan.
            audio_shift: ``(len(plan),)`` int64, shift of each window of the plan.

        Returns:
            The windows, on the CPU.
        """
        order = torch.arange(len(plan)) if order is None else order.cpu()
        clip = torch.from_numpy(plan.clip)[order]
        size = torch.from_numpy(np.array(row_size, np.int64))
        clip_stop = size.cumsum(0)[clip]
        clip_start = clip_stop - size[clip]
        return cls(
            first_row=clip_start + torch.from_numpy(plan.start)[order],
            length=torch.from_numpy(plan.length)[order],
            view=view.cpu()[order],
            clip=clip,
            clip_start=clip_start,
            clip_stop=clip_stop,
            audio_shift=None if audio_shift is None else audio_shift.cpu()[order],
        )

    def to(self, device: torch.device) -> WindowRows:
        """The same on a device."""
        moved = {name: each.to(device) for name, each in vars(self).items() if each is not None}
        return WindowRows(**moved)

    def split(self, batch_size: int | list[int]) -> list[WindowRows]:
        """Parts of `batch_size` windows; the last one may be smaller, none is empty.

        Args:
            batch_size: Windows of every part, or of each, which add up to all.
        """
        if not len(self.length):
            return []  # of nothing, torch.split makes one part
        columns = {
            name: torch.split(each, batch_size) for name, each in vars(self).items() if each is not None
        }
        return [
            WindowRows(**dict(zip(columns, part, strict=True)))
            for part in zip(*columns.values(), strict=True)
        ]

    def frames(self, window: int, num_rows: int) -> FrameRows:
        """The rows of every frame.

        Args:
            window: Frames L per window.
            num_rows: Number of rows N, which stands for the row that is none.
        """
        offset = torch.arange(window, device=self.first_row.device)
        frame_mask = offset < self.length[:, None]
        row = self.first_row[:, None] + offset
        if self.audio_shift is None:
            row = row.where(frame_mask, num_rows)
            return FrameRows(frame_mask=frame_mask, row=row, audio_row=row)
        audio_row = row + self.audio_shift[:, None]
        is_inside = (audio_row >= self.clip_start[:, None]) & (audio_row < self.clip_stop[:, None])
        return FrameRows(
            frame_mask=frame_mask,
            row=row.where(frame_mask, num_rows),
            audio_row=audio_row.where(is_inside & frame_mask, num_rows),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameRows:
    """The rows that the frames of some windows take; N where there is none.

    Attributes:
        frame_mask: ``(B, L)`` bool, false in padding.
        row: ``(B, L)`` int64, row of the picture and of its label.
        audio_row: ``(B, L)`` int64.
    """

    frame_mask: Tensor
    row: Tensor
    audio_row: Tensor
