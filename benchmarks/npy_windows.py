"""Windows out of one npy file per clip through a DataLoader: what training from the store is measured beside.

Each window is a slice of a file that is mapped anew, converted to float32, and stacked into a batch by one of
two workers: the quickest of the usual ways. Loading whole files takes longer, and so does zero padding, which
is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from training_corpus import VISUAL_FEATURES

from tagf_head.data.split_data import Batch, SplitData
from tagf_head.data.windows import WindowPlan


class NpyWindows(Dataset[tuple[Tensor, ...]]):
    """Windows of full length.

    Args:
        paths: A file ``(N, D_v + D_a)`` float16 per clip.
        data: The clips' labels.
        plan: The windows.
    """

    def __init__(self, paths: Sequence[Path], data: SplitData, plan: WindowPlan) -> None:
        assert (plan.length == plan.window).all()
        self._paths = paths
        self._label = data.label
        self._label_mask = data.label_mask
        self._clip_start = data.rows.row_start.numpy()
        self._plan = plan

    def __len__(self) -> int:
        return len(self._plan)

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        clip, start = self._plan.clip[index], self._plan.start[index]
        first = self._clip_start[clip] + start
        file = np.load(self._paths[clip], mmap_mode="r")
        rows = torch.from_numpy(file[start : start + self._plan.window].astype(np.float32))
        labels = slice(first, first + self._plan.window)
        return (
            rows[:, :VISUAL_FEATURES],
            rows[:, VISUAL_FEATURES:],
            torch.from_numpy(self._label[labels]),
            torch.from_numpy(self._label_mask[labels]),
        )


def npy_batches(folder: Path, data: SplitData, plan: WindowPlan, batch_size: int) -> DataLoader[Batch]:
    """A loader of all windows of a plan in random order."""
    windows = NpyWindows([folder / f"{clip_id}.npy" for clip_id in data.clip_ids], data, plan)
    return DataLoader(
        windows, batch_size, shuffle=True, num_workers=2, persistent_workers=True, collate_fn=_batch
    )


def _batch(windows: Sequence[tuple[Tensor, ...]]) -> Batch:
    visual, audio, label, label_mask = (torch.stack(each) for each in zip(*windows, strict=True))
    return Batch(
        visual=visual,
        audio=audio,
        frame_mask=torch.ones_like(label_mask),
        label=label,
        label_mask=label_mask,
    )
