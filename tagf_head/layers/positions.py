"""Sinusoidal positions of frames (Vaswani et al., 2017, section 3.5), for windows of any length."""

from __future__ import annotations

import torch
from torch import Tensor

#: From 2 pi frames to this many times 2 pi frames go the wavelengths.
_LONGEST = 10_000.0


def frame_positions(frame_mask: Tensor, num_features: int, dtype: torch.dtype) -> Tensor:
    """Codes of the frames' places in their window.

        code[2 i]     = sin(place / 10000^(2 i / D))
        code[2 i + 1] = cos(place / 10000^(2 i / D))

    A frame's place is the number of valid frames before it, so that padding moves nothing, wherever it lies.

    Args:
        frame_mask: False in padding, bool `(B, L)`.
        num_features: Width D of a code; even.
        dtype: Of the codes.

    Returns:
        `(B, L, D)`; the values in padding mean nothing.

    >>> frame_positions(torch.tensor([[False, True, True]]), 2, torch.float32)[0, 1:]
    tensor([[0.0000, 1.0000],
            [0.8415, 0.5403]])
    """
    place = (frame_mask.cumsum(dim=1) - 1).to(dtype)  # (B, L)
    exponent = torch.arange(0, num_features, 2, device=frame_mask.device).to(dtype) / num_features
    angle = place[..., None] * _LONGEST**-exponent  # (B, L, D / 2)
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(start_dim=2)
