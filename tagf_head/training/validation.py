"""What one epoch's weights say of the validation split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tagf_head.config import TARGETS
from tagf_head.data.split_data import SplitData
from tagf_head.data.windows import WindowPlan
from tagf_head.distributed import Processes, sum_arrays
from tagf_head.evaluation.calibration import gaussian_nll
from tagf_head.evaluation.metrics import regression_metrics
from tagf_head.evaluation.stitching import stitch_windows
from tagf_head.heads import Head
from tagf_head.heads.uncertain import UncertainHead
from tagf_head.training.gate_entropy_probe import GateEntropyProbe
from tagf_head.training.likelihood import deviation_scale


@dataclass(frozen=True, kw_only=True, eq=False)
class Validation:
    """Scores of one epoch's weights.

    Attributes:
        ccc: Of each target.
        gate_entropy: Of each gate, in nats.
        deviation_scale: ``(2,)`` factor for the deviations; None for a head that predicts none.
        nll: Negative log likelihood with that factor, in nats per frame and target; None likewise.
    """

    ccc: Mapping[str, float]
    gate_entropy: Mapping[str, float]
    deviation_scale: NDArray[np.float64] | None = None
    nll: float | None = None


def validate(
    head: Head, data: SplitData, plan: WindowPlan, batch_size: int, processes: Processes
) -> Validation:
    """Score a head by all processes' windows; all of them come here together.

    In the weights' own precision, without autocast, as `tagf evaluate` does it.

    Args:
        head: Its deviations' factor is 1.
        data: The validation split.
        plan: Its windows.
        batch_size: Windows per forward pass.
        processes: Those that share the windows.
    """
    mine = np.zeros(len(plan), np.bool_)
    mine[processes.share(len(plan))] = True
    probe = GateEntropyProbe(head)
    stitching = stitch_windows(probe, data.rows, plan.select(mine), batch_size, num_values=probe.num_values)
    sum_arrays(stitching.sum, stitching.count)
    means = stitching.mean()
    # As in the file of predictions, so that an evaluation of these weights finds this very score.
    prediction = means[:, : len(TARGETS)].astype(np.float32)
    ccc = {
        name: regression_metrics(prediction[:, column], data.label[:, column], data.label_mask)["ccc"]
        for column, name in enumerate(TARGETS)
    }
    gate_entropy = probe.mean_entropy()
    if not isinstance(head, UncertainHead):
        return Validation(ccc=ccc, gate_entropy=gate_entropy)
    error = data.label[data.label_mask].astype(np.float64) - prediction[data.label_mask]
    deviation = np.sqrt(means[data.label_mask, len(TARGETS) :])
    scale = deviation_scale(error, deviation)
    nll = gaussian_nll(error, deviation * scale)
    return Validation(ccc=ccc, gate_entropy=gate_entropy, deviation_scale=scale, nll=float(nll.mean()))
