"""Evaluation with smoothing: what is written is smoothed, and both metrics are those of numpy."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tagf_head.config import EvaluateConfig
from tagf_head.evaluation.evaluate import Evaluation, evaluate_head
from tagf_head.evaluation.predictions import read_predictions
from tagf_head.evaluation.smoothing import Smoothing, smooth_clip

TEST_CLIPS = ("e1", "e2_left", "e2_right", "e3")
MEDIAN = Smoothing(kind="median", seconds=0.36)


@pytest.fixture(scope="module", params=["median", "exponential"])
def smoothing(request: pytest.FixtureRequest) -> Smoothing:
    return Smoothing(kind=request.param, seconds=0.36)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("evaluated")


def evaluate(corpus, undisturbed, out: Path, name: str, smoothing: Smoothing | None) -> Evaluation:
    torch.set_num_threads(1)
    return evaluate_head(
        corpus.store,
        corpus.annotations,
        undisturbed[0] / "best.safetensors",
        out / f"{name}.json",
        out / f"{name}.parquet",
        config=EvaluateConfig(split="test", batch_size=4),
        clip_metrics=out / f"{name}.csv",
        gates=out / f"{name}-gates.parquet",
        reliability=out / f"{name}-reliability.parquet",
        smoothing=smoothing,
    )


@pytest.fixture(scope="module")
def raw(corpus, undisturbed, out: Path) -> Evaluation:
    return evaluate(corpus, undisturbed, out, "raw", None)


@pytest.fixture(scope="module")
def smoothed(corpus, undisturbed, out: Path, smoothing: Smoothing) -> Evaluation:
    return evaluate(corpus, undisturbed, out, smoothing.kind, smoothing)


def ccc(x: np.ndarray, y: np.ndarray) -> float:
    covariance = ((x - x.mean()) * (y - y.mean())).mean()
    return 2 * covariance / (x.var() + y.var() + (x.mean() - y.mean()) ** 2)


@pytest.mark.usefixtures("smoothed")
def test_predictions_of_each_clip_are_smoothed(raw: Evaluation, out: Path, smoothing: Smoothing) -> None:
    written = read_predictions(out / f"{smoothing.kind}.parquet")
    stops = np.cumsum(raw.predictions.row_size)
    for stop, size in zip(stops, raw.predictions.row_size, strict=True):
        rows = slice(stop - size, stop)
        expected = smooth_clip(raw.predictions.values[rows], raw.predictions.time_s[rows], smoothing)
        np.testing.assert_array_equal(written.values[rows], expected)
    assert not np.array_equal(written.values, raw.predictions.values)
    np.testing.assert_array_equal(written.time_s, raw.predictions.time_s)


def test_ccc_with_and_without_are_those_of_numpy(
    corpus, raw: Evaluation, smoothed: Evaluation, out: Path, smoothing: Smoothing
) -> None:
    metrics = json.loads((out / f"{smoothing.kind}.json").read_text())
    assert metrics == smoothed.metrics
    labels = np.concatenate([corpus.labels[clip] for clip in TEST_CLIPS])
    known = (labels != -5).all(axis=1)
    for column, name in enumerate(("valence", "arousal")):
        with_it = ccc(smoothed.predictions.values[known, column].astype(float), labels[known, column])
        without = ccc(raw.predictions.values[known, column].astype(float), labels[known, column])
        assert metrics[name]["ccc"] == pytest.approx(with_it, abs=1e-6)
        assert metrics["smoothing"]["without"][name]["ccc"] == pytest.approx(without, abs=1e-6)
        assert metrics["smoothing"]["without"][name] == {
            key: value for key, value in raw.metrics[name].items() if key not in ("ccc_low", "ccc_high")
        }
    assert metrics["smoothing"]["kind"] == smoothing.kind
    assert metrics["smoothing"]["seconds"] == 0.36
    assert metrics["smoothing"]["without"]["mean_ccc"] == raw.metrics["mean_ccc"]
    assert "smoothing" not in raw.metrics


@pytest.mark.usefixtures("raw", "smoothed")
def test_gates_are_not_smoothed_and_reliability_compares_like_with_like(
    out: Path, smoothing: Smoothing, raw: Evaluation, smoothed: Evaluation
) -> None:
    gates = [(out / f"{name}-gates.parquet").read_bytes() for name in ("raw", smoothing.kind)]
    assert gates[0] == gates[1]
    assert raw.reliability is not None
    assert smoothed.reliability is not None
    size = int(raw.predictions.row_size[0])
    for modality, values in smoothed.reliability.without.items():
        expected = smooth_clip(
            raw.reliability.without[modality][:size], raw.predictions.time_s[:size], smoothing
        )
        np.testing.assert_array_equal(values[:size], expected)
