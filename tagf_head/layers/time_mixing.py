"""Mixing over time as in JCA and in the released code of TAGF (`time_mixing: learned`)."""

from __future__ import annotations

from torch import Tensor, nn

from tagf_head.errors import HeadError


class TimeMixing(nn.Module):
    """Linear map from frames to frames, the same for every channel.

    A weight for every pair of frames fixes the number of frames, L.

    Args:
        num_frames: L.
        bias: Whether b is there.
    """

    def __init__(self, num_frames: int, *, bias: bool = True) -> None:
        super().__init__()
        self.num_frames = num_frames
        self.linear = nn.Linear(num_frames, num_frames, bias=bias)

    def forward(self, features: Tensor) -> Tensor:
        """Mixes frames.

        Args:
            features: X, `(B, L, D)`, zero in padding, which then adds nothing to any frame.

        Returns:
            K = W X + b, `(B, L, D)`; the values in padding mean nothing.

        Raises:
            HeadError: The windows have another length.
        """
        if features.shape[1] != self.num_frames:
            raise HeadError(
                f"time_mixing 'learned': expected windows of {self.num_frames} frames, the head's "
                f"reference_length, got {features.shape[1]}; cut windows of that length, or take a head with "
                "time_mixing 'none'"
            )
        mixed: Tensor = self.linear(features.transpose(1, 2)).transpose(1, 2)
        return mixed
