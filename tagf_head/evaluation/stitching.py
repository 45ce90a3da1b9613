"""One prediction per frame out of overlapping windows: the mean over the windows that cover the frame.

    windows      |---------|
                        |---------|
                                |---------|
    count of a frame 1 1 2 2 1 1 2 2 1 1 1 1

Letters in shapes: N rows, B windows in a batch, L frames of a window, K values per frame.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tagf_head.config import TARGETS
from tagf_head.data.rows import FeatureRows
from tagf_head.data.windows import WindowPlan
from tagf_head.errors import HeadError
from tagf_head.evaluation.head_passes import (
    GatedRows,
    ValueLayout,
    evaluation_mode,
    head_passes,
    pass_sizes,
)

# An accelerator's results are fetched this many batches at a time: each fetch waits until it is idle.
_BATCHES_PER_FETCH = 16


class Stitching:
    """Sums and counts per row, in float64 on the CPU: an accelerator's atomic sums differ from run to run.

    Stitchings of parts of a plan (one per process, say) are put together by adding up `sum` and `count`. Of
    a clip that streams by, rows are appended at its end, and taken from its beginning.

    Args:
        num_rows: Number of rows N of all clips.
        num_values: Number of values K per frame.

    Attributes:
        sum: ``(N, K)`` float64, sum over the windows that cover each row.
        count: ``(N,)`` int64, number of those windows.
        num_taken: Rows that have been taken from the beginning.
    """

    def __init__(self, num_rows: int, num_values: int = len(TARGETS)) -> None:
        self.sum = np.zeros((num_rows, num_values))
        self.count = np.zeros(num_rows, np.int64)
        self.num_taken = 0

    def add(
        self, first_row: NDArray[np.int64], length: NDArray[np.int64], values: NDArray[np.float64]
    ) -> None:
        """Take in some windows.

        Args:
            first_row: ``(B,)`` row of each window's first frame.
            length: ``(B,)`` frames of each window that are no padding.
            values: ``(B, L, K)``; what stands in padding has no influence.
        """
        # A slice per window: gathering the rows by index takes some twenty times longer.
        for start, size, window in zip(first_row.tolist(), length.tolist(), values, strict=True):
            self.sum[start : start + size] += window[:size]
            self.count[start : start + size] += 1

    def append(self, num_rows: int) -> None:
        """Add rows at the end that no window covers yet."""
        self.sum = np.concatenate([self.sum, np.zeros((num_rows, self.sum.shape[1]))])
        self.count = np.concatenate([self.count, np.zeros(num_rows, np.int64)])

    def take(self, num_rows: int) -> NDArray[np.float64]:
        """Remove rows from the beginning.

        Args:
            num_rows: How many; the next row is row 0 for `add` from then on.

        Returns:
            ``(num_rows, K)`` their means.

        Raises:
            HeadError: As `mean`.
        """
        taken = self.mean(np.arange(len(self.count)) < num_rows)
        self.sum, self.count = self.sum[num_rows:].copy(), self.count[num_rows:].copy()
        self.num_taken += num_rows
        return taken

    def mean(self, rows: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
        """Mean over the windows that cover each row.

        Args:
            rows: ``(N,)``, true for the rows that are asked for; all of them by default.

        Returns:
            ``(rows, K)``.

        Raises:
            HeadError: One of the rows lies in no window, or its mean is not finite.
        """
        row = np.arange(len(self.count)) if rows is None else np.flatnonzero(rows)
        count = self.count[row]
        if not count.all():
            first, num_uncovered = self.num_taken + row[np.argmin(count)], int((count == 0).sum())
            raise HeadError(
                f"row {first} lies in no window, {num_uncovered} of {len(row)} rows do; plan windows with a "
                "stride of at most the window"
            )
        means = self.sum[row] / count[:, None]
        if not np.isfinite(means).all():
            first = int(np.argmin(np.isfinite(means).all(axis=1)))
            raise HeadError(
                f"the head predicts {means[first, : len(TARGETS)]} for row {self.num_taken + row[first]}; "
                "its weights are damaged or have diverged"
            )
        return means


@torch.no_grad()
def stitch_windows(
    head: nn.Module,
    rows: FeatureRows,
    plan: WindowPlan,
    batch_size: int,
    *,
    num_values: int = len(TARGETS),
) -> Stitching:
    """Predictions of a head in evaluation mode, of a plan that may leave rows out.

    Args:
        head: On the device of `rows`; its mode is restored afterwards.
        rows: Rows of the clips that `plan` indexes.
        plan: Windows.
        batch_size: Windows per forward pass.
        num_values: Number of values K that the head gives per frame; those of a plan without windows, too.

    Returns:
        Sums and counts of what the head gives.
    """
    with evaluation_mode(head):
        outputs = (
            head(batch.visual, batch.audio, batch.frame_mask) for batch in rows.batches(plan, batch_size)
        )
        return _stitch(outputs, rows, plan, num_values)


def predict_gated_rows(
    head: nn.Module,
    rows: FeatureRows,
    plan: WindowPlan,
    batch_size: int,
    *,
    wanted: NDArray[np.bool_] | None = None,
) -> GatedRows:
    """All that a head in evaluation mode says of some rows; everything is stitched like predictions.

    Args:
        head: A `tagf_head.heads.head.Head`, with or without gates, on the device of `rows`; its mode is
            restored afterwards.
        rows: Rows of the clips that `plan` indexes.
        plan: Windows that cover every wanted row.
        batch_size: Windows per forward pass on an accelerator; `head_passes` says what a CPU is given.
        wanted: ``(N,)``, true for the rows to return; all of them by default.

    Raises:
        HeadError: A prediction is not finite, or a wanted row lies in no window.
    """
    device = rows.label.device
    layout = ValueLayout()

    def outputs() -> Iterator[Tensor]:
        nonlocal layout
        sizes = pass_sizes(plan.clip) if device.type == "cpu" else batch_size
        for found in head_passes(head, rows.batches(plan, sizes), device):
            layout = found.layout
            yield found.values

    with evaluation_mode(head):
        means = _stitch(outputs(), rows, plan, len(TARGETS)).mean(wanted)
    return layout.split(means)


def _stitch(outputs: Iterable[Tensor], rows: FeatureRows, plan: WindowPlan, num_values: int) -> Stitching:
    """Stitch ``(B, L, K)`` outputs for a plan's windows in its order; `num_values` is K where it has none."""
    row_start = np.cumsum(rows.row_size) - rows.row_size
    first_row = row_start[plan.clip] + plan.start
    stitching: Stitching | None = None
    num_done = 0
    outputs = iter(outputs)
    while waiting := list(islice(outputs, _BATCHES_PER_FETCH)):
        values = torch.cat(waiting).to("cpu", torch.float64).numpy()
        stitching = stitching or Stitching(rows.num_rows, values.shape[-1])
        done = slice(num_done, num_done + len(values))
        stitching.add(first_row[done], plan.length[done], values)
        num_done = done.stop
    return stitching or Stitching(rows.num_rows, num_values)
