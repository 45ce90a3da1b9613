"""The TAGF head against a plain one of the same sizes: seconds per training step.

Both take turns, step by step, on one batch that is already in place: forward, loss, backward and Adam. Before
that, with the same weights and without dropout, they have to predict the same. On a GPU the head is measured
as training runs it with `compile: true` too (a CUDA graph). Ratios above 1 say that ours is the faster one.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from machine import write_result
from plain_tagf import NAMES, PlainTagf, plain_tensors
from torch import Tensor, nn

from tagf_head.config import HeadConfig, Precision
from tagf_head.heads import build_head
from tagf_head.heads.released_weights import load_named_weights
from tagf_head.training.objective import TrainingObjective

WINDOW, BATCH_SIZES = 300, (6, 64)
Step = Callable[[], None]


def make_batch(batch_size: int, device: torch.device) -> tuple[Tensor, ...]:
    """Rows, mask, labels and their mask of full windows."""
    generator = torch.Generator().manual_seed(0)
    shape = (batch_size, WINDOW)
    full = torch.ones(shape, dtype=torch.bool, device=device)
    visual, audio, label = (torch.randn(*shape, n, generator=generator).to(device) for n in (512, 128, 2))
    return visual, audio, full, label.clamp(-1, 1), full


def largest_difference(device: torch.device) -> float:
    """Between the predictions of the two heads with the same weights, in float64, in training mode."""
    plain = PlainTagf().double().to(device)
    head = build_head(HeadConfig(causal=True, tcn_dropout=0.0, attention_dropout=0.0)).double().to(device)
    load_named_weights(head, plain_tensors(plain), NAMES)
    for module in plain.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    visual, audio, mask, *_ = make_batch(2, device)
    visual, audio = visual.double(), audio.double()
    with torch.no_grad():
        return float((head(visual, audio, mask) - plain(visual, audio, mask)).abs().max())


def training_step(
    head: nn.Module, batch: tuple[Tensor, ...], *, compiled: bool, precision: Precision
) -> Step:
    """One optimiser step on the batch, which ends when the device has done it."""
    device = batch[0].device
    objective: nn.Module = TrainingObjective(
        head.to(device), ccc_over="batch", precision=precision, over_processes=False
    )
    if compiled:
        objective = torch.compile(objective, dynamic=False, mode="reduce-overhead")
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-5, weight_decay=1e-3)

    def step() -> None:
        loss = objective(*batch).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()

    return step


def compare(steps: dict[str, Step], rounds: int) -> dict[str, object]:
    """Median seconds of each, and how often it goes into the plain one's: elapsed and processor time."""
    wall: dict[str, list[float]] = {name: [] for name in steps}
    processor: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(rounds + 3):
        for name, step in steps.items():
            start, start_cpu = time.perf_counter(), time.process_time()
            step()
            if turn >= 3:  # the first ones warm up
                wall[name].append(time.perf_counter() - start)
                processor[name].append(time.process_time() - start_cpu)
    medians = {name: statistics.median(values) for name, values in wall.items()}
    of_processor = {name: statistics.median(values) for name, values in processor.items()}
    return {
        name: {
            "step_ms": round(1e3 * medians[name], 2),
            "times_faster_than_plain": round(medians["plain"] / medians[name], 3),
            "times_less_processor_time": round(of_processor["plain"] / of_processor[name], 3),
        }
        for name in steps
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--threads", type=int, help="of the processor; all by default")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    on_gpu = device.type == "cuda"
    torch.manual_seed(0)
    figures: dict[str, object] = {"largest_difference_float64": largest_difference(device)}
    for batch_size in BATCH_SIZES if on_gpu else BATCH_SIZES[:1]:
        batch = make_batch(batch_size, device)
        for precision in ("float32", "bfloat16") if on_gpu else ("float32",):
            steps = {
                "plain": training_step(PlainTagf(), batch, compiled=False, precision=precision),
                "tagf": training_step(
                    build_head(HeadConfig(causal=True)), batch, compiled=False, precision=precision
                ),
            }
            if on_gpu:
                steps["tagf, compiled"] = training_step(
                    build_head(HeadConfig(causal=True)), batch, compiled=True, precision=precision
                )
            figures[f"batch {batch_size}, {precision}"] = compare(steps, arguments.rounds)
    write_result("head", {"device": str(device), "threads": torch.get_num_threads(), **figures})


if __name__ == "__main__":
    main()
