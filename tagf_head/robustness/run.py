"""A robustness measurement: several checkpoints under several conditions, into one folder.

    rows -> corrupted copy -> every head -> CCC, gates
    once    per condition     on the same rows

docs/robustness.md says what the conditions are and how to read the results.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import torch

from cache import FeatureStore
from tagf_head.annotations import load_annotations
from tagf_head.config import EvaluateConfig
from tagf_head.data.device_rows import DeviceRows
from tagf_head.data.split_data import Features, SplitData, load_split, open_features
from tagf_head.devices import resolve_device
from tagf_head.errors import HeadError
from tagf_head.evaluation.ensemble import Ensemble, check_official_split, load_ensemble
from tagf_head.robustness.checkpoint_search import find_checkpoints
from tagf_head.robustness.conditions import FEATURE_FAMILIES, Condition, feature_conditions
from tagf_head.robustness.config import RobustnessConfig
from tagf_head.robustness.corruption import corrupted_rows
from tagf_head.robustness.curves import curve_names, mean_and_deviation
from tagf_head.robustness.feature_rows import (
    altered_rows,
    present_shares,
    read_clean_rows,
    read_degraded_rows,
)
from tagf_head.robustness.files import write_report
from tagf_head.robustness.measurement import Measurement, answer, measure
from tagf_head.robustness.report import MeasuredHead, RobustnessReport

#: Makes stores of degraded media of some clips: ids of the clips -> condition -> where its store lies.
Degrade: TypeAlias = Callable[[Sequence[str]], Mapping[Condition, Path]]


def measure_robustness(
    features: Features,
    annotations: Path,
    checkpoints: Path | Sequence[Path],
    out: Path,
    *,
    config: RobustnessConfig | None = None,
    evaluate: EvaluateConfig | None = None,
    families: Sequence[str] = FEATURE_FAMILIES,
    degrade: Degrade | None = None,
    device: str | torch.device = "cpu",
    progress: Callable[[str], None] = lambda line: None,
) -> RobustnessReport:
    """Measure heads under disturbances, and write robustness.csv, gates.csv, robustness.md, .svg and .png.

    Args:
        features: As for `evaluate_head`.
        annotations: Likewise.
        checkpoints: Files, or folders in which every best.safetensors is taken; of a comparison, those of
            its table. Those that differ in their seed alone are one curve, of their mean and standard
            deviation.
        out: Folder of the results.
        config: Levels of the conditions on the features, and the seed that `degrade` was made with.
        evaluate: Split, and windows per forward pass.
        families: Conditions on the features that are measured, some of `FEATURE_FAMILIES`.
        degrade: Where stores of degraded media come from, if these are to be measured too. It is called when
            everything that was given has been checked.
        device: As for `evaluate_head`.
        progress: Called with a line after each condition, and where checkpoints are left out.

    Returns:
        What was written.

    Raises:
        HeadError: A checkpoint, the labels, the device or a condition cannot be used, or a head was trained
            on clips of the split.
        StaleFeatureError: A store holds other features than those that a head was trained on.
        CacheError: A store cannot be used.
    """
    config, evaluate = config or RobustnessConfig(), evaluate or EvaluateConfig()
    target = resolve_device(device)
    on_features = feature_conditions(config, families)
    store = open_features(features)
    ensemble = load_ensemble(
        find_checkpoints(
            [Path(checkpoints)] if isinstance(checkpoints, (str, Path)) else checkpoints, progress
        ),
        device=target,
    )
    data = _load(store, annotations, ensemble, evaluate, target)
    degraded = {} if degrade is None else dict(degrade(data.clip_ids))
    if not on_features and not degraded:
        raise HeadError("no condition to measure; give at least one")
    clean = read_clean_rows(store, data)

    def rows_of_conditions() -> Iterator[tuple[Condition, DeviceRows]]:
        for condition in on_features:
            yield condition, corrupted_rows(clean, data, condition, config)
        for condition, path in degraded.items():
            yield condition, read_degraded_rows(path, store, data)

    conditions = (*on_features, *degraded)
    trainings = [member.checkpoint.info.train for member in ensemble.members]
    curves = curve_names(trainings)
    watch = _Progress(len(conditions) + 1, curves, progress)
    answers = [answer(member, clean, data, evaluate.batch_size) for member in ensemble.members]
    unaltered = altered_rows(clean, clean)
    of_clean = [measure(each, each, data, unaltered) for each in answers]
    watch.done("clean", of_clean)
    found: list[dict[Condition, Measurement]] = [{} for _ in ensemble.members]
    present: dict[Condition | None, dict[str, float]] = {None: present_shares(clean)}
    for condition, rows in rows_of_conditions():
        altered, present[condition] = altered_rows(clean, rows), present_shares(rows)
        for member, before, measured in zip(ensemble.members, answers, found, strict=True):
            after = answer(member, rows, data, evaluate.batch_size)
            measured[condition] = measure(after, before, data, altered)
        # Before the next are made: there is room for one corrupted copy.
        del rows
        watch.done(str(condition), [measured[condition] for measured in found])
    report = RobustnessReport(
        heads=tuple(
            MeasuredHead(
                curve=curve,
                checkpoint=member.path,
                seed=training.seed,
                clean=of_head,
                conditions=measured,
            )
            for curve, member, training, of_head, measured in zip(
                curves, ensemble.members, trainings, of_clean, found, strict=True
            )
        ),
        conditions=conditions,
        present=present,
        corruption_seed=config.seed,
        split=data.name,
        num_clips=len(data.clip_ids),
        num_frames=data.counts.num_frames,
        num_labelled=data.counts.num_labelled,
        unit=data.groups.unit,
        random_weights=any(member.checkpoint.info.random_weights for member in ensemble.members),
    )
    write_report(out, report)
    return report


def _load(
    store: FeatureStore,
    annotations: Path,
    ensemble: Ensemble,
    evaluate: EvaluateConfig,
    device: torch.device,
) -> SplitData:
    """The split's labels, its rows still in the store's files."""
    for member in ensemble.members:
        store.require_spec(member.checkpoint.info.spec, where=str(member.path))
    if evaluate.split == "fold":
        raise HeadError(
            "robustness: split 'fold' has other clips for each head; measure on 'test' or 'validation'"
        )
    annotated = load_annotations(annotations, ensemble.labels.gold_standard)
    check_official_split(ensemble, evaluate.split, annotated)
    return load_split(
        store, annotated, evaluate.split, labels=ensemble.labels, device=device, rows_memory_gb=0
    )


class _Progress:
    """Lines that say what has been measured, and how long the rest will take."""

    def __init__(self, num_conditions: int, curves: Sequence[str], report: Callable[[str], None]) -> None:
        self._num_conditions, self._curves, self._report = num_conditions, curves, report
        self._num_done = 0
        self._start_s = time.monotonic()

    def done(self, name: str, measurements: Sequence[Measurement]) -> None:
        """Report a condition."""
        self._num_done += 1
        left = self._num_conditions - self._num_done
        left_s = (time.monotonic() - self._start_s) / self._num_done * left
        of_curve: dict[str, list[float]] = {}
        for curve, each in zip(self._curves, measurements, strict=True):
            of_curve.setdefault(curve, []).append(each.ccc.mean.estimate)
        shown = ", ".join(
            f"{curve} {mean_and_deviation(values)[0]:.3f}" for curve, values in of_curve.items()
        )
        self._report(f"{self._num_done}/{self._num_conditions} {name}: mean CCC {shown}; {left_s:.0f} s left")
