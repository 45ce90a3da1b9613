"""Likelihood of a head's errors: what trains its predicted standard deviations, and nothing else.

    -ln p = (t - p)^2 / (2 sigma^2) + ln sigma + ln(2 pi) / 2        (Nix and Weigend, 1994)

The prediction p comes from the CCC loss and is a constant here; sigma alone is learnt. A head overfits, so
its errors on the training clips are too small; therefore the best epoch's sigma is multiplied by one factor
per target that is right for the validation clips (Levi et al., 2022, "Evaluating and Calibrating Uncertainty
Prediction in Regression Tasks"):

    factor^2 = mean over the labelled validation frames of (t - p)^2 / sigma^2

It is the factor of the greatest likelihood, and leaves the order of the deviations as it is.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tagf_head.distributed import sum_over_processes
from tagf_head.layers.deviation import MIN_DEVIATION, DeviationEstimator

_HALF_LN_TWO_PI = 0.5 * math.log(2 * math.pi)


def gaussian_nll(
    prediction: Tensor,
    deviation: Tensor,
    label: Tensor,
    label_mask: Tensor,
    *,
    over_processes: bool = False,
) -> Tensor:
    """Negative log likelihood per labelled frame and target, in nats.

    Args:
        prediction: Valence and arousal, `(B, L, 2)`.
        deviation: Their standard deviations, positive where there is a label, `(B, L, 2)`.
        label: Annotations, `(B, L, 2)`.
        label_mask: True where a frame is annotated, bool `(B, L)`.
        over_processes: The batch is made of those of all processes, which have to come here together. Each
            gets the mean over the labelled frames of all, with gradients as `tagf_head.distributed` says.

    Returns:
        The mean, in float32 at least; 0 with a gradient of 0 where no frame is annotated.
    """
    dtype = torch.promote_types(torch.promote_types(prediction.dtype, deviation.dtype), torch.float32)
    mask = label_mask[..., None]
    error = (label.to(dtype) - prediction.to(dtype)).masked_fill(~mask, 0)
    sigma = deviation.to(dtype).masked_fill(~mask, 1)
    nll = (error / sigma).square() / 2 + sigma.log() + _HALF_LN_TWO_PI
    num_values = label_mask.sum().to(dtype) * label.shape[-1]
    total = torch.stack([nll.masked_fill(~mask, 0).sum(), num_values])
    if over_processes:
        total = sum_over_processes(total)
    return total[0] / total[1].clamp(min=1)


def deviation_scale(error: NDArray[np.float64], deviation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Factor for the deviations with which the squared errors, in units of sigma squared, have mean 1.

    Args:
        error: ``(n, 2)`` errors t - p of the labelled frames.
        deviation: ``(n, 2)`` as trained.

    Returns:
        ``(2,)``; never 0, so that a deviation of which nobody knows better stays positive.
    """
    scale: NDArray[np.float64] = np.sqrt(np.mean((error / deviation) ** 2, axis=0))
    return np.maximum(scale, MIN_DEVIATION)


class LikelihoodObjective(nn.Module):
    """`gaussian_nll` of an estimator of deviations on one batch.

    A module beside the head's own objective, not a part of it: so the head goes through the very same
    kernels, and its gradients through the same buckets of DistributedDataParallel, as without it.

    Args:
        estimator: In the dtype that it is to have.
        over_processes: As for `gaussian_nll`.
    """

    def __init__(self, estimator: DeviationEstimator, *, over_processes: bool) -> None:
        super().__init__()
        self.estimator = estimator
        self._over_processes = over_processes

    def forward(self, prediction: Tensor, features: Tensor, label: Tensor, label_mask: Tensor) -> Tensor:
        """The likelihood of a batch; the arguments need no gradient.

        Args:
            prediction: `(B, L, 2)`.
            features: What the head's regressor reads, `(B, L, D)`.
            label: `(B, L, 2)`.
            label_mask: `(B, L)` bool.
        """
        deviation = self.estimator(features)
        return gaussian_nll(prediction, deviation, label, label_mask, over_processes=self._over_processes)
