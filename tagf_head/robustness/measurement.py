"""What one head does under one condition, against what it does with the rows as they are.

Shapes: N rows, M candidates of a gate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tagf_head.data.device_rows import DeviceRows
from tagf_head.data.split_data import SplitData
from tagf_head.evaluation.bootstrap import (
    CccIntervals,
    ccc_interval,
    paired_ccc_difference,
    where_labels_vary,
)
from tagf_head.evaluation.ensemble import Ensemble, Member, predict
from tagf_head.evaluation.gate_weights import GateWeights


@dataclass(frozen=True, kw_only=True, eq=False)
class HeadAnswer:
    """What a head says of every row.

    Attributes:
        values: ``(N, 2)`` float32, valence and arousal, as `tagf evaluate` writes them.
        variance: ``(N, 2)`` float64, predicted variance of the errors; None of a head that predicts none.
        gates: Gate -> its weights.
    """

    values: NDArray[np.float32]
    variance: NDArray[np.float64] | None
    gates: Mapping[str, GateWeights]


@dataclass(frozen=True, kw_only=True)
class GateReaction:
    """How one gate weighs its M candidates under a condition.

    Attributes:
        candidates: Their names.
        mean_weight: Mean weight of each over all rows.
        entropy: Mean over the rows of -sum alpha ln alpha, in nats.
        max_entropy: That of equal weights.
        altered_mean_weight: Mean weight of each over the rows that the condition altered; None where it
            altered none.
        altered_change: Mean over these rows of half the sum over the candidates of
            ``|alpha - alpha of the clean row|``: the share of the weight that has moved; None likewise.
    """

    candidates: tuple[str, ...]
    mean_weight: tuple[float, ...]
    entropy: float
    max_entropy: float
    altered_mean_weight: tuple[float, ...] | None
    altered_change: float | None


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One head under one condition.

    Attributes:
        ccc: CCC with intervals over groups; NaN for a target whose labels are all the same.
        change: CCC less that of the clean rows, on the same resamples.
        rmse: Root of the mean squared error of valence and of arousal.
        predicted_sd: Root of the mean predicted variance over the same frames: an honest head's grows with
            its error. None for a head that predicts none.
        gates: Gate -> how it reacted; empty for a head without gates.
    """

    ccc: CccIntervals
    change: CccIntervals
    rmse: tuple[float, float]
    predicted_sd: tuple[float, float] | None
    gates: Mapping[str, GateReaction]


def answer(member: Member, rows: DeviceRows, data: SplitData, batch_size: int) -> HeadAnswer:
    """Predictions and gates of one head, on rows of the clips of `data`.

    Raises:
        HeadError: A prediction is not finite.
    """
    alone = Ensemble(members=(member,))
    predicted = predict(alone, replace(data, rows=rows), (data.clip_ids,), batch_size)
    return HeadAnswer(
        values=predicted.values.astype(np.float32),
        variance=predicted.deviations.predicted,
        gates=predicted.gates,
    )


def measure(found: HeadAnswer, clean: HeadAnswer, data: SplitData, altered: NDArray[np.bool_]) -> Measurement:
    """Compare an answer with the labels, and with that to the clean rows.

    Args:
        found: Answer under the condition.
        clean: Answer to the clean rows.
        data: The clips.
        altered: ``(N,)``, true for rows that the condition altered.
    """
    label, mask, group = data.label, data.label_mask, data.groups.of_rows(data.row_size)
    return Measurement(
        ccc=where_labels_vary(ccc_interval(found.values, label, mask, group), label, mask),
        change=where_labels_vary(
            paired_ccc_difference(found.values, clean.values, label, mask, group), label, mask
        ),
        rmse=_root_mean((found.values[mask].astype(np.float64) - label[mask]) ** 2),
        predicted_sd=None if found.variance is None else _root_mean(found.variance[mask]),
        gates={name: _reaction(gate, clean.gates[name], altered) for name, gate in found.gates.items()},
    )


def _root_mean(squares: NDArray[np.float64]) -> tuple[float, float]:
    """Of ``(N, 2)`` squares."""
    valence, arousal = np.sqrt(squares.mean(axis=0)).tolist()
    return valence, arousal


def _reaction(gate: GateWeights, clean: GateWeights, altered: NDArray[np.bool_]) -> GateReaction:
    weights = gate.weights
    moved = np.abs(weights[altered] - clean.weights[altered]).sum(axis=1) / 2
    return GateReaction(
        candidates=gate.candidates,
        mean_weight=tuple(weights.mean(axis=0).tolist()),
        entropy=gate.entropy,
        max_entropy=float(np.log(len(gate.candidates))),
        altered_mean_weight=tuple(weights[altered].mean(axis=0).tolist()) if altered.any() else None,
        altered_change=float(moved.mean()) if altered.any() else None,
    )
