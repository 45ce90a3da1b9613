"""The epochs of one training run: everything that changes while it goes on, and can be saved and restored."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from tagf_head.checkpoint import weights_dtype
from tagf_head.config import TARGETS, TrainConfig
from tagf_head.data.augmentation import augment, draw_audio_shift
from tagf_head.data.split_data import SplitData
from tagf_head.data.windows import plan_windows
from tagf_head.distributed import Processes, gather_values, sum_arrays
from tagf_head.errors import TrainingError
from tagf_head.evaluation.metrics import regression_metrics
from tagf_head.evaluation.stitching import stitch_windows
from tagf_head.heads import build_head
from tagf_head.training.batches import TrainingBatches, filled_up
from tagf_head.training.gate_entropy_probe import GateEntropyProbe
from tagf_head.training.log import EpochRecord
from tagf_head.training.objective import TrainingObjective
from tagf_head.training.schedule import TrainingSchedule


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
        best_head: Its weights, on the CPU.
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
        self._objective = _spread(
            TrainingObjective(
                self.head,
                ccc_over=config.ccc_over,
                precision=config.precision,
                over_processes=processes.count > 1,
            ),
            config,
            device,
            processes,
        )
        self._optimizer = torch.optim.Adam(
            self.head.parameters(), lr=config.lr, weight_decay=config.weight_decay, fused=True
        )
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
        train_loss, lr = self._train_epoch()
        windows_per_s = len(self._train_plan) / (time.perf_counter() - started_s)
        scores, gate_entropy = self._validate()
        record = EpochRecord(
            epoch=self.epoch + 1,
            train_loss=train_loss,
            lr=lr,
            validation_ccc_valence=scores["valence"],
            validation_ccc_arousal=scores["arousal"],
            validation_ccc_mean=(scores["valence"] + scores["arousal"]) / 2,
            gate_entropy=gate_entropy,
        )
        self.history.append(record)
        is_best = self._schedule.end_epoch(record.validation_ccc_mean)
        if is_best:
            self.best_epoch = record.epoch
            self.best_head = {
                name: tensor.detach().cpu().clone() for name, tensor in self.head.state_dict().items()
            }
        return record.line(self._config.max_epochs, windows_per_s, is_best=is_best)

    def _train_epoch(self) -> tuple[float, float]:
        """One pass over the training windows: mean loss, last learning rate."""
        self._objective.train()
        num_windows = len(self._train_plan)
        order = torch.randperm(num_windows, generator=self._order)
        view = torch.randint(self._train.rows.num_views, (num_windows,), generator=self._order)
        shift = draw_audio_shift(num_windows, self._config.augment, self._order)
        losses: list[Tensor] = []
        lr = 0.0
        for batch in self._batches.epoch(order, view, shift):
            lr = self._schedule.next_lr()
            for group in self._optimizer.param_groups:
                group["lr"] = lr
            batch = augment(batch, self._config.augment, self._augment)
            if self._config.compile:
                batch = filled_up(batch, self._batches.num_own)
            # Before the forward pass, which may reuse the memory of the last step's gradients.
            self._optimizer.zero_grad()
            loss: Tensor = self._objective(
                batch.visual, batch.audio, batch.frame_mask, batch.label, batch.label_mask
            )
            torch.autograd.backward(loss)
            if self._config.gradient_clip is not None:
                nn.utils.clip_grad_norm_(self.head.parameters(), self._config.gradient_clip)
            self._optimizer.step()
            # Read at the end of the epoch: reading a value of an accelerator waits for it. Cloned, since the
            # next step may reuse the memory.
            losses.append(loss.detach().clone())
        mean_loss = float(torch.stack(losses).double().mean())
        if not np.isfinite(mean_loss):
            raise TrainingError(
                f"epoch {self.epoch + 1}: the training loss is {mean_loss} at learning rate {lr:.1e}; "
                "lower train.lr, or set train.gradient_clip"
            )
        return mean_loss, lr

    def _validate(self) -> tuple[dict[str, float], dict[str, float]]:
        """CCC of each target and entropy of each gate, from all processes' windows.

        In the weights' own precision, without autocast, as `tagf evaluate` does it.
        """
        plan, data = self._validation_plan, self._validation
        mine = np.zeros(len(plan), np.bool_)
        mine[self._processes.share(len(plan))] = True
        probe = GateEntropyProbe(self.head)
        stitching = stitch_windows(probe, data.rows, plan.select(mine), self._config.batch_size)
        sum_arrays(stitching.sum, stitching.count)
        # As in the file of predictions, so that an evaluation of these weights finds this very score.
        prediction = stitching.mean().astype(np.float32)
        scores = {
            name: regression_metrics(prediction[:, column], data.label[:, column], data.label_mask)["ccc"]
            for column, name in enumerate(TARGETS)
        }
        return scores, probe.mean_entropy()

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
            "optimizer": self._optimizer.state_dict(),
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
        self._optimizer.load_state_dict(state["optimizer"])
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


def _spread(
    objective: nn.Module, config: TrainConfig, device: torch.device, processes: Processes
) -> nn.Module:
    """The objective compiled, and with gradients averaged over the processes, as far as that is asked for."""
    module = objective
    if config.compile:
        # Kernels of a small batch take less time than their launches, which a CUDA graph does at once. Sums
        # over processes cannot be part of one.
        graphs = device.type == "cuda" and processes.count == 1
        mode = "reduce-overhead" if graphs else None
        module = cast(nn.Module, torch.compile(module, dynamic=False, mode=mode))
    if processes.count > 1:
        device_ids = [device] if device.type == "cuda" else None
        # The buffers are running statistics, which are equal in all processes.
        module = DistributedDataParallel(module, device_ids=device_ids, broadcast_buffers=False)
    return module
