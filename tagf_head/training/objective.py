"""A head and its loss as one module: what is differentiated, compiled and spread over processes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tagf_head.ccc import ccc_loss
from tagf_head.config import CccScope, Precision
from tagf_head.layers.masked_batch_norm import MaskedBatchNorm


class TrainingObjective(nn.Module):
    """Loss of a head on one batch.

    Only the head runs under autocast, and its BatchNorm takes its statistics in float32, as the loss does its
    moments.

    Args:
        head: The head, in the dtype that it is to have.
        ccc_over: What the loss takes its moments over.
        precision: `bfloat16` for autocast.
        over_processes: The batch is the sum of those of all processes: moments of the loss and statistics of
            BatchNorm are taken over all of them.
    """

    def __init__(
        self, head: nn.Module, *, ccc_over: CccScope, precision: Precision, over_processes: bool
    ) -> None:
        super().__init__()
        self.head = head
        self._ccc_over: CccScope = ccc_over
        self._autocast = precision == "bfloat16"
        self._over_processes = over_processes
        for module in head.modules():
            if isinstance(module, MaskedBatchNorm):
                module.over_processes = over_processes

    def forward(
        self, visual: Tensor, audio: Tensor, frame_mask: Tensor, label: Tensor, label_mask: Tensor
    ) -> Tensor:
        """The loss of a batch.

        Args:
            visual: ``(B, L, D_v)``.
            audio: ``(B, L, D_a)``.
            frame_mask: ``(B, L)`` bool, false in padding.
            label: ``(B, L, 2)``.
            label_mask: ``(B, L)`` bool, false where a frame has no label.

        Returns:
            The loss, in float32 at least; that of the whole batch in every process.
        """
        with torch.autocast(visual.device.type, dtype=torch.bfloat16, enabled=self._autocast):
            prediction = self.head(visual, audio, frame_mask)
        return ccc_loss(
            prediction, label, label_mask, over=self._ccc_over, over_processes=self._over_processes
        )
