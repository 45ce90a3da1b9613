"""What the gates of a head chose: a summary for metrics.json, and the weights of every frame as Parquet.

A candidate is called by its place in the recursion: H0 is the recursion's input, H1 the first step's result
(arXiv 2507.02080, eqs 6-8). Heads whose gates do not choose among the input have no H0.
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
        first_step: Place of the first candidate in the recursion, 0 where that is the input.
        weights: ``(N, M)`` float64, sums to 1 in each frame; of an ensemble, the mean over its heads.
        entropy: Mean over heads and frames of -sum alpha ln alpha, in nats.
    """

    first_step: int
    weights: NDArray[np.float64]
    entropy: float

    @property
    def steps(self) -> range:
        """Place of each candidate in the recursion."""
        return range(self.first_step, self.first_step + self.weights.shape[1])

    def summary(self) -> dict[str, Any]:
        """Entropy, the largest that it could be (all weights equal), and each candidate's mean weight."""
        means = self.weights.mean(axis=0).tolist()
        return {
            "entropy": self.entropy,
            "max_entropy": math.log(len(self.steps)),
            "mean_weight": {f"H{step}": mean for step, mean in zip(self.steps, means, strict=True)},
        }


class GateTally:
    """Takes in the gates' weights of one head after another.

    Args:
        num_rows: Number of rows N that the heads together predict.
        first_step: Place of the gates' first candidate in the recursion.
    """

    def __init__(self, num_rows: int, *, first_step: int) -> None:
        self._first_step = first_step
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
                first_step=self._first_step,
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

    Columns: `clip_id`, `frame` and `time_s` as in the predictions, and float32 `GATE_T` for the weight that
    the gate gives the recursion's step T, such as `visual_0` for its input.
    """
    columns: dict[str, pa.Array] = {
        "clip_id": clip_column(predictions),
        "frame": pa.array(predictions.frame, pa.int64()),
        "time_s": pa.array(predictions.time_s, pa.float64()),
    }
    for name, gate in gates.items():
        for column, step in enumerate(gate.steps):
            columns[f"{name}_{step}"] = pa.array(gate.weights[:, column].astype(np.float32))
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), buffer)
    write_file(path, buffer.getvalue().to_pybytes())
