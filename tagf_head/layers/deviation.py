"""Standard deviation of a head's error, frame by frame."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tagf_head.layers.tcn import NEGATIVE_SLOPE

#: Smallest standard deviation; labels lie in [-1, 1] and are noted in steps of about 0.001.
MIN_DEVIATION = 1e-3
#: About what a fresh estimator says: the error of a head that has learnt little.
INITIAL_DEVIATION = 0.3


class DeviationEstimator(nn.Module):
    """Linear, LeakyReLU, Linear and softplus: sigma for each target, times a factor set after training.

    Computes in the precision of its weights, also under autocast: a likelihood divides by sigma squared.

    Args:
        in_features: Width D of the features.
        hidden_features: Hidden width.
        num_outputs: Number of targets.
    """

    scale: Tensor

    def __init__(self, in_features: int, hidden_features: int, num_outputs: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(in_features, hidden_features)
        self.output = nn.Linear(hidden_features, num_outputs)
        nn.init.constant_(self.output.bias, math.log(math.expm1(INITIAL_DEVIATION)))
        # Set so that the squared errors of the validation split, in units of sigma squared, have mean 1.
        self.register_buffer("scale", torch.ones(num_outputs))

    def forward(self, features: Tensor) -> Tensor:
        """Standard deviations, `(B, L, num_outputs)`, of features `(B, L, D)`."""
        with torch.autocast(features.device.type, enabled=False):
            hidden = F.leaky_relu(self.hidden(features.to(self.scale.dtype)), NEGATIVE_SLOPE)
            return (F.softplus(self.output(hidden)) + MIN_DEVIATION) * self.scale
