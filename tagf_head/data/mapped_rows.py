"""Rows that stay in the store's files, for stores larger than memory.

    reader   | read 0 | read 1      | read 2     |
    consumer          | step 0      | step 1     | step 2 ...

A thread copies the windows of the next batch out of the mapped files while the step computes, so at most
three batches are in memory. The pages that it touched are given back after each batch: mapped files count as
a process's memory, and would otherwise grow to the size of the store.

Letters in shapes: C clips, B windows in a batch, L frames of a window.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cache import FeatureStore
from cache.features import VISUAL_STREAM
from cache.rows import AUDIO_STREAM
from tagf_head.data.rows import Batch, FeatureRows
from tagf_head.data.window_rows import WindowRows
from tagf_head.data.windows import WindowPlan


@dataclass(frozen=True, kw_only=True, eq=False)
class MappedRows(FeatureRows):
    """Rows of some clips in a store; batches come on the device of the labels.

    Attributes:
        store: The store.
        store_row: ``(C,)`` int64, first row of each clip in the store.
    """

    store: FeatureStore
    store_row: NDArray[np.int64]

    @property
    def num_views(self) -> int:
        """Number of views V."""
        return len(self.store.spec.stream(VISUAL_STREAM).views or ())

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
        windows = self._windows(plan, order, view, audio_shift)
        parts = windows.split(batch_size)
        device = self.label.device
        with ThreadPoolExecutor(max_workers=1) as reader:
            reads = deque(reader.submit(self._read, part, plan.window) for part in parts[:1])
            for index, part in enumerate(windows.to(device).split(batch_size)):
                visual, audio = reads.popleft().result()
                reads.extend(
                    reader.submit(self._read, following, plan.window)
                    for following in parts[index + 1 : index + 2]
                )
                yield self._batch(
                    part.frames(plan.window, self.num_rows),
                    visual=visual.to(device, non_blocking=True),
                    audio=audio.to(device, non_blocking=True),
                )

    def _read(self, part: WindowRows, window: int) -> tuple[Tensor, Tensor]:
        """The streams of a batch, ``(B, L, D)`` float16; for a GPU in memory it can copy from itself."""
        visual, audio = (
            torch.empty(
                len(part.length),
                window,
                self.store.spec.stream(name).num_features,
                dtype=torch.float16,
                pin_memory=self.label.device.type == "cuda",
            )
            for name in (VISUAL_STREAM, AUDIO_STREAM)
        )
        shift = torch.zeros_like(part.length) if part.audio_shift is None else part.audio_shift
        to_store = torch.from_numpy(self.store_row)[part.clip] - part.clip_start
        audio_row = part.first_row + shift
        columns = (
            part.first_row + to_store,
            part.length,
            part.view,
            audio_row + to_store,
            torch.maximum(audio_row, part.clip_start) + to_store,
            torch.minimum(audio_row + part.length, part.clip_stop) + to_store,
        )
        for place, (start, length, view, audio_start, first_audio, audio_stop) in enumerate(
            zip(*(column.tolist() for column in columns), strict=True)
        ):
            self._fill(visual[place].numpy(), VISUAL_STREAM, slice(start, start + length), view, before=0)
            self._fill(
                audio[place].numpy(),
                AUDIO_STREAM,
                slice(first_audio, audio_stop),
                None,
                before=first_audio - audio_start,
            )
        self.store.release_pages()
        return visual, audio

    def _fill(
        self, out: NDArray[np.float16], stream: str, rows: slice, view: int | None, *, before: int
    ) -> None:
        """Rows of the store behind `before` rows of zeros, and zeros up to the end of `out`."""
        size = max(rows.stop - rows.start, 0)
        out[:before] = 0
        out[before + size :] = 0
        if size:
            self.store.read_into(out[before : before + size], stream, rows.start, view)
