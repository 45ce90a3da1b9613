"""One optimiser step: what is differentiated, compiled, spread over processes, clipped and taken.

A head that predicts deviations has two objectives, which share no parameter:

    head ----- prediction ---- CCC loss      compiled, clipped and averaged as without the other
      |             |
      |             | no gradient
      + - features -+- estimator ---- NLL    eager, for it is small; clipped and averaged by itself
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from tagf_head.config import TrainConfig
from tagf_head.data.rows import Batch
from tagf_head.distributed import Processes
from tagf_head.heads import Head
from tagf_head.heads.uncertain import UncertainHead
from tagf_head.training.likelihood import LikelihoodObjective
from tagf_head.training.objective import ObjectiveOutput, TrainingObjective


class StepLosses(NamedTuple):
    """Losses of one step, 0-dimensional, on the head's device.

    Attributes:
        loss: Of valence and arousal.
        nll: Negative log likelihood of their errors; None for a head that predicts no deviations.
    """

    loss: Tensor
    nll: Tensor | None


class TrainingStep:
    """Optimiser steps of a head.

    Args:
        head: On its device, in its dtype.
        config: Settings.
        device: The head's.
        processes: Those that train together.

    Attributes:
        optimizer: Of all parameters.
    """

    def __init__(self, head: Head, config: TrainConfig, device: torch.device, processes: Processes) -> None:
        self._gradient_clip = config.gradient_clip
        over_processes = processes.count > 1
        estimating, self._likelihood = head, None
        if isinstance(head, UncertainHead):
            estimating = head.head
            self._likelihood = _averaged(
                LikelihoodObjective(head.deviation, over_processes=over_processes), device, processes
            )
        objective: nn.Module = TrainingObjective(
            estimating,
            ccc_over=config.ccc_over,
            precision=config.precision,
            over_processes=over_processes,
        )
        if config.compile:
            objective = _compiled(objective, device, processes)
        self._objective = _averaged(objective, device, processes)
        self.optimizer = torch.optim.Adam(
            head.parameters(), lr=config.lr, weight_decay=config.weight_decay, fused=True
        )

    def train(self) -> None:
        """Put the head into training mode."""
        self._objective.train()

    def __call__(self, batch: Batch, lr: float) -> StepLosses:
        """Take one step.

        Args:
            batch: Windows of this process.
            lr: Learning rate.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        # Before the forward pass, which may reuse the memory of the last step's gradients.
        self.optimizer.zero_grad()
        found: ObjectiveOutput = self._objective(
            batch.visual, batch.audio, batch.frame_mask, batch.label, batch.label_mask
        )
        torch.autograd.backward(found.loss)
        self._clip(self._objective)
        nll: Tensor | None = None
        if self._likelihood is not None:
            nll = self._likelihood(found.prediction, found.features, batch.label, batch.label_mask)
            torch.autograd.backward(nll)
            self._clip(self._likelihood)
        self.optimizer.step()
        # Cloned, since the next step may reuse the memory.
        return StepLosses(found.loss.detach().clone(), None if nll is None else nll.detach())

    def _clip(self, objective: nn.Module) -> None:
        if self._gradient_clip is not None:
            nn.utils.clip_grad_norm_(objective.parameters(), self._gradient_clip)

    def state_dict(self) -> dict[str, Any]:
        """State of the optimiser."""
        return self.optimizer.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self.optimizer.load_state_dict(state)


def _compiled(objective: nn.Module, device: torch.device, processes: Processes) -> nn.Module:
    # Kernels of a small batch take less time than their launches, which a CUDA graph does at once. Sums over
    # processes cannot be part of one.
    graphs = device.type == "cuda" and processes.count == 1
    mode = "reduce-overhead" if graphs else None
    return cast(nn.Module, torch.compile(objective, dynamic=False, mode=mode))


def _averaged(objective: nn.Module, device: torch.device, processes: Processes) -> nn.Module:
    """The objective with gradients averaged over the processes, where there are several."""
    if processes.count == 1:
        return objective
    device_ids = [device] if device.type == "cuda" else None
    # The buffers are running statistics, which are equal in all processes.
    return DistributedDataParallel(objective, device_ids=device_ids, broadcast_buffers=False)
