"""The epochs of one training run: everything that changes while it goes on, and can be saved and restored."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tagf_head.ccc import ccc_loss
from tagf_head.config import TrainConfig
from tagf_head.data import SplitData
from tagf_head.errors import TrainingError
from tagf_head.heads import build_head
from tagf_head.metrics import regression_metrics
from tagf_head.schedule import TrainingSchedule
from tagf_head.stitching import predict_rows
from tagf_head.windows import plan_windows


@dataclass(frozen=True, kw_only=True)
class EpochRecord:
    """One line of training_log.csv.

    Attributes:
        epoch: Counted from 1.
        train_loss: Mean of the batches' losses, in training mode.
        lr: Learning rate of the epoch's last step.
        validation_ccc_valence: CCC over all labelled frames of the validation split.
        validation_ccc_arousal: Likewise.
        validation_ccc_mean: Mean of the two, by which the best epoch is chosen.
    """

    epoch: int
    train_loss: float
    lr: float
    validation_ccc_valence: float
    validation_ccc_arousal: float
    validation_ccc_mean: float


class TrainingRun:
    """Head, optimiser, schedule and history; torch's global random state belongs to them.

    Args:
        config: Settings, with the widths of the features.
        train: Training split.
        validation: Validation split.
        device: Device of both splits.
    """

    def __init__(
        self, config: TrainConfig, train: SplitData, validation: SplitData, device: torch.device
    ) -> None:
        torch.manual_seed(config.seed)
        self.config = config
        self.device = device
        self.train = train
        self.validation = validation
        plan = plan_windows(train.row_size, config.window, config.stride)
        # A window without a label has no say in the loss, and a batch of such windows would have none.
        self.train_plan = plan.select(train.rows.labelled(plan))
        self.validation_plan = plan_windows(validation.row_size, config.window, config.stride)
        self.head = build_head(config.head).to(device)
        self.optimizer = torch.optim.Adam(
            self.head.parameters(), lr=config.lr, weight_decay=config.weight_decay
        )
        steps_per_epoch = -(-len(self.train_plan) // config.batch_size)
        self.schedule = TrainingSchedule(
            lr=config.lr,
            min_lr=config.min_lr,
            warmup_steps=config.warmup_epochs * steps_per_epoch,
            patience=config.plateau_patience,
            factor=config.plateau_factor,
            stop_patience=config.early_stop_patience,
        )
        # A generator of its own, so that the order of the windows is the same for every head and dropout.
        self.order = torch.Generator().manual_seed(config.seed)
        self.history: list[EpochRecord] = []
        self.best_epoch = 0
        self.best_head: dict[str, Tensor] = {}

    @property
    def epoch(self) -> int:
        """Number of epochs done."""
        return len(self.history)

    @property
    def is_over(self) -> bool:
        """Whether all epochs are done, or the score has not improved for too long."""
        return self.epoch >= self.config.max_epochs or self.schedule.should_stop

    def describe(self) -> str:
        """One line that says what is trained on."""
        return "; ".join(
            f"{data.split}: {len(data.clip_ids)} clips, {data.counts.num_frames} frames, "
            f"{data.counts.num_labelled} with labels, {len(plan)} windows"
            for data, plan in ((self.train, self.train_plan), (self.validation, self.validation_plan))
        )

    def next_epoch(self) -> str:
        """Train and validate; the line to show."""
        started_s = time.perf_counter()
        train_loss, lr = self._train()
        windows_per_s = len(self.train_plan) / (time.perf_counter() - started_s)
        prediction = predict_rows(
            self.head, self.validation.rows, self.validation_plan, self.config.batch_size
        )
        valence, arousal = (
            regression_metrics(
                prediction[:, column], self.validation.label[:, column], self.validation.label_mask
            )["ccc"]
            for column in range(2)
        )
        record = EpochRecord(
            epoch=self.epoch + 1,
            train_loss=train_loss,
            lr=lr,
            validation_ccc_valence=valence,
            validation_ccc_arousal=arousal,
            validation_ccc_mean=(valence + arousal) / 2,
        )
        self.history.append(record)
        is_best = self.schedule.end_epoch(record.validation_ccc_mean)
        if is_best:
            self.best_epoch = record.epoch
            self.best_head = {
                name: tensor.detach().cpu().clone() for name, tensor in self.head.state_dict().items()
            }
        return (
            f"epoch {record.epoch}/{self.config.max_epochs}  loss {train_loss:.4f}  "
            f"CCC valence {valence:+.3f}  arousal {arousal:+.3f}  mean {record.validation_ccc_mean:+.3f}  "
            f"lr {lr:.1e}  {windows_per_s:.1f} windows/s" + ("  best" if is_best else "")
        )

    def _train(self) -> tuple[float, float]:
        """One pass over the training windows: mean loss, last learning rate."""
        self.head.train()
        rows, plan = self.train.rows, self.train_plan
        order = torch.randperm(len(plan), generator=self.order)
        view = torch.randint(rows.num_views, (len(plan),), generator=self.order)
        losses: list[Tensor] = []
        lr = 0.0
        for batch in rows.batches(plan, self.config.batch_size, order=order, view=view):
            lr = self.schedule.next_lr()
            for group in self.optimizer.param_groups:
                group["lr"] = lr
            prediction = self.head(batch.visual, batch.audio, batch.frame_mask)
            loss = ccc_loss(prediction, batch.label, batch.label_mask, over=self.config.ccc_over)
            self.optimizer.zero_grad()
            torch.autograd.backward(loss)
            self.optimizer.step()
            # Read at the end of the epoch: reading a value of an accelerator waits for it.
            losses.append(loss.detach())
        mean_loss = float(torch.stack(losses).double().mean())
        if not np.isfinite(mean_loss):
            raise TrainingError(
                f"epoch {self.epoch + 1}: the training loss is {mean_loss} at learning rate {lr:.1e}; "
                "lower train.lr"
            )
        return mean_loss, lr

    def state_dict(self) -> dict[str, Any]:
        """Everything that the following epochs depend on: tensors and plain values."""
        return {
            "head": self.head.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": dict(self.schedule.state_dict()),
            "order": self.order.get_state(),
            "random": torch.get_rng_state(),
            "device_random": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None,
            "history": [asdict(record) for record in self.history],
            "best_epoch": self.best_epoch,
            "best_head": self.best_head,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self.head.load_state_dict(state["head"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.order.set_state(state["order"])
        torch.set_rng_state(state["random"])
        if state["device_random"] is not None:
            torch.cuda.set_rng_state(state["device_random"], self.device)
        self.history = [EpochRecord(**record) for record in state["history"]]
        self.best_epoch = state["best_epoch"]
        self.best_head = state["best_head"]
