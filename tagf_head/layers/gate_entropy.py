"""How undecided a gate is."""

from __future__ import annotations

import torch
from torch import Tensor


def gate_entropy(alpha: Tensor, frame_mask: Tensor) -> Tensor:
    """Mean over valid frames of the entropy -sum_t alpha_t ln alpha_t of a gate's weights, in nats.

    It is ln M where all M candidates always weigh the same, and 0 where one of them always has all of the
    weight.

    Args:
        alpha: Weights that sum to 1 in each valid frame, `(B, L, M)`.
        frame_mask: False in padding, bool `(B, L)`.

    Returns:
        Scalar; 0 without a valid frame.

    >>> gate_entropy(torch.tensor([[[0.5, 0.5], [1.0, 0.0]]]), torch.tensor([[True, True]]))
    tensor(0.3466)
    """
    entropy: Tensor = torch.special.entr(alpha).sum(dim=-1).masked_fill(~frame_mask, 0)  # (B, L)
    return entropy.sum() / frame_mask.sum().clamp(min=1).to(entropy.dtype)
