"""Rows that live on one device, in a GPU's memory or in RAM: a batch is one gather per stream.

Letters in shapes: V views, N rows, B windows in a batch, L frames of a window.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cache import FeatureStore
from cache.features import VISUAL_STREAM
from cache.rows import AUDIO_STREAM
from tagf_head.data.rows import Batch, FeatureRows, take_rows
from tagf_head.data.windows import WindowPlan

# What is read at a time: small beside the rows, large beside the store's chunks.
_BLOCK_ROWS = 2**16


@dataclass(frozen=True, kw_only=True, eq=False)
class DeviceRows(FeatureRows):
    """Rows of some clips on a device, as in the store; a row of zeros stands behind them.

    Attributes:
        visual: ``(V, N + 1, D_v)`` float16.
        audio: ``(N + 1, D_a)`` float16.
    """

    visual: Tensor
    audio: Tensor

    @property
    def num_views(self) -> int:
        """Number of views V."""
        return self.visual.shape[0]

    def batches(
        self,
        plan: WindowPlan,
        batch_size: int | list[int],
        *,
        order: Tensor | None = None,
        view: Tensor | None = None,
        audio_shift: Tensor | None = None,
    ) -> Iterator[Batch]:
        """See `FeatureRows.batches`."""
        visual = self.visual.flatten(0, 1)  # (V * (N + 1), D_v)
        # All indices of the pass move to the device at once: a copy per batch would stall an accelerator.
        windows = self._windows(plan, order, view, audio_shift).to(self.audio.device)
        for part in windows.split(batch_size):
            frames = part.frames(plan.window, self.num_rows)
            row_of_view = frames.row + part.view[:, None] * (self.num_rows + 1)
            # Heads convert to their own precision: converting here would write twice as many bytes.
            yield self._batch(
                frames, visual=take_rows(visual, row_of_view), audio=take_rows(self.audio, frames.audio_row)
            )


def read_device_rows(
    store: FeatureStore,
    clip_ids: Sequence[str],
    *,
    row_size: NDArray[np.int64],
    label: Tensor,
    label_mask: Tensor,
    center_view: int,
    views: Sequence[int] | None = None,
) -> DeviceRows:
    """Read the rows of some clips onto the device that their labels are on.

    Beside the rows this takes a block of memory of fixed size, and of the store's mapped files no more.

    Args:
        store: Where the rows lie.
        clip_ids: The C clips.
        row_size: ``(C,)``, see `FeatureRows`.
        label: ``(N + 1, 2)``, likewise.
        label_mask: ``(N + 1,)``, likewise.
        center_view: Likewise, among the views that are read.
        views: Views to read; all by default.

    Raises:
        CacheError: The rows cannot be read.
    """
    device = label.device
    visual, audio = (store.spec.stream(name) for name in (VISUAL_STREAM, AUDIO_STREAM))
    views = range(len(visual.views or ())) if views is None else views
    runs = _runs(store, clip_ids)
    rows = DeviceRows(
        row_size=row_size,
        label=label,
        label_mask=label_mask,
        center_view=center_view,
        visual=torch.empty(len(views), len(label), visual.num_features, dtype=torch.float16, device=device),
        audio=torch.empty(len(label), audio.num_features, dtype=torch.float16, device=device),
    )
    for place, view in enumerate(views):
        _read_stream(store, VISUAL_STREAM, view, runs, rows.visual[place])
    _read_stream(store, AUDIO_STREAM, None, runs, rows.audio)
    return rows


def _read_stream(
    store: FeatureStore, stream: str, view: int | None, runs: Sequence[slice], out: Tensor
) -> None:
    """Fill ``(N + 1, D)`` with the rows of some runs, and zeros behind them."""
    staged = None if out.device.type == "cpu" else torch.empty(_BLOCK_ROWS, out.shape[1], dtype=out.dtype)
    done = 0
    for run in runs:
        for start in range(run.start, run.stop, _BLOCK_ROWS):
            target = out[done : done + min(_BLOCK_ROWS, run.stop - start)]
            block = target if staged is None else staged[: len(target)]
            values: NDArray[np.float16] = block.numpy()
            store.read_into(values, stream, start, view)
            store.release_pages()
            if staged is not None:
                target.copy_(block)
            done += len(target)
    out[done:] = 0


def _runs(store: FeatureStore, clip_ids: Sequence[str]) -> list[slice]:
    """Where the clips lie, clips that follow one another as one run."""
    runs: list[slice] = []
    for clip_id in clip_ids:
        rows = store.row_range(clip_id)
        if runs and runs[-1].stop == rows.start:
            runs[-1] = slice(runs[-1].start, rows.stop)
        else:
            runs.append(rows)
    return runs
