"""A comparison as a whole: heads times seeds, trained, evaluated, and put into one table and one plot.

All heads have the same features, labels, windows, metric and budget. What is compared is the fusion.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from cache import FeatureStore
from tagf_head.comparison.capacity import fitting_jobs, rows_bytes, rows_memory_gb
from tagf_head.comparison.config import CompareConfig
from tagf_head.comparison.entry import Entry, parse_entries
from tagf_head.comparison.folder_lock import sole_writer
from tagf_head.comparison.plot import write_plot
from tagf_head.comparison.progress import TrialProgress
from tagf_head.comparison.record import COMPARISON_NAME
from tagf_head.comparison.retraining import finished_beside, require_nothing_retrained
from tagf_head.comparison.table import ComparisonTable, comparison_table
from tagf_head.comparison.table_files import as_csv, as_latex, as_markdown, trials_csv
from tagf_head.comparison.trial import Trial, TrialOutcome, TrialSettings, run_trial
from tagf_head.comparison.trial_pool import run_trials
from tagf_head.config import EvaluateConfig, TrainConfig
from tagf_head.data.clip_groups import counted
from tagf_head.data.split_data import open_features
from tagf_head.devices import resolve_device
from tagf_head.errors import HeadError, TrainingError
from tagf_head.head_cost import HeadCost, head_cost
from tagf_head.run_folder import write_file

#: A line per trial.
TRIALS_FILE = "trials.csv"

# Taken where it takes part and nothing else is asked for: the baseline that every fusion has to beat.
_USUAL_REFERENCE = "concat"

Progress = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What a comparison found.

    Attributes:
        table: The table, as it was written; None where no trial has ended well.
        failed: Trials that failed.
        num_unfinished: Trials that were stopped or not tried, since the disk was full.
    """

    table: ComparisonTable | None
    failed: tuple[TrialOutcome, ...]
    num_unfinished: int

    def require_all(self) -> None:
        """Fail unless every trial has ended well.

        Raises:
            TrainingError: One line that names the trials and what is wrong with the first.
        """
        if not self.failed:
            return
        names = "; ".join(outcome.trial.name for outcome in self.failed)
        stopped = ""
        if self.num_unfinished:
            stopped = f", and {counted(self.num_unfinished, 'trial')} had to be left"
        kept = "" if self.table is None else "the others are kept and in the table: "
        raise TrainingError(
            f"{counted(len(self.failed), 'trial')} failed ({names}){stopped}; the first: "
            f"{self.failed[0].failure}; {kept}mend it and run the same command again"
        )


def compare_heads(
    features: Sequence[Path | str],
    annotations: Path,
    out: Path,
    compare: CompareConfig,
    *,
    train: TrainConfig,
    evaluate: EvaluateConfig,
    jobs: int | None = None,
    device: str = "auto",
    work_dir: Path | None = None,
    retrain: bool = False,
    progress: Progress | None = None,
) -> Comparison:
    """Train and evaluate every head with every seed, and write the table and the plot.

    Trials lie below `out`, see `tagf_head.comparison.trial`; those that are finished are kept. The table is
    written whatever fails, of the trials that did not.

    Args:
        features: Paths or URLs of feature stores of one fingerprint.
        annotations: The labels, as `load_annotations` takes them.
        out: Folder of the comparison.
        compare: Heads, seeds and reference.
        train: Training of every head; the settings of `train.head` hold for all heads.
        evaluate: Evaluation; its split is the table's, and with folds the clips of each fold.
        jobs: Trials at once; by default as many as cores and memory allow.
        device: Where heads are trained; ``auto`` is a GPU where there is one.
        work_dir: As for `train_head`.
        retrain: Train again what the folder has of other settings, features, labels or code.
        progress: Called with one line per finished trial, and where something unusual happens.

    Raises:
        HeadError: A head, a setting or the device cannot be used, or another comparison is being written to
            this folder. Nothing has started then.
        TrainingError: The folder has trials of other settings, features, labels or code, and `retrain` is
            false; or `torchrun` has started this process. Nothing has started then.
        CacheError: The store cannot be used.
    """
    report = progress or (lambda line: None)
    if int(os.environ.get("WORLD_SIZE") or 1) > 1:
        raise TrainingError("a comparison starts its own processes; start it without torchrun")
    entries = parse_entries(compare.heads, train)
    reference = _reference(compare.reference, entries)
    if compare.folds and evaluate.folds is None:
        raise HeadError("folds: the number of folds is not set; set evaluate.folds in the settings")
    if compare.folds:
        evaluate = replace(evaluate, split="fold")
    elif evaluate.split == "fold":
        raise HeadError("split 'fold' is that of folds; ask for them (--folds), or choose another split")
    target = resolve_device(device)
    store = open_features(features)
    trials = [Trial(entry=entry, seed=seed) for seed in compare.seeds for entry in entries]
    num_row_bytes = rows_bytes(store)
    num_jobs = min(jobs or fitting_jobs(target, num_row_bytes), len(trials))
    limit_gb = rows_memory_gb(target, num_row_bytes, num_jobs)
    settings = TrialSettings(
        features=tuple(features),
        annotations=annotations,
        out=out,
        train=replace(train, rows_memory_gb=_or(train.rows_memory_gb, limit_gb)),
        evaluate=replace(evaluate, rows_memory_gb=_or(evaluate.rows_memory_gb, limit_gb)),
        num_folds=evaluate.folds if compare.folds else None,
        device=str(target),
        work_dir=work_dir,
        # Equal numbers, however many run at once.
        num_threads=1 if target.type == "cpu" else None,
    )
    with sole_writer(out):
        if not retrain:
            require_nothing_retrained(trials, settings, store, report)
        report(
            f"{counted(len(entries), 'head')}, {counted(len(compare.seeds), 'seed')}: "
            f"{counted(len(trials), 'trial')}, {num_jobs} at a time"
        )
        outcomes = _run(trials, settings, num_jobs, report)
        failed = tuple(outcome for outcome in outcomes if not outcome.is_done)
        done = [outcome for outcome in outcomes if outcome.is_done]
        table = None
        if done:
            costs, lines = _costs(entries, train, store, target, report)
            table = comparison_table(
                done,
                out=out,
                annotations=annotations,
                split=evaluate.split,
                entries=entries,
                reference=reference,
                costs=costs,
                notes=[_budget(train), *lines, *_failures(failed)],
            )
            _write(out, table)
        if number := finished_beside(trials, out):
            report(
                f"{out} has {counted(number, 'finished trial')} of other heads or seeds, not in this table; "
                "name them too for a table of all"
            )
    return Comparison(table=table, failed=failed, num_unfinished=len(trials) - len(outcomes))


