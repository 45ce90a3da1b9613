"""The epochs of one training run: everything that changes while it goes on, and can be saved and restored."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tagf_head.checkpoint import weights_dtype
from tagf_head.config import TrainConfig
from tagf_head.data.augmentation import augment, draw_audio_shift
from tagf_head.data.split_data import SplitData
from tagf_head.data.windows import plan_windows
from tagf_head.distributed import Processes, gather_values
from tagf_head.errors import TrainingError
from tagf_head.heads import build_head
from tagf_head.heads.uncertain import UncertainHead
from tagf_head.training.batches import TrainingBatches, filled_up
from tagf_head.training.log import EpochRecord
from tagf_head.training.schedule import TrainingSchedule
from tagf_head.training.step import StepLosses, TrainingStep
from tagf_head.training.validation import Validation, validate


class TrainingRun:
    """Head, optimiser, schedule and history; torch's global random state belongs to them.

    All processes of a run come to each method together.

    Args:
        config: Settings, with the widths of the features.
        train: What is trained on.
        validation: What the best epoch is chosen by.
        device: Device of both.
        processes: Those that train together.

    Attributes:
        head: The head.
        history: One record per epoch.
        best_epoch: Epoch of the best score so far, counted from 1; 0 before the first.
        best_head: Its weights, on the CPU, with the factor of its deviations, which is 1 in `head`.
    """

    def __init__(
        self,
        config: TrainConfig,
        train: SplitData,
        validation: SplitData,
        device: torch.device,
        processes: Processes,
    ) -> None:
        torch.manual_seed(config.seed)
        self._config = config
        self._device = device
        self._processes = processes
        self._train = train
        self._validation = validation
        plan = plan_windows(train.row_size, config.window, config.stride)
        # A window without a label has no say in the loss, and a batch of such windows would have none.
        self._train_plan = plan.select(train.rows.labelled(plan))
        self._validation_plan = plan_windows(validation.row_size, config.window, config.stride)
        self._batches = TrainingBatches(
            rows=train.rows, plan=self._train_plan, batch_size=config.batch_size, processes=processes
        )
        self.head = build_head(config.head).to(device, weights_dtype(config))
        self._step = TrainingStep(self.head, config, device, processes)
        self._schedule = TrainingSchedule(
            lr=config.lr,
            min_lr=config.min_lr,
            warmup_steps=config.warmup_epochs * self._batches.num_steps,
            patience=config.plateau_patience,
            factor=config.plateau_factor,
            stop_patience=config.early_stop_patience,
        )
        # A generator of its own, so that the order of the windows is the same for every head and dropout, and
        # in all processes.
        self._order = torch.Generator().manual_seed(config.seed)
        # Augmentation and dropout differ from process to process: each has windows of its own.
        augment_seed, dropout_seed = _seeds_of(config.seed, processes.rank)
        self._augment = torch.Generator(device).manual_seed(augment_seed)
        if processes.count > 1:
            torch.manual_seed(dropout_seed)
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
        return self.epoch >= self._config.max_epochs or self._schedule.should_stop

    def describe(self) -> str:
        """One line that says what is trained on."""
        line = "; ".join(
            f"{data.name}: {len(data.clip_ids)} clips, {data.counts.num_frames} frames, "
            f"{data.counts.num_labelled} with labels, {len(plan)} windows"
            for data, plan in ((self._train, self._train_plan), (self._validation, self._validation_plan))
        )
        return line + (f"; {self._processes.count} processes" if self._processes.count > 1 else "")

    def next_epoch(self) -> str:
        """Train and validate; the line to show."""
        started_s = time.perf_counter()
        losses, lr = self._train_epoch()
        windows_per_s = len(self._train_plan) / (time.perf_counter() - started_s)
        found = validate(
            self.head, self._validation, self._validation_plan, self._config.batch_size, self._processes
        )
        record = EpochRecord(
            epoch=self.epoch + 1,
            train_loss=losses["loss"],
            lr=lr,
            validation_ccc_valence=found.ccc["valence"],
            validation_ccc_arousal=found.ccc["arousal"],
            validation_ccc_mean=(found.ccc["valence"] + found.ccc["arousal"]) / 2,
            train_nll=losses.get("nll"),
            validation_nll=found.nll,
            gate_entropy=found.gate_entropy,
        )
        self.history.append(record)
        is_best = self._schedule.end_epoch(record.validation_ccc_mean)
        if is_best:
            self.best_epoch = record.epoch
            self.best_head = self._calibrated_head(found)
        return record.line(self._config.max_epochs, windows_per_s, is_best=is_best)

    def _calibrated_head(self, found: Validation) -> dict[str, Tensor]:
        """The weights as they are, with the factor for the deviations that the validation found."""
        state = {name: tensor.detach().cpu().clone() for name, tensor in self.head.state_dict().items()}
        if found.deviation_scale is not None:
            state[UncertainHead.SCALE].copy_(torch.from_numpy(found.deviation_scale))
        return state

    def _train_epoch(self) -> tuple[dict[str, float], float]:
        """One pass over the training windows: means of the losses by their names, last learning rate."""
        self._step.train()
        num_windows = len(self._train_plan)
        order = torch.randperm(num_windows, generator=self._order)
        view = torch.randint(self._train.rows.num_views, (num_windows,), generator=self._order)
        shift = draw_audio_shift(num_windows, self._config.augment, self._order)
        losses: list[StepLosses] = []
        lr = 0.0
        for batch in self._batches.epoch(order, view, shift):
            lr = self._schedule.next_lr()
            batch = augment(batch, self._config.augment, self._augment)
            if self._config.compile:
                batch = filled_up(batch, self._batches.num_own)
            # Read at the end of the epoch: reading a value of an accelerator waits for it.
            losses.append(self._step(batch, lr))
        by_name = {
            "loss": [step.loss for step in losses],
            "nll": [step.nll for step in losses if step.nll is not None],
        }
        means = {name: float(torch.stack(each).double().mean()) for name, each in by_name.items() if each}
        for name, mean in means.items():
            if not np.isfinite(mean):
                raise TrainingError(
                    f"epoch {self.epoch + 1}: the training {name} is {mean} at learning rate {lr:.1e}; "
                    "lower train.lr, or set train.gradient_clip"
                )
        return means, lr

    def state_dict(self) -> dict[str, Any]:
        """Everything that the following epochs depend on, of all processes: tensors and plain values."""
        on_gpu = self._device.type == "cuda"
        own = {
            "random": torch.get_rng_state(),
            "device_random": torch.cuda.get_rng_state(self._device) if on_gpu else None,
            "augment": self._augment.get_state(),
        }
        return {
            "head": self.head.state_dict(),
            "optimizer": self._step.state_dict(),
            "schedule": dict(self._schedule.state_dict()),
            "order": self._order.get_state(),
            "processes": gather_values(own),
            "history": [record.values() for record in self.history],
            "best_epoch": self.best_epoch,
            "best_head": self.best_head,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self.head.load_state_dict(state["head"])
        self._step.load_state_dict(state["optimizer"])
        self._schedule.load_state_dict(state["schedule"])
        self._order.set_state(state["order"])
        own = state["processes"][self._processes.rank]
        torch.set_rng_state(own["random"])
        if own["device_random"] is not None:
            torch.cuda.set_rng_state(own["device_random"], self._device)
        self._augment.set_state(own["augment"])
        self.history = [EpochRecord.from_values(values) for values in state["history"]]
        self.best_epoch = state["best_epoch"]
        self.best_head = state["best_head"]


def _seeds_of(seed: int, rank: int) -> tuple[int, int]:
    """Two seeds for one process, unlike those of the others and of other runs."""
    first, second = np.random.SeedSequence([seed, rank]).generate_state(2, np.uint64).tolist()
    return first, second
