"""Coverage and likelihood, against scipy; the file, against the csv module."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from tagf_head.evaluation.calibration import LEVELS, calibrate, gaussian_nll, write_calibration


def draws(factor: float, num_frames: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Errors, and deviations that are `factor` times what they should be."""
    generator = np.random.default_rng(0)
    deviation = generator.uniform(0.05, 0.6, num_frames)
    return generator.normal(0, deviation), deviation * factor


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_against_scipy(factor: float) -> None:
    error, deviation = draws(factor)
    found = calibrate(error, deviation)
    low, high = scipy.stats.norm.interval(np.array(LEVELS)[:, None], 0, deviation)
    coverage = ((error >= low) & (error <= high)).mean(axis=1)
    np.testing.assert_allclose(found.coverage, coverage, rtol=0, atol=1e-12)
    assert found.nll == pytest.approx(-scipy.stats.norm.logpdf(error, 0, deviation).mean(), abs=1e-12)
    constant = np.sqrt((error**2).mean())
    assert found.constant_nll == pytest.approx(-scipy.stats.norm.logpdf(error, 0, constant).mean(), abs=1e-12)
    assert found.rms_z == pytest.approx(np.sqrt(((error / deviation) ** 2).mean()), abs=1e-12)
    assert found.mean_sd == pytest.approx(deviation.mean(), abs=1e-12)
    expected = np.abs(coverage - np.array(LEVELS)).mean()
    assert found.expected_calibration_error == pytest.approx(expected, abs=1e-12)


def test_true_deviations_are_calibrated() -> None:
    error, deviation = draws(1.0, 200_000)
    found = calibrate(error, deviation)
    np.testing.assert_allclose(found.coverage, LEVELS, atol=0.005)
    assert found.rms_z == pytest.approx(1, abs=0.01)
    # They know more than any one deviation for all.
    assert found.nll is not None
    assert found.constant_nll is not None
    assert found.nll < found.constant_nll - 0.1
    assert gaussian_nll(error, deviation).mean() < gaussian_nll(error, deviation * 1.1).mean()
    assert gaussian_nll(error, deviation).mean() < gaussian_nll(error, deviation / 1.1).mean()


def test_heads_that_agree_and_heads_that_are_right() -> None:
    agreeing = calibrate([0.0, 0.5], [0.0, 0.3])
    assert (agreeing.nll, agreeing.rms_z) == (None, None)
    assert agreeing.coverage[0] == 0.5
    right = calibrate([0.0, 0.0], [0.1, 0.3])
    assert right.constant_nll is None
    assert right.coverage == (1.0,) * len(LEVELS)


def test_file(tmp_path: Path) -> None:
    calibration = {"valence": calibrate(*draws(1.0)), "arousal": calibrate(*draws(2.0))}
    write_calibration(tmp_path / "new" / "calibration.csv", calibration)
    with (tmp_path / "new" / "calibration.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["target", "expected", "observed"]
    for target, found in calibration.items():
        curve = [(float(row["expected"]), float(row["observed"])) for row in rows if row["target"] == target]
        expected = [(0.0, 0.0), *zip(LEVELS, found.coverage, strict=True), (1.0, 1.0)]
        np.testing.assert_allclose(curve, expected, atol=5e-7)
