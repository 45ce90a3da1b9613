"""Whether deviations are as large as the errors: coverage of the intervals that they make, and more.

A head that says p with deviation sigma claims an error from N(0, sigma^2). Its central interval of level q,

    p - z sigma ... p + z sigma,     z = Phi^-1((1 + q) / 2),

should then hold a share q of the labels: the calibration curve of Kuleshov, Fenner and Ermon (2018, "Accurate
Uncertainties for Deep Learning Using Calibrated Regression"). Everything is float64, and no torch is needed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tagf_head.config import TARGETS
from tagf_head.run_folder import csv_bytes, write_file

#: Expected shares of the central intervals.
LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """How one target's deviations and errors agree, over its labelled frames.

    Attributes:
        coverage: Share of the labels within the interval of each of `LEVELS`.
        nll: Mean negative log likelihood of the errors, in nats; None where a deviation is 0.
        constant_nll: That of one deviation for all frames, the errors' root mean square: what the deviations
            are worth frame by frame is how far `nll` lies below. None where all errors are 0.
        mean_sd: Mean deviation, the sharpness.
        rms_z: Root mean square of error / deviation; 1 where they agree. None where a deviation is 0.
        expected_calibration_error: Mean over `LEVELS` of the distance of coverage and level.
    """

    coverage: tuple[float, ...]
    nll: float | None
    constant_nll: float | None
    mean_sd: float
    rms_z: float | None
    expected_calibration_error: float

    def to_mapping(self) -> dict[str, Any]:
        """Plain values, for metrics.json."""
        coverage = {f"{level:.2f}": share for level, share in zip(LEVELS, self.coverage, strict=True)}
        return vars(self) | {"coverage": coverage}


def calibrate(error: ArrayLike, deviation: ArrayLike) -> Calibration:
    """Compare errors with the deviations that were said to be theirs.

    Args:
        error: ``(n,)`` label less prediction of n frames, at least one.
        deviation: ``(n,)``, none of them negative.

    >>> found = calibrate([-1.0, 0.0, 1.0], [1.0, 1.0, 1.0])
    >>> found.coverage[LEVELS.index(0.5)], round(found.rms_z, 3)
    (0.3333333333333333, 0.816)
    """
    error, deviation = np.asarray(error, np.float64), np.asarray(deviation, np.float64)
    absolute = np.abs(error)
    coverage = tuple(float((absolute <= _half_width(level) * deviation).mean()) for level in LEVELS)
    mean_square = float((error**2).mean())
    is_positive = bool((deviation > 0).all())
    return Calibration(
        coverage=coverage,
        nll=float(gaussian_nll(error, deviation).mean()) if is_positive else None,
        constant_nll=0.5 * math.log(2 * math.pi * math.e * mean_square) if mean_square > 0 else None,
        mean_sd=float(deviation.mean()),
        rms_z=float(np.sqrt(((error / deviation) ** 2).mean())) if is_positive else None,
        expected_calibration_error=float(np.abs(np.subtract(coverage, LEVELS)).mean()),
    )


def gaussian_nll(error: NDArray[np.float64], deviation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Negative log likelihood of each error under N(0, deviation^2), in nats; of the errors' shape."""
    nll: NDArray[np.float64] = (error / deviation) ** 2 / 2 + np.log(deviation) + 0.5 * math.log(2 * math.pi)
    return nll


def write_calibration(path: Path, calibration: Mapping[str, Calibration]) -> None:
    """Write expected and observed coverage as CSV, for `dvc plots`.

    Columns: target (valence or arousal), expected, observed; one line per level, with 0 and 1 at the ends.
    """
    lines: list[Sequence[object]] = [
        (target, expected, f"{observed:.6f}")
        for target in TARGETS
        for expected, observed in zip(
            (0.0, *LEVELS, 1.0), (0.0, *calibration[target].coverage, 1.0), strict=True
        )
    ]
    write_file(path, csv_bytes(("target", "expected", "observed"), lines))


def _half_width(level: float) -> float:
    """Half of the width of a central interval, in deviations."""
    return NormalDist().inv_cdf((1 + level) / 2)
