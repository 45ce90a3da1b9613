"""The table of a comparison: what was measured of each head, and what is published beside it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tagf_head.comparison.entry import Entry
from tagf_head.comparison.published import PUBLISHED, PublishedFigures
from tagf_head.comparison.trial import Trial, TrialOutcome
from tagf_head.config import TARGETS, EvaluatedSplit
from tagf_head.evaluation.bootstrap import CccIntervals
from tagf_head.evaluation.evaluated_runs import EvaluatedRuns, read_runs
from tagf_head.head_cost import HeadCost

#: What CCCs are given of.
AVERAGES = (*TARGETS, "mean")


@dataclass(frozen=True, kw_only=True)
class SeedValues:
    """One number of each seed.

    Attributes:
        values: In the order of the seeds.
    """

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean over the seeds."""
        return statistics.fmean(self.values)

    @property
    def sd(self) -> float:
        """Standard deviation of the seeds, with one degree of freedom taken; NaN of a single one."""
        if len(self.values) < 2 or any(map(math.isnan, self.values)):
            return math.nan
        return statistics.stdev(self.values)


@dataclass(frozen=True, kw_only=True)
class ComparisonRow:
    """One head.

    Attributes:
        entry: The head.
        seeds: Those of its runs.
        ccc: CCC of valence, arousal and their mean -> its values over the seeds.
        interval: CCC averaged over the seeds, with intervals over groups of clips.
        difference: The same minus the reference's, paired; over the seeds that both have. None for the
            reference, and where there is none.
        validation: Mean CCC on the validation split in the best epoch.
        best_epoch: That epoch of each seed, counted from 1; None with folds.
        num_epochs: Epochs that each seed was trained for; None with folds.
        cost: Parameters, multiply-adds and speed; None where they could not be measured.
        published: Of the system that the head is a reading of; None where it has settings of its own.
    """

    entry: Entry
    seeds: tuple[int, ...]
    ccc: Mapping[str, SeedValues]
    interval: CccIntervals
    difference: CccIntervals | None
    validation: SeedValues
    best_epoch: tuple[int | None, ...]
    num_epochs: tuple[int | None, ...]
    cost: HeadCost | None
    published: PublishedFigures | None


@dataclass(frozen=True, kw_only=True)
class ComparisonTable:
    """Heads on one split of the same features.

    Attributes:
        split: The split; `fold` stands for out-of-fold predictions.
        rows: One per head with at least one run, in the order given.
        reference: Name of the head to which the others are compared; None where there is none.
        num_groups: Number of groups of clips that intervals resample.
        unit: What such a group is.
        random_weights: Whether the features came from backbones with random weights.
        notes: What else there is to know: how was trained, what failed.
    """

    split: EvaluatedSplit
    rows: tuple[ComparisonRow, ...]
    reference: str | None
    num_groups: int
    unit: str
    random_weights: bool
    notes: tuple[str, ...]

    @property
    def only_seed(self) -> int | None:
        """The seed of all rows, where there is but one."""
        seeds = {seed for row in self.rows for seed in row.seeds}
        return seeds.pop() if len(seeds) == 1 else None


def comparison_table(
    outcomes: Sequence[TrialOutcome],
    *,
    out: Path,
    annotations: Path,
    split: EvaluatedSplit,
    entries: Sequence[Entry],
    reference: Entry | None,
    costs: Mapping[str, HeadCost],
    notes: Sequence[str],
) -> ComparisonTable:
    """Read what the trials have left, and compare.

    Args:
        outcomes: Of the trials that are done, at least one.
        out: Folder of the comparison.
        annotations: The labels.
        split: The split that was evaluated.
        entries: The heads, in the order of the table.
        reference: The one to which the others are compared.
        costs: Name of an entry -> what it costs.
        notes: See `ComparisonTable`.

    Raises:
        HeadError: As for `read_runs`.
    """
    ordered = sorted(outcomes, key=lambda each: each.trial.seed)
    trials = [outcome.trial for outcome in ordered]
    runs = read_runs([trial.folder(out) for trial in trials], annotations, split)
    rows = []
    for entry in entries:
        own = [index for index, trial in enumerate(trials) if trial.entry == entry]
        if own:
            rows.append(
                ComparisonRow(
                    entry=entry,
                    seeds=tuple(trials[index].seed for index in own),
                    ccc=_of_seeds(runs, own),
                    interval=runs.ccc(own),
                    difference=_difference(runs, trials, own, reference),
                    validation=SeedValues(
                        values=tuple(_or_nan(ordered[index].validation_ccc) for index in own)
                    ),
                    best_epoch=tuple(ordered[index].best_epoch for index in own),
                    num_epochs=tuple(ordered[index].num_epochs for index in own),
                    cost=costs.get(entry.name),
                    published=PUBLISHED.get(entry.name),
                )
            )
    return ComparisonTable(
        split=split,
        rows=tuple(rows),
        reference=None if reference is None else reference.name,
        num_groups=rows[0].interval.num_groups,
        unit=runs.unit,
        random_weights=runs.random_weights,
        notes=tuple(notes),
    )


def _of_seeds(runs: EvaluatedRuns, own: Sequence[int]) -> dict[str, SeedValues]:
    of_seeds = [runs.ccc([index]) for index in own]
    return {
        name: SeedValues(values=tuple(getattr(each, name).estimate for each in of_seeds)) for name in AVERAGES
    }


def _difference(
    runs: EvaluatedRuns, trials: Sequence[Trial], own: Sequence[int], reference: Entry | None
) -> CccIntervals | None:
    """Over the seeds that both have, so that a seed that failed does not shift it."""
    if reference is None or trials[own[0]].entry == reference:
        return None
    base = {trial.seed: index for index, trial in enumerate(trials) if trial.entry == reference}
    shared = [index for index in own if trials[index].seed in base]
    if not shared:
        return None
    return runs.difference(shared, [base[trials[index].seed] for index in shared])


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value
