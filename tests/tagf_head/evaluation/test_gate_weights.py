"""Entropy against scipy, means over heads against plain loops, the file against pandas."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas
import pytest
import scipy.stats

from tagf_head.data.clip_groups import ClipGroups
from tagf_head.evaluation.gate_weights import GateTally, frame_entropy, write_gates
from tagf_head.evaluation.predictions import Predictions


def some_weights(seed: int, num_rows: int, num_candidates: int) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.ones(num_candidates), num_rows)


def test_entropy_is_scipys() -> None:
    weights = some_weights(0, 50, 3)
    weights[7] = [0, 1, 0]
    weights[8] = [1 / 3, 1 / 3, 1 / 3]
    expected = [scipy.stats.entropy(row) for row in weights]
    np.testing.assert_allclose(frame_entropy(weights), expected, atol=1e-12)
    assert frame_entropy(weights)[7] == 0
    assert frame_entropy(weights)[8] == pytest.approx(math.log(3))


def test_mean_over_heads_that_predict_different_rows() -> None:
    rows = [np.array([True, True, False, False, False]), np.array([False, False, True, True, True])]
    rows = [*rows, *rows]
    of_heads = [some_weights(seed, int(rows[seed].sum()), 2) for seed in range(4)]
    tally = GateTally(5, {"visual": ("H1", "H2")})
    for weights, of_head in zip(of_heads, rows, strict=True):
        tally.add({"visual": weights}, of_head)
    gate = tally.gates()["visual"]
    expected = np.concatenate([(of_heads[0] + of_heads[2]) / 2, (of_heads[1] + of_heads[3]) / 2])
    np.testing.assert_allclose(gate.weights, expected, atol=1e-15)
    entropies = [scipy.stats.entropy(row) for weights in of_heads for row in weights]
    assert gate.entropy == pytest.approx(np.mean(entropies), abs=1e-12)
    assert gate.summary() == {
        "entropy": gate.entropy,
        "max_entropy": math.log(2),
        "mean_weight": pytest.approx({"H1": expected[:, 0].mean(), "H2": expected[:, 1].mean()}),
    }
    assert GateTally(3, {}).gates() == {}


def test_file(tmp_path: Path) -> None:
    predictions = Predictions(
        clip_ids=("b", "a"),
        row_size=np.array([3, 2]),
        frame=np.array([0, 1, 3, 0, 1]),
        time_s=np.array([0.1, 0.14, 0.2, 5.0, 5.04]),
        values=np.zeros((5, 2), np.float32),
        face_found=np.ones(5, bool),
        groups=ClipGroups(unit="clip", group=("b", "a")),
    )
    visual, audio = some_weights(0, 5, 3), some_weights(1, 5, 2)
    tally = GateTally(5, {"visual": ("H0", "H1", "H2"), "audio": ("own", "crossed")})
    tally.add({"visual": visual, "audio": audio}, np.ones(5, bool))
    write_gates(tmp_path / "gates.parquet", predictions, tally.gates())
    table = pandas.read_parquet(tmp_path / "gates.parquet")
    assert list(table.columns) == [
        *("clip_id", "frame", "time_s", "visual_H0", "visual_H1", "visual_H2", "audio_own", "audio_crossed")
    ]
    assert table["clip_id"].tolist() == ["b", "b", "b", "a", "a"]
    assert table["frame"].tolist() == [0, 1, 3, 0, 1]
    assert table["time_s"].tolist() == [0.1, 0.14, 0.2, 5.0, 5.04]
    for step in range(3):
        np.testing.assert_array_equal(table[f"visual_H{step}"], visual[:, step].astype(np.float32))
    np.testing.assert_array_equal(table["audio_crossed"], audio[:, 1].astype(np.float32))
