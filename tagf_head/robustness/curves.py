"""Which checkpoints are seeds of one head, and so one curve, and the mean and spread of a curve."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from cache.settings import to_mapping
from tagf_head.config import TrainConfig


def curve_names(trainings: Sequence[TrainConfig]) -> tuple[str, ...]:
    """The curve of each checkpoint: checkpoints that differ in the seed alone share one.

    A curve is called by its head, and where heads of one name were trained with different settings, by these
    as well: ``tagf (head.num_steps 3)``.

    Args:
        trainings: What each checkpoint was trained with.
    """
    settings = [dict(_flat(to_mapping(replace(training, seed=0)))) for training in trainings]
    names = []
    for training, own in zip(trainings, settings, strict=True):
        alike = [
            other
            for other, of_other in zip(settings, trainings, strict=True)
            if of_other.head.name == training.head.name
        ]
        differing = [key for key in own if any(other.get(key) != own[key] for other in alike)]
        shown = ", ".join(f"{key} {own[key]}" for key in differing)
        names.append(f"{training.head.name} ({shown})" if shown else training.head.name)
    return tuple(names)


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    """Mean and standard deviation over n - 1, which is NaN for one value.

    >>> mean_and_deviation([1.0, 3.0])
    (2.0, 1.4142135623730951)
    """
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
    return float(np.mean(values)), deviation


def _flat(mapping: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Settings by their dotted names."""
    for key, value in mapping.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
