"""Which checkpoints are one curve, and what it is called."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from tagf_head.config import HeadConfig, TrainConfig
from tagf_head.robustness.curves import curve_names, mean_and_deviation

TAGF = TrainConfig(head=HeadConfig(name="tagf"))


def test_seeds_of_one_head_are_one_curve() -> None:
    concat = dataclasses.replace(TAGF, head=HeadConfig(name="concat"), seed=3)
    assert curve_names([TAGF, concat, dataclasses.replace(TAGF, seed=1)]) == ("tagf", "concat", "tagf")


def test_other_settings_are_other_curves_and_named() -> None:
    deeper = dataclasses.replace(TAGF, head=HeadConfig(name="tagf", num_steps=3), seed=1)
    slower = dataclasses.replace(TAGF, lr=1e-6)
    assert curve_names([TAGF, deeper]) == ("tagf (head.num_steps 2)", "tagf (head.num_steps 3)")
    assert len(set(curve_names([TAGF, deeper, slower]))) == 3


def test_mean_and_deviation_are_those_of_numpy() -> None:
    values = [0.3, 0.5, 0.1]
    assert mean_and_deviation(values) == pytest.approx((np.mean(values), np.std(values, ddof=1)))
    mean, deviation = mean_and_deviation([0.3])
    assert mean == 0.3
    assert math.isnan(deviation)
