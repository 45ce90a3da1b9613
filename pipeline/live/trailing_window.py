"""The window whose last row is the answer.

    rows      ... 40 41 42 43 44 |           a frame that was missed holds the row before it: 43 43 43 44
    window          [41 42 43 44]  -> head -> valence and arousal of row 44

Letters in shapes: L frames of the window, D features.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.live.row_maker import LiveRow
from tagf_head.errors import HeadError


class TrailingWindow:
    """The latest rows of a live source.

    A source that is younger than the window is a short clip: its rows come first, padding stands behind them.

    Args:
        head: In evaluation mode.
        window: Frames L per window.
        visual_features: Width of a visual row.
        audio_features: Width of an audio row.
        device: Where the head is.
    """

    def __init__(
        self,
        head: nn.Module,
        window: int,
        *,
        visual_features: int,
        audio_features: int,
        device: torch.device,
    ) -> None:
        self._head = head
        self._visual = torch.zeros(1, window, visual_features, dtype=torch.float16, device=device)
        self._audio = torch.zeros(1, window, audio_features, dtype=torch.float16, device=device)
        self._frame_mask = torch.zeros(1, window, dtype=torch.bool, device=device)
        self._num_rows = 0  # in the window
        self._latest: LiveRow | None = None

    def push(self, row: LiveRow, num_rows: int = 1) -> None:
        """Append a row, and before it the one before for every row that was missed.

        Args:
            row: The latest.
            num_rows: Rows that it ends, itself included, at least 1.
        """
        held = self._latest if self._latest is not None else row
        for _ in range(min(num_rows - 1, self._visual.shape[1])):
            self._append(held)
        self._append(row)
        self._latest = row

    @torch.inference_mode()
    def answer(self) -> tuple[float, float]:
        """Valence and arousal of the latest row.

        Raises:
            HeadError: They are not finite.
        """
        values: Tensor = self._head(self._visual, self._audio, self._frame_mask)
        valence, arousal = values[0, self._num_rows - 1].tolist()
        if not np.isfinite([valence, arousal]).all():
            raise HeadError(
                f"the head predicts {valence} and {arousal}; its weights are damaged or have diverged"
            )
        return valence, arousal

    def _append(self, row: LiveRow) -> None:
        streams = ((self._visual, row.visual), (self._audio, row.audio))
        if self._num_rows < self._visual.shape[1]:
            self._frame_mask[0, self._num_rows] = True
            self._num_rows += 1
        else:
            for rows, _ in streams:
                rows[0, :-1] = rows[0, 1:].clone()
        for rows, latest in streams:
            rows[0, self._num_rows - 1] = torch.from_numpy(latest)
