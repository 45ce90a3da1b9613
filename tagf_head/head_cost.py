"""What a head costs: parameters, multiply-adds and speed."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tagf_head.ccc import ccc_loss
from tagf_head.config import TARGETS
from tagf_head.head_config import HeadConfig, ResolvedHeadConfig
from tagf_head.heads import Head, build_head


@dataclass(frozen=True, kw_only=True)
class HeadCost:
    """What one head costs.

    Attributes:
        name: The head's name.
        num_parameters: Trained numbers.
        multiply_adds_per_frame: Of one forward pass, per frame of a window of the length asked for:
            those of matrix products and convolutions, not of elementwise operations.
        train_windows_per_s: Windows per second of training steps in float32: forward, loss, backward, update.
            That of a head with `uncertainty` leaves the likelihood of its deviations out.
        predict_windows_per_s: Windows per second of forward passes in evaluation.
    """

    name: str
    num_parameters: int
    multiply_adds_per_frame: int
    train_windows_per_s: float
    predict_windows_per_s: float


def head_cost(
    config: HeadConfig, *, window: int, batch_size: int, device: torch.device | str, num_rounds: int = 5
) -> HeadCost:
    """Counts and measures what a head costs.

    Rows are random numbers that lie on the device already. The speeds are medians over rounds, after one that
    does not count.

    Args:
        config: The head's settings.
        window: Frames of a window.
        batch_size: Windows of a batch.
        device: Where speed is measured.
        num_rounds: Training steps, and forward passes, that are timed.

    Raises:
        UnknownHeadError: No head has that name, or a head of one's own cannot be imported.
    """
    with torch.random.fork_rng():
        head = build_head(config).to(device)
        inputs = random_windows(config.resolved(), num_windows=batch_size, window=window, device=device)
        train_s = _seconds_per_round(_training_step(head.train(), *inputs), device, num_rounds)
        predict_s = _seconds_per_round(_prediction(head.eval(), *inputs), device, num_rounds)
    return HeadCost(
        name=config.name,
        num_parameters=num_parameters(head),
        multiply_adds_per_frame=multiply_adds_per_frame(config, window=window),
        train_windows_per_s=batch_size / train_s,
        predict_windows_per_s=batch_size / predict_s,
    )


def num_parameters(head: Head) -> int:
    """Number of trained numbers; what is shared counts once."""
    return sum(parameter.numel() for parameter in head.parameters() if parameter.requires_grad)


def multiply_adds_per_frame(config: HeadConfig, *, window: int) -> int:
    """Multiply-adds of a forward pass, divided by the frames of its window.

    They are counted by torch as it computes, on the CPU: those of matrix products and convolutions, within
    LSTMs and attention too, and not those of elementwise operations and sums.

    Args:
        config: The head's settings.
        window: Frames of the window; heads that attend from frame to frame cost more in longer ones.
    """
    counter = FlopCounterMode(
        display=False, custom_mapping={torch.ops.aten.mkldnn_rnn_layer: _fused_lstm_flops}
    )
    # In training mode: torch counts nothing within the kernels that it fuses attention to in evaluation.
    with torch.random.fork_rng(), torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        head = build_head(config)
        inputs = random_windows(config.resolved(), num_windows=1, window=window, device="cpu")
        with counter:
            head(*inputs)
    return round(counter.get_total_flops() / 2 / window)


def random_windows(
    config: ResolvedHeadConfig, *, num_windows: int, window: int, device: torch.device | str
) -> tuple[Tensor, Tensor, Tensor]:
    """Rows of both streams, normally distributed float32, and a mask without padding."""
    visual, audio = (
        torch.randn(num_windows, window, width, device=device)
        for width in (config.visual_features, config.audio_features)
    )
    return visual, audio, torch.ones(num_windows, window, dtype=torch.bool, device=device)


def _fused_lstm_flops(
    rows_shape: Sequence[int], input_shape: Sequence[int], recurrent_shape: Sequence[int], *_: Any, **__: Any
) -> int:
    """Of the kernel that torch has for one direction of an LSTM's layer on some CPUs; it does not count it.

    Args:
        rows_shape: Of the rows, frames and windows by features.
        input_shape: Of the weights that rows are multiplied by.
        recurrent_shape: Of the weights that the state is multiplied by.
    """
    num_rows = math.prod(rows_shape[:-1])
    return 2 * num_rows * (math.prod(input_shape) + math.prod(recurrent_shape))


def _training_step(head: Head, visual: Tensor, audio: Tensor, frame_mask: Tensor) -> Callable[[], None]:
    optimizer = torch.optim.Adam(head.parameters())
    target = torch.rand(*frame_mask.shape, len(TARGETS), device=visual.device) * 2 - 1

    def step() -> None:
        optimizer.zero_grad()
        loss: Tensor = ccc_loss(head(visual, audio, frame_mask), target, frame_mask)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def _prediction(head: Head, visual: Tensor, audio: Tensor, frame_mask: Tensor) -> Callable[[], None]:
    def predict() -> None:
        with torch.inference_mode():
            head(visual, audio, frame_mask)

    return predict


def _seconds_per_round(work: Callable[[], None], device: torch.device | str, num_rounds: int) -> float:
    device = torch.device(device)
    seconds = []
    for _ in range(num_rounds + 1):
        started = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[1:])
