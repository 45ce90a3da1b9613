"""Training from the store beside the bare step, a DataLoader over npy files, and training end to end.

On a corpus of Aff-Wild2's size, or of a share of its clips. An epoch of all windows would take half an hour
on a CPU, so this one has some windows of the whole store, drawn at random: no other window has a label, and
training leaves windows without a label out. Everything is a ratio within one run: what is compared takes
turns, round by round, and each ratio is the median over the rounds.

- The bare step is forward, backward and optimiser step on one batch that is in place, in float32.
- The DataLoader (`npy_windows.py`) feeds the same head.
- End to end, IR-50 and VGGish run on pixels and log-mels in memory before the head's step, as plain float32
  modules without gradients; a part of the frames of a window is timed.
- Peak memory is that of a process of its own with interpreter and libraries, which loads both splits and
  reads every training window once, in batches of 64.

`--share 0.02` is a quick trial.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from machine import write_result
from npy_windows import npy_batches
from training_corpus import Corpus, write_corpus

from pipeline.backbones import load_backbone
from tagf_head.annotations import load_annotations
from tagf_head.config import HeadConfig, TrainConfig
from tagf_head.data.rows import with_empty_row
from tagf_head.data.split_data import Batch, SplitData, load_split, open_features
from tagf_head.data.windows import WindowPlan, plan_windows
from tagf_head.distributed import Processes
from tagf_head.heads import build_head
from tagf_head.training.objective import TrainingObjective
from tagf_head.training.run import TrainingRun

WINDOW, STRIDE = 300, 200
CPU = torch.device("cpu")
# Head, windows per batch (for tagf the paper's), steps of an epoch, rounds.
TIMED = (("tagf", 6, 4, 5), ("visual_only", 64, 2, 3))
NUM_READ, READING_ROUNDS = 1920, 3
BACKBONE_BATCH, NUM_EMBEDDED = 32, 96

# The peak that the system keeps (VmHWM) is that of a process's whole life.
MEMORY = """
import json, sys
import torch
from pathlib import Path
from tagf_head.annotations import load_annotations
from tagf_head.data.split_data import load_split, open_features
from tagf_head.data.windows import plan_windows

def peak_mb():
    (line,) = [line for line in open("/proc/self/status") if line.startswith("VmHWM:")]
    return round(int(line.split()[1]) * 1024 / 1e6)

figures = {"libraries_mb": peak_mb()}
store, annotations = open_features(Path(sys.argv[1])), load_annotations(Path(sys.argv[2]))
train, _ = [
    load_split(store, annotations, split, rows_memory_gb=float(sys.argv[3]))
    for split in ("train", "validation")
]
figures["loaded_mb"] = peak_mb()
plan = plan_windows(train.row_size, 300, 200)
for batch in train.rows.batches(plan, 64, order=torch.randperm(len(plan))):
    pass
