"""One prediction per frame out of overlapping windows: the mean over the windows that cover the frame."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tagf_head.annotations import TARGETS
from tagf_head.data import FeatureRows
from tagf_head.errors import HeadError
from tagf_head.windows import WindowPlan


class Stitching:
    """Sums and counts per row, in float64 on the CPU: an accelerator's atomic sums differ from run to run.

    Args:
        num_rows: Number of rows N that the windows cover.
    """

    def __init__(self, num_rows: int) -> None:
        self._sum = np.zeros((num_rows, len(TARGETS)))
        self._count = np.zeros(num_rows, np.int64)

    def add(
        self, row: NDArray[np.int64], frame_mask: NDArray[np.bool_], prediction: NDArray[np.float32]
    ) -> None:
        """Take in a batch of windows.

        Args:
            row: ``(B, L)`` row of each frame.
            frame_mask: ``(B, L)``, false in padding.
            prediction: ``(B, L, 2)`` valence and arousal.
        """
        kept = row[frame_mask]
        np.add.at(self._sum, kept, prediction[frame_mask].astype(np.float64))
        np.add.at(self._count, kept, 1)

    def mean(self) -> NDArray[np.float64]:
        """``(N, 2)`` mean over the windows that cover each row.

        Raises:
            HeadError: A row lies in no window.
        """
        if not self._count.all():
            raise HeadError(
                f"row {int(np.argmin(self._count))} lies in no window, {int((self._count == 0).sum())} of "
                f"{len(self._count)} rows do; plan windows with a stride of at most the window"
            )
        return self._sum / self._count[:, None]


@torch.no_grad()
def predict_rows(
    head: nn.Module, rows: FeatureRows, plan: WindowPlan, batch_size: int
) -> NDArray[np.float32]:
    """Predictions of a head in evaluation mode for every row.

    Args:
        head: On the device of `rows`; its mode is restored afterwards.
        rows: Rows of the clips that `plan` indexes.
        plan: Windows that cover every row.
        batch_size: Windows per forward pass.

    Returns:
        ``(N, 2)`` valence and arousal, stitched in float64, then rounded to float32.

    Raises:
        HeadError: A prediction is not finite, or a row lies in no window.
    """
    was_training = head.training
    head.eval()
    stitching = Stitching(rows.num_rows)
    try:
        for batch in rows.batches(plan, batch_size):
            prediction: Tensor = head(batch.visual, batch.audio, batch.frame_mask)
            stitching.add(batch.row.cpu().numpy(), batch.frame_mask.cpu().numpy(), prediction.cpu().numpy())
    finally:
        head.train(was_training)
    stitched = stitching.mean()
    if not np.isfinite(stitched).all():
        row = int(np.flatnonzero(~np.isfinite(stitched).all(axis=1))[0])
        raise HeadError(
            f"the head predicts {stitched[row]} for row {row}; its weights are damaged or have diverged"
        )
    return stitched.astype(np.float32)
