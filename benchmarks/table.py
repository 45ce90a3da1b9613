"""How long the whole table takes on this machine: all heads, five seeds, a store of Aff-Wild2's size.

Timing only: the rows are random. Settings are the paper's (windows of 300 frames every 200, batches of 6,
100 epochs) with early stopping off, so that every run has all its epochs. A part is measured and the rest
reckoned from it: for each head, some training steps and some windows of validation, as the training does
them, in as many processes at once as `tagf compare` would start. Seconds per window, s and s', are means over
the processes, and the time of a head is

    seeds * epochs * (training windows * s + validation windows * s') / processes

Loading, saving and the evaluation at the end are not in it. With several numbers of jobs each head is
reckoned with the one that is fastest for it.

    python benchmarks/table.py                                    # every head of the registry
    python benchmarks/table.py --jobs 1 --jobs 8 --jobs 16        # how many at once are fastest
    python benchmarks/table.py --precision bfloat16 --compile     # on a GPU
    python benchmarks/table.py --share 0.05 --steps 1 --head concat    # a quick trial
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from joblib import Parallel, delayed, parallel_config
from machine import write_result
from training import drawn_windows, with_labels_in
from training_corpus import write_corpus

from tagf_head.annotations import load_annotations
from tagf_head.comparison.capacity import fitting_jobs, rows_bytes
from tagf_head.comparison.progress import duration_text
from tagf_head.config import HeadConfig, TrainConfig
from tagf_head.data.split_data import load_split, open_features
from tagf_head.data.windows import plan_windows
from tagf_head.devices import resolve_device
from tagf_head.distributed import Processes
from tagf_head.evaluation.stitching import stitch_windows
from tagf_head.heads import HEADS
from tagf_head.training.run import TrainingRun

NUM_SEEDS = 5
PAPER = TrainConfig()


@dataclass(frozen=True, kw_only=True)
class Part:
    """What every process measures.

    Attributes:
        store: The feature store.
        annotations: Its labels.
        config: Training of one head.
        num_steps: Optimiser steps that are timed, and as many batches of validation.
        device: Where.
        num_jobs: Processes that measure at the same time.
        meeting: Folder in which they wait for each other.
    """

    store: Path
    annotations: Path
    config: TrainConfig
    num_steps: int
    device: str
    num_jobs: int
    meeting: Path


@dataclass(frozen=True, kw_only=True)
class WindowTimes:
    """Seconds per window."""

    training_s: float
    validation_s: float


def window_times(part: Part, number: int) -> WindowTimes:
    """Of one process, while the others measure the same."""
    device = torch.device(part.device)
    if device.type == "cpu":
        torch.set_num_threads(1)
    # On a CPU from the mapped files, which processes share; on a GPU each has its rows on the device.
    data = load_split(
        open_features(part.store),
        load_annotations(part.annotations),
        "train",
        device=device,
        rows_memory_gb=0.0 if device.type == "cpu" else None,
    )
    num_windows = part.num_steps * part.config.batch_size
    windows = drawn_windows(data, num_windows)
    some = with_labels_in(data, windows)
    run = TrainingRun(part.config, some, some, device, Processes())

    def validate() -> object:
        return stitch_windows(run.head, some.rows, windows, part.config.batch_size)

    for work in (run._train_epoch, validate):  # the first time takes longer
        work()
    (part.meeting / f"ready-{number}").touch()
    while len([*part.meeting.glob("ready-*")]) < part.num_jobs:
        time.sleep(0.01)
    return WindowTimes(
        training_s=_seconds(run._train_epoch, device) / num_windows,
        validation_s=_seconds(validate, device) / num_windows,
    )


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    started_s = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started_s


def measured(part: Part) -> WindowTimes:
    """Means over the processes."""
    with tempfile.TemporaryDirectory() as meeting:
        here = Part(**{**vars(part), "meeting": Path(meeting)})
        with parallel_config(backend="loky", inner_max_num_threads=1):
            found = Parallel(n_jobs=part.num_jobs, batch_size=1)(
                delayed(window_times)(here, number) for number in range(part.num_jobs)
            )
    return WindowTimes(
        training_s=statistics.fmean(each.training_s for each in found),
        validation_s=statistics.fmean(each.validation_s for each in found),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--head", action="append", help="by default every head of the registry")
    parser.add_argument("--jobs", action="append", type=int, help="at once; by default as tagf compare")
    parser.add_argument("--steps", type=int, help="steps that are timed; 2 on a CPU, 100 on a GPU")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--share", type=float, default=1.0, help="share of the clips")
    parser.add_argument("--folder", type=Path, help="where to write 3 GB; a temporary folder if none")
    parser.add_argument("--result", default="table", help="name of the result file")
    options = parser.parse_args()
    device = resolve_device(options.device)
    num_steps = options.steps or (100 if device.type == "cuda" else 2)
    heads = options.head or [*HEADS]
    with tempfile.TemporaryDirectory(prefix="tagf-table-benchmark-", dir=options.folder) as folder:
        corpus = write_corpus(Path(folder), options.share, with_npy=False)
        store, annotations = open_features(corpus.store), load_annotations(corpus.annotations)
        train, validation = (
            len(
                plan_windows(
                    load_split(store, annotations, split, rows_memory_gb=0).row_size,
                    PAPER.window,
                    PAPER.stride,
                )
            )
            for split in ("train", "validation")
        )
        num_jobs = options.jobs or [fitting_jobs(device, rows_bytes(store))]
        figures: dict[str, dict[str, object]] = {}
        total_s = 0.0
        for name in heads:
            config = TrainConfig(
                head=HeadConfig(name=name),
                early_stop_patience=PAPER.max_epochs,
                precision=options.precision,
                compile=options.compile,
            )
            of_jobs = {}
            for jobs in num_jobs:
                part = Part(
                    store=corpus.store,
                    annotations=corpus.annotations,
                    config=config,
                    num_steps=num_steps,
                    device=str(device),
                    num_jobs=jobs,
                    meeting=Path(folder),
                )
                times = measured(part)
                epoch_s = train * times.training_s + validation * times.validation_s
                of_jobs[jobs] = (NUM_SEEDS * config.max_epochs * epoch_s / jobs, times)
            jobs, (head_s, times) = min(of_jobs.items(), key=lambda each: each[1][0])
            total_s += head_s
            figures[name] = {
                "jobs": jobs,
                "training_windows_per_s": float(f"{jobs / times.training_s:.4g}"),
                "validation_windows_per_s": float(f"{jobs / times.validation_s:.4g}"),
                "hours": round(head_s / 3600, 3),
            }
            print(f"{name}: {duration_text(head_s)} with {jobs} at once", flush=True)
        result: dict[str, object] = {
            "corpus": {
                "share_of_clips": options.share,
                "rows": corpus.num_rows,
                "training_windows": train,
                "validation_windows": validation,
            },
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
            "precision": options.precision,
            "compile": options.compile,
            "seeds": NUM_SEEDS,
            "epochs": PAPER.max_epochs,
            "steps_measured": num_steps,
            "heads": figures,
            "hours_of_the_whole_table": round(total_s / 3600, 2),
        }
    if options.share == 1 and not options.head:
        write_result(options.result, result)
    else:
        print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
