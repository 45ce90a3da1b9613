"""Dropout with cheap random numbers on the CPU."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_LEVELS = 2**16  # of a 16-bit number


class Dropout(nn.Module):
    """Zeroes values at random in training, and multiplies the others so that the mean stays.

    `torch.nn.Dropout` draws one random number per value, which on the CPU takes 3 to 4 per cent of the time
    of a training step of TAGF. Here one 64-bit number decides on four values. The probability is rounded to a
    multiple of 2**-16 for that, and the values that stay are scaled by what it was rounded to.

    Args:
        probability: Probability with which a value is zeroed, in [0, 1).
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def extra_repr(self) -> str:
        """The probability, in the module's printed form."""
        return f"{self.probability}"

    def forward(self, features: Tensor) -> Tensor:
        """Drops values in training; `features` itself otherwise."""
        if not self.training or self.probability == 0:
            return features
        if features.device.type != "cpu" or torch.compiler.is_compiling():
            return F.dropout(features, self.probability)  # one fused kernel there
        return features * random_factors(features, self.probability)


def random_factors(features: Tensor, probability: float) -> Tensor:
    """Zeros with a probability, or else the reciprocal of the other probability; of the features' shape.

    Args:
        features: On the CPU.
        probability: In [0, 1); the probability of zeros is the multiple of 2**-16 nearest to it.
    """
    num_zeros = min(round(probability * _LEVELS), _LEVELS - 1)
    size = features.numel()
    drawn = torch.empty(-(-size // 4), dtype=torch.int64).random_(-(2**63), None)  # all 64 bits
    level = drawn.view(torch.int16)[:size].view(features.shape)  # uniform over -2**15 ... 2**15 - 1
    # In place on 16 bits: comparing into a tensor of bools, and multiplying by it, take several times longer.
    return level.ge_(num_zeros - _LEVELS // 2).to(features.dtype).mul_(_LEVELS / (_LEVELS - num_zeros))
