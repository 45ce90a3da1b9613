"""Standard deviation of an ensemble's predictions: what its heads say of their errors, and how they disagree.

M heads that each claim N(p_m, sigma_m^2) are together a mixture of M Gaussians. Its mean is the mean of the
p_m, its variance is given by the law of total variance (Lakshminarayanan, Pritzel and Blundell, 2017, "Simple
and Scalable Predictive Uncertainty Estimation using Deep Ensembles"):

    sigma^2 = mean of sigma_m^2  +  mean of p_m^2 - (mean of p_m)^2
              predicted             ensemble: no share of one head alone

Heads that predict no deviation have the second part alone, which is the heads' doubt about the labels' mean
and knows nothing of the labels' noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tagf_head.config import TARGETS

#: Where deviations come from.
DeviationSource = Literal["predicted", "ensemble", "both"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Deviations:
    """Variance of every row's estimates, in its parts.

    Attributes:
        predicted: ``(N, 2)`` float64, mean of the heads' own variances; None where they predict none.
        ensemble: ``(N, 2)`` float64, variance of the heads' predictions, divided by M; None of one head.
    """

    predicted: NDArray[np.float64] | None
    ensemble: NDArray[np.float64] | None

    @property
    def source(self) -> DeviationSource | None:
        """Where the deviations come from; None where there are none."""
        if self.predicted is not None:
            return "predicted" if self.ensemble is None else "both"
        return None if self.ensemble is None else "ensemble"

    def total(self) -> NDArray[np.float32] | None:
        """``(N, 2)`` standard deviations as the file of predictions holds them; None where there are none."""
        parts = [part for part in (self.predicted, self.ensemble) if part is not None]
        return np.sqrt(np.sum(parts, axis=0)).astype(np.float32) if parts else None

    def summary(self) -> dict[str, Any]:
        """Source, and the root mean square over the rows of each part, for metrics.json."""
        parts = {"predicted_sd": self.predicted, "ensemble_sd": self.ensemble}
        return {"source": self.source} | {
            name: dict(zip(TARGETS, np.sqrt(part.mean(axis=0)).tolist(), strict=True))
            for name, part in parts.items()
            if part is not None
        }


class DeviationTally:
    """Takes in the predictions of one head after another.

    Args:
        num_rows: Number of rows N that the heads together predict.
        predicted: Whether every head predicts a variance; where some do not, those of the others are left
            out, for they would say too little.
    """

    def __init__(self, num_rows: int, *, predicted: bool) -> None:
        self._num_heads = np.zeros(num_rows, np.int64)
        self._sum = np.zeros((num_rows, len(TARGETS)))
        # Differences to each row's first head: their variance is 0 to the bit where the heads agree, and no
        # digits are lost where they nearly do.
        self._first = np.zeros((num_rows, len(TARGETS)))
        self._shift = np.zeros((num_rows, len(TARGETS)))
        self._square = np.zeros((num_rows, len(TARGETS)))
        self._variance = np.zeros((num_rows, len(TARGETS))) if predicted else None

    def add(
        self, values: NDArray[np.float64], variance: NDArray[np.float64] | None, rows: NDArray[np.bool_]
    ) -> None:
        """Take in a head.

        Args:
            values: ``(n, 2)`` predictions.
            variance: ``(n, 2)`` predicted variances; left out where the tally takes none.
            rows: ``(N,)``, true for the n rows that the head predicts.
        """
        first = np.where(self._num_heads[rows][:, None] == 0, values, self._first[rows])
        self._first[rows] = first
        self._shift[rows] += values - first
        self._square[rows] += (values - first) ** 2
        self._sum[rows] += values
        self._num_heads += rows
        if self._variance is not None:
            assert variance is not None
            self._variance[rows] += variance

    def mean(self) -> NDArray[np.float64]:
        """``(N, 2)`` mean predictions, when every row has been predicted."""
        return self._sum / self._num_heads[:, None]

    def deviations(self) -> Deviations:
        """The deviations, when every row has been predicted by equally many heads."""
        num_heads = self._num_heads[:, None]
        disagreement = self._square / num_heads - (self._shift / num_heads) ** 2
        return Deviations(
            predicted=None if self._variance is None else self._variance / num_heads,
            ensemble=disagreement if (num_heads > 1).any() else None,
        )
