"""Metrics of continuous emotion estimation, from moments that are gathered in pieces and merged.

Moments of a data set are the merge of its clips' moments: so an evaluation needs the memory of one clip, and
clips can be resampled without reading them again. Everything is float64, and no torch is needed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tagf_head.errors import HeadError

#: In this order everywhere.
METRICS = ("ccc", "pcc", "rmse", "mae", "sagr")


@dataclass(frozen=True, kw_only=True)
class ConcordanceMoments:
    """Joint moments of predictions and targets; `ConcordanceMoments()` holds those of no frame at all.

    Sums of squares are about the mean, and merged with the update of Chan, Golub and LeVeque (1979), which
    loses no digits where the mean is large against the spread.

    Attributes:
        count: Number of frames.
        prediction_mean: Mean of the predictions.
        target_mean: Mean of the targets.
        prediction_square: Sum of the predictions' squared deviations from their mean.
        target_square: Sum of the targets' squared deviations from their mean.
        product: Sum of the products of both deviations.
        error_square: Sum of squared errors.
        error_absolute: Sum of absolute errors.
        sign_agreements: Number of frames in which prediction and target have the same sign.
    """

    count: int = 0
    prediction_mean: float = 0.0
    target_mean: float = 0.0
    prediction_square: float = 0.0
    target_square: float = 0.0
    product: float = 0.0
    error_square: float = 0.0
    error_absolute: float = 0.0
    sign_agreements: int = 0

    def add(
        self, prediction: ArrayLike, target: ArrayLike, mask: ArrayLike | None = None
    ) -> ConcordanceMoments:
        """These moments and those of further frames; the instance itself does not change.

        Args:
            prediction: Estimates, of any shape.
            target: Annotations, of the prediction's shape.
            mask: True where a frame counts, bool, of the prediction's shape; every frame counts by default.

        Returns:
            The moments of all frames.

        Raises:
            HeadError: The shapes differ, or the mask is not of dtype bool.
        """
        return self.merge(_moments_of(prediction, target, mask))

    def merge(self, other: ConcordanceMoments) -> ConcordanceMoments:
        """Moments of the frames of both."""
        if self.count == 0 or other.count == 0:
            return other if self.count == 0 else self
        count = self.count + other.count
        share = other.count / count
        prediction_shift = other.prediction_mean - self.prediction_mean
        target_shift = other.target_mean - self.target_mean
        between = self.count * share  # n_a n_b / (n_a + n_b)
        return ConcordanceMoments(
            count=count,
            prediction_mean=self.prediction_mean + prediction_shift * share,
            target_mean=self.target_mean + target_shift * share,
            prediction_square=self.prediction_square
            + other.prediction_square
            + between * prediction_shift**2,
            target_square=self.target_square + other.target_square + between * target_shift**2,
            product=self.product + other.product + between * prediction_shift * target_shift,
            error_square=self.error_square + other.error_square,
            error_absolute=self.error_absolute + other.error_absolute,
            sign_agreements=self.sign_agreements + other.sign_agreements,
        )

    @property
    def ccc(self) -> float:
        """Concordance correlation coefficient of the population, as the loss has it.

        Over constant targets it is 1 where the predictions are the same constant and else 0, whatever they
        are: `defined_metrics` leaves it out there.
        """
        bias = self.prediction_mean - self.target_mean
        denominator = self.prediction_square + self.target_square + self._require_frames() * bias**2
        return 2 * self.product / denominator if denominator > 0 else 1.0

    @property
    def pcc(self) -> float:
        """Pearson's correlation coefficient; 0 where a constant leaves it undefined."""
        self._require_frames()
        scale = math.sqrt(self.prediction_square * self.target_square)
        return max(-1.0, min(1.0, self.product / scale)) if scale > 0 else 0.0

    @property
    def rmse(self) -> float:
        """Root of the mean squared error."""
        return math.sqrt(self.error_square / self._require_frames())

    @property
    def mae(self) -> float:
        """Mean absolute error."""
        return self.error_absolute / self._require_frames()

    @property
    def sagr(self) -> float:
        """Share of frames whose prediction and target agree in sign; zero agrees with zero alone."""
        return self.sign_agreements / self._require_frames()

    def defined_metrics(self) -> dict[str, float | None]:
        """Every metric, None where these frames do not settle it.

        CCC and PCC say how predictions follow targets that move, so they need targets that are not all the
        same, and so at least two frames; the PCC needs predictions that are not all the same either. RMSE,
        MAE and SAGR need one frame.

        >>> ConcordanceMoments().add([0.25], [0.75]).defined_metrics()
        {'ccc': None, 'pcc': None, 'rmse': 0.5, 'mae': 0.5, 'sagr': 1.0}
        """
        if self.count == 0:
            return dict.fromkeys(METRICS)
        targets_vary, predictions_vary = self.target_square > 0, self.prediction_square > 0
        return {
            "ccc": self.ccc if targets_vary else None,
            "pcc": self.pcc if targets_vary and predictions_vary else None,
            "rmse": self.rmse,
            "mae": self.mae,
            "sagr": self.sagr,
        }

    def _require_frames(self) -> int:
        if self.count == 0:
            raise HeadError(
                "metrics: expected at least one annotated frame, got 0; check annotations and split"
            )
        return self.count


