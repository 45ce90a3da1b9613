"""Rows of which one stream is silent: what a head is shown when a modality is taken away from it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from tagf_head.data.rows import Batch, FeatureRows
from tagf_head.data.windows import WindowPlan


@dataclass(frozen=True, kw_only=True, eq=False)
class MutedRows(FeatureRows):
    """Rows of another kind, wherever they lie, with zeros for one stream, as where no face is found.

    Attributes:
        rows: The rows.
        stream: `visual` or `audio`.
    """

    rows: FeatureRows
    stream: str

    @classmethod
    def of(cls, rows: FeatureRows, stream: str) -> Self:
        """The rows without a stream."""
        return cls(
            row_size=rows.row_size,
            label=rows.label,
            label_mask=rows.label_mask,
            center_view=rows.center_view,
            rows=rows,
            stream=stream,
        )

    @property
    def num_views(self) -> int:
        """Number of views V."""
        return self.rows.num_views

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
        for batch in self.rows.batches(plan, batch_size, order=order, view=view, audio_shift=audio_shift):
            yield replace(batch, **{self.stream: torch.zeros_like(getattr(batch, self.stream))})