def costs_of(
    entries: Sequence[Entry], train: TrainConfig, device: torch.device, report: Progress
) -> dict[str, HeadCost]:
    """What each head costs in windows and batches of the training, measured one after the other.

    A head that cannot be measured is left out, and a line says so.
    """
    costs: dict[str, HeadCost] = {}
    for entry in entries:
        try:
            with torch.random.fork_rng():
                costs[entry.name] = head_cost(
                    entry.head, window=train.window, batch_size=train.batch_size, device=device
                )
        except Exception as error:  # a table without one speed is better than none
            why = " ".join(f"{type(error).__name__}: {error}".split())
            report(f"{entry.name}: its cost cannot be measured ({why})")
    return costs


def _reference(name: str | None, entries: Sequence[Entry]) -> Entry | None:
    wanted = _USUAL_REFERENCE if name is None else name
    for entry in entries:
        if entry.name == wanted:
            return entry
    if name is None:
        return None
    raise HeadError(
        f"reference {name!r} is not among the heads ({', '.join(entry.name for entry in entries)}); add it, "
        "or choose one of them"
    )


def _run(
    trials: Sequence[Trial], settings: TrialSettings, num_jobs: int, report: Progress
) -> list[TrialOutcome]:
    shown = TrialProgress(len(trials), num_jobs, report)
    outcomes = []
    for outcome in run_trials(trials, partial(run_trial, settings=settings), num_jobs, report):
        shown.add(outcome)
        outcomes.append(outcome)
    return outcomes


def _costs(
    entries: Sequence[Entry],
    train: TrainConfig,
    store: FeatureStore,
    device: torch.device,
    report: Progress,
) -> tuple[dict[str, HeadCost], list[str]]:
    """The costs with the store's widths, and what the table says of them."""
    visual, audio = (store.spec.stream(name).num_features for name in ("visual", "audio"))
    report(f"measuring the speed of {counted(len(entries), 'head')}, one after the other")
    with_widths = [
        replace(entry, head=replace(entry.head, visual_features=visual, audio_features=audio))
        for entry in entries
    ]
    lines: list[str] = []

    def note(line: str) -> None:
        lines.append(line)
        report(line)

    costs = costs_of(with_widths, train, device, note)
    where = (
        torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"a CPU (threads: {torch.get_num_threads()})"
    )
    lines.insert(
        0,
        f"Speed: windows of {train.window} frames in batches of {train.batch_size}, rows in memory, float32, "
        f"on {where}, one head after the other; what else the machine does meanwhile slows it down.",
    )
    return costs, lines


def _budget(train: TrainConfig) -> str:
    """What every head was given, in one line."""
    return (
        f"Every head: windows of {train.window} frames every {train.stride}, batches of {train.batch_size}, "
        f"at most {train.max_epochs} epochs, none after {train.early_stop_patience} without improvement, "
        f"learning rate {train.lr:g}, weight decay {train.weight_decay:g}; the best epoch by the mean CCC on "
        "the validation split."
    )


def _failures(failed: Sequence[TrialOutcome]) -> list[str]:
    return [f"Failed, and not in the table: {each.trial.name} ({each.error})." for each in failed]


def _write(out: Path, table: ComparisonTable) -> None:
    write_file(out / f"{COMPARISON_NAME}.csv", as_csv(table))
    write_file(out / f"{COMPARISON_NAME}.tex", as_latex(table).encode())
    write_file(out / TRIALS_FILE, trials_csv(table))
    write_plot(out, COMPARISON_NAME, table)
    # Last of all: where it is there, the others are.
    write_file(out / f"{COMPARISON_NAME}.md", as_markdown(table).encode())


def _or(value: float | None, other: float | None) -> float | None:
    return other if value is None else value