def regression_metrics(
    prediction: ArrayLike, target: ArrayLike, mask: ArrayLike | None = None
) -> dict[str, float]:
    """All metrics of one target at once.

    Args:
        prediction: Estimates, of any shape.
        target: Annotations, of the prediction's shape.
        mask: True where a frame counts, bool, of the prediction's shape; every frame counts by default.

    Returns:
        `ccc`, `pcc`, `rmse`, `mae` and `sagr`, as `ConcordanceMoments` defines them.

    Raises:
        HeadError: The shapes differ, the mask is not of dtype bool, or no frame counts.

    Example:
        >>> regression_metrics([0.0, 0.5, 1.0], [0.0, 0.5, 1.0])
        {'ccc': 1.0, 'pcc': 1.0, 'rmse': 0.0, 'mae': 0.0, 'sagr': 1.0}
    """
    moments = ConcordanceMoments().add(prediction, target, mask)
    return {name: getattr(moments, name) for name in METRICS}


def _moments_of(prediction: ArrayLike, target: ArrayLike, mask: ArrayLike | None) -> ConcordanceMoments:
    """Moments of one piece."""
    p, t = np.asarray(prediction, dtype=np.float64), np.asarray(target, dtype=np.float64)
    valid = np.ones(p.shape, dtype=np.bool_) if mask is None else np.asarray(mask)
    if p.shape != t.shape or valid.shape != p.shape:
        shapes = f"prediction {p.shape}, target {t.shape} and mask {valid.shape}"
        raise HeadError(f"metrics: expected one shape for all, got {shapes}")
    if valid.dtype != np.bool_:
        raise HeadError(f"metrics: expected a bool mask, got {valid.dtype}; compare it first, e.g. mask > 0")
    p, t = p[valid], t[valid]
    if p.size == 0:
        return ConcordanceMoments()
    # Means are taken about the first value, so that the mean of a constant is that constant without rounding.
    p_mean, t_mean = p[0] + np.mean(p - p[0]), t[0] + np.mean(t - t[0])
    p_centred, t_centred, error = p - p_mean, t - t_mean, p - t
    return ConcordanceMoments(
        count=p.size,
        prediction_mean=float(p_mean),
        target_mean=float(t_mean),
        prediction_square=float(p_centred @ p_centred),
        target_square=float(t_centred @ t_centred),
        product=float(p_centred @ t_centred),
        error_square=float(error @ error),
        error_absolute=float(np.abs(error).sum()),
        sign_agreements=int(np.count_nonzero(np.sign(p) == np.sign(t))),
    )
