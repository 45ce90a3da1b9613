"""A head and its loss as one module: what is differentiated, compiled and spread over processes."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from tagf_head.ccc import ccc_loss
from tagf_head.config import CccScope, Precision
from tagf_head.layers.masked_batch_norm import MaskedBatchNorm


class ObjectiveOutput(NamedTuple):
    """A batch's loss, and what another objective may take from the same forward pass.

    Attributes:
        loss: In float32 at least; that of the whole batch in every process.
        prediction: Valence and arousal, `(B, L, 2)`, without a gradient.
        features: What the head's regressor reads, `(B, L, D)`, without a gradient.
    """

    loss: Tensor
    prediction: Tensor
    features: Tensor


class TrainingObjective(nn.Module):
    """Loss of a head on one batch.

    Only the head runs under autocast, and its BatchNorm takes its statistics in float32, as the loss does its
    moments. It gives the same outputs to every run, so that a compiled head is the same code whether or not
    its features are put to use.

    Args:
        head: The head, in the dtype that it is to have; called as `tagf_head.heads.Head` with `return_all`.
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
    ) -> ObjectiveOutput:
        """The loss of a batch.

        Args:
            visual: ``(B, L, D_v)``.
            audio: ``(B, L, D_a)``.
            frame_mask: ``(B, L)`` bool, false in padding.
            label: ``(B, L, 2)``.
            label_mask: ``(B, L)`` bool, false where a frame has no label.
        """
        with torch.autocast(visual.device.type, dtype=torch.bfloat16, enabled=self._autocast):
            found = self.head(visual, audio, frame_mask, return_all=True)
        loss = ccc_loss(
            found.prediction, label, label_mask, over=self._ccc_over, over_processes=self._over_processes
        )
        return ObjectiveOutput(
            loss=loss, prediction=found.prediction.detach(), features=found.features.detach()
        )