print(json.dumps({**figures, "peak_mb": peak_mb(), "windows_read": len(plan)}))
"""


class Step:
    """Forward, backward and optimiser step of a head of its own.

    Args:
        name: Name of the head.
    """

    def __init__(self, name: str) -> None:
        torch.manual_seed(0)
        head = build_head(HeadConfig(name=name))
        self._objective = TrainingObjective(
            head, ccc_over="batch", precision="float32", over_processes=False
        ).train()
        self._optimizer = torch.optim.Adam(head.parameters(), lr=1e-5, weight_decay=1e-3, fused=True)

    def __call__(self, batches: Iterable[Batch]) -> None:
        """A step on each batch."""
        for batch in batches:
            found = self._objective(
                batch.visual, batch.audio, batch.frame_mask, batch.label, batch.label_mask
            )
            self._optimizer.zero_grad()
            found.loss.backward()
            self._optimizer.step()


class Embedding:
    """IR-50 and VGGish with random weights on random input."""

    def __init__(self) -> None:
        self._ir50, self._vggish = load_backbone("ir50", "random:0"), load_backbone("vggish", "random:0")
        self._pixels = torch.randn(NUM_EMBEDDED, *self._ir50.input_shape)
        self._log_mel = torch.randn(NUM_EMBEDDED, *self._vggish.input_shape)

    @torch.no_grad()
    def __call__(self) -> None:
        """Embed all of it."""
        for start in range(0, NUM_EMBEDDED, BACKBONE_BATCH):
            self._ir50(self._pixels[start : start + BACKBONE_BATCH])
            self._vggish(self._log_mel[start : start + BACKBONE_BATCH])


def rounds_of(work: Mapping[str, Callable[[], object]], num_rounds: int) -> dict[str, list[float]]:
    """Seconds of each work in each round; each is the first in its turn."""
    for each in work.values():  # the first time takes longer
        each()
    seconds: dict[str, list[float]] = defaultdict(list)
    names = list(work)
    for turn in range(num_rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            start = time.perf_counter()
            work[name]()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def ratio(above: list[float], below: list[float]) -> float:
    """Median over the rounds."""
    return round(statistics.median(a / b for a, b in zip(above, below, strict=True)), 3)


def per_s(count: int, seconds: list[float]) -> float:
    """Of a number of things, by the median of the rounds."""
    return float(f"{count / statistics.median(seconds):.4g}")


def drawn_windows(data: SplitData, num_windows: int) -> WindowPlan:
    """Whole windows at random whose middle thirds lie in no other window."""
    plan = plan_windows(data.row_size, WINDOW, STRIDE)
    is_followed = np.append((np.diff(plan.start) == STRIDE) & (np.diff(plan.clip) == 0), False)
    chosen = np.random.default_rng(0).choice(np.flatnonzero(is_followed), num_windows, replace=False)
    return plan.select(np.isin(np.arange(len(plan)), chosen))


def with_labels_in(data: SplitData, plan: WindowPlan) -> SplitData:
    """The same with labels in the middle thirds of some windows alone, so that an epoch has no others."""
    label_mask = np.zeros(len(data.label_mask), bool)
    for first in data.rows.row_start.numpy()[plan.clip] + plan.start:
        label_mask[first + WINDOW - STRIDE : first + STRIDE] = True
    rows = replace(data.rows, label_mask=with_empty_row(label_mask, CPU))
    return replace(data, label_mask=label_mask, rows=rows)


def epochs(corpus: Corpus, data: SplitData) -> dict[str, object]:
    """Windows per second of a training epoch, and of what it is compared with."""
    figures: dict[str, object] = {}
    for name, batch_size, num_steps, num_rounds in TIMED:
        num_windows = num_steps * batch_size
        windows = drawn_windows(data, num_windows)
        drawn = with_labels_in(data, windows)
        config = TrainConfig(head=HeadConfig(name=name), window=WINDOW, stride=STRIDE, batch_size=batch_size)
        run = TrainingRun(config, drawn, drawn, CPU, Processes())
        batch = next(drawn.rows.batches(windows, batch_size))
        in_place = replace(batch, visual=batch.visual.float(), audio=batch.audio.float())
        work: dict[str, Callable[[], object]] = {
            "epoch": run._train_epoch,
            "bare_step": partial(Step(name), [in_place] * num_steps),
            "npy_loader": partial(Step(name), npy_batches(corpus.npy, drawn, windows, batch_size)),
        }
        if name == "tagf":
            work["embedding"] = Embedding()
        seconds = rounds_of(work, num_rounds)
        embedding = seconds.pop("embedding", None)
        figures[name] = {
            "batch_size": batch_size,
            "windows_per_epoch": num_windows,
            "rounds": num_rounds,
            "windows_per_s": {each: per_s(num_windows, times) for each, times in seconds.items()},
            "epoch_over_bare_step": ratio(seconds["bare_step"], seconds["epoch"]),
            "epoch_over_npy_loader": ratio(seconds["npy_loader"], seconds["epoch"]),
        }
        if embedding is not None:
            blocks = num_windows * WINDOW / NUM_EMBEDDED
            pairs = zip(embedding, seconds["bare_step"], strict=True)
            end_to_end = [blocks * embedded + step for embedded, step in pairs]
            figures["end_to_end"] = {
                "head": name,
                "frames_embedded_per_s": per_s(NUM_EMBEDDED, embedding),
                "windows_per_s": per_s(num_windows, end_to_end),
                "epoch_over_end_to_end": ratio(end_to_end, seconds["epoch"]),
            }
    return figures


def reading(corpus: Corpus, in_memory: SplitData, mapped: SplitData) -> dict[str, object]:
    """Windows per second of each data path without a step."""
    windows = drawn_windows(in_memory, min(NUM_READ, len(in_memory.label) // (2 * STRIDE)))

    def read_all(batches: Callable[[], Iterable[Batch]]) -> None:
        for _ in batches():
            pass

    figures: dict[str, object] = {"windows_per_round": len(windows), "rounds": READING_ROUNDS}
    for _, batch_size, _, _ in TIMED:
        loader = npy_batches(corpus.npy, in_memory, windows, batch_size)
        paths: dict[str, Callable[[], Iterable[Batch]]] = {
            "rows_in_memory": partial(in_memory.rows.batches, windows, batch_size),
            "rows_mapped": partial(mapped.rows.batches, windows, batch_size),
            "npy_loader": partial(iter, loader),
        }
        seconds = rounds_of({name: partial(read_all, path) for name, path in paths.items()}, READING_ROUNDS)
        figures[f"batch_of_{batch_size}"] = {
            "windows_per_s": {name: per_s(len(windows), times) for name, times in seconds.items()},
            "rows_in_memory_over_npy_loader": ratio(seconds["npy_loader"], seconds["rows_in_memory"]),
            "rows_mapped_over_npy_loader": ratio(seconds["npy_loader"], seconds["rows_mapped"]),
        }
    return figures


def peak_memory(corpus: Corpus, limit_gb: float) -> dict[str, int]:
    """Megabytes of a process that loads and reads everything, with a limit of rows in memory."""
    command = [sys.executable, "-c", MEMORY, str(corpus.store), str(corpus.annotations), str(limit_gb)]
    said = subprocess.run(command, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE, check=True)
    figures: dict[str, int] = json.loads(said.stdout)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--share", type=float, default=1.0, help="share of the clips")
    parser.add_argument("--folder", type=Path, help="where to write some 6 GB; a temporary folder if none")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tagf-training-benchmark-", dir=options.folder) as name:
        corpus = write_corpus(Path(name), options.share)
        store_mb = round(sum(path.stat().st_size for path in corpus.store.rglob("*")) / 1e6)
        memory = {"rows_in_memory": peak_memory(corpus, 1e3), "rows_mapped": peak_memory(corpus, 0)}
        store, annotations = open_features(corpus.store), load_annotations(corpus.annotations)
        in_memory, mapped = (
            load_split(store, annotations, "train", rows_memory_gb=limit_gb) for limit_gb in (1e3, 0)
        )
        figures: dict[str, object] = {
            "share_of_clips": options.share,
            "corpus": {
                "rows": corpus.num_rows,
                "clips": corpus.num_clips,
                "store_mb": store_mb,
                "training_windows": len(plan_windows(in_memory.row_size, WINDOW, STRIDE)),
            },
            "peak_memory": {
                **memory,
                "rows_in_memory_less_store_mb": memory["rows_in_memory"]["peak_mb"] - store_mb,
            },
            "reading": reading(corpus, in_memory, mapped),
            "training": epochs(corpus, in_memory),
        }
    if options.share == 1:
        write_result("training", figures)
    else:
        print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
