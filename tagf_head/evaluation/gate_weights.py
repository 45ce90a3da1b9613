"""What the gates of a head chose: a summary for metrics.json, and the weights of every frame as Parquet.

The candidates have the names that the head gives them. Those of TAGF are called by their place in the
recursion: H0 is the recursion's input, H1 the first step's result (arXiv 2507.02080, eqs 6-8).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tagf_head.evaluation.predictions import Predictions, clip_column
from tagf_head.run_folder import write_file


@dataclass(frozen=True, kw_only=True, eq=False)
class GateWeights:
    """Weights of one gate for every frame.

    Attributes:
        candidates: Names of the M candidates.
        weights: ``(N, M)`` float64, sums to 1 in each frame; of an ensemble, the mean over its heads.
        entropy: Mean over heads and frames of -sum alpha ln alpha, in nats.
    """

    candidates: tuple[str, ...]
    weights: NDArray[np.float64]
    entropy: float

    def summary(self) -> dict[str, Any]:
        """Entropy, the largest that it could be (all weights equal), and each candidate's mean weight."""
        means = self.weights.mean(axis=0).tolist()
        return {
            "entropy": self.entropy,
            "max_entropy": math.log(len(self.candidates)),
            "mean_weight": dict(zip(self.candidates, means, strict=True)),
        }


class GateTally:
    """Takes in the gates' weights of one head after another.

    Args:
        num_rows: Number of rows N that the heads together predict.
        candidates: Gate -> names of its candidates.
    """

    def __init__(self, num_rows: int, candidates: Mapping[str, tuple[str, ...]]) -> None:
        self._candidates = candidates
        self._num_heads = np.zeros(num_rows, np.int64)
        self._sums: dict[str, NDArray[np.float64]] = {}
        self._entropies: dict[str, float] = {}

    def add(self, gates: Mapping[str, NDArray[np.float64]], rows: NDArray[np.bool_]) -> None:
        """Take in a head.

        Args:
            gates: Gate -> ``(n, M)`` weights; the same gates, with the same M, of every head.
            rows: ``(N,)``, true for the n rows that the head predicts.
        """
        self._num_heads += rows
        for name, weights in gates.items():
            total = self._sums.setdefault(name, np.zeros((len(rows), weights.shape[1])))
            total[rows] += weights
            self._entropies[name] = self._entropies.get(name, 0.0) + float(frame_entropy(weights).sum())

    def gates(self) -> dict[str, GateWeights]:
        """The gates, when every row has been predicted."""
        return {
            name: GateWeights(
                candidates=self._candidates[name],
                weights=total / self._num_heads[:, None],
                entropy=self._entropies[name] / float(self._num_heads.sum()),
            )
            for name, total in self._sums.items()
        }


def frame_entropy(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """``(N,)`` entropy of ``(N, M)`` weights, in nats.

    >>> frame_entropy(np.array([[0.5, 0.5], [1.0, 0.0]])).round(4).tolist()
    [0.6931, 0.0]
    """
    logarithm = np.log(weights, where=weights > 0, out=np.zeros_like(weights))
    # Not a minus sign, which would make -0.0 of an entropy of 0.
    entropy: NDArray[np.float64] = np.abs((weights * logarithm).sum(axis=1))
    return entropy


def write_gates(path: Path, predictions: Predictions, gates: Mapping[str, GateWeights]) -> None:
    """Write the weights of every frame as Parquet.

    Columns: `clip_id`, `frame` and `time_s` as in the predictions, and float32 `GATE_CANDIDATE` for the
    weight that the gate gives the candidate, such as `visual_H0` for the recursion's input.
    """
    columns: dict[str, pa.Array] = {
        "clip_id": clip_column(predictions),
        "frame": pa.array(predictions.frame, pa.int64()),
        "time_s": pa.array(predictions.time_s, pa.float64()),
    }
    for name, gate in gates.items():
        for column, candidate in enumerate(gate.candidates):
            columns[f"{name}_{candidate}"] = pa.array(gate.weights[:, column].astype(np.float32))
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), buffer)
    write_file(path, buffer.getvalue().to_pybytes())
