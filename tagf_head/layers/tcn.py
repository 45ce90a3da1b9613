"""Temporal convolutional network (TCN) over the frames of a window.

Each level has two weight-normalised convolutions of dilation 2**level and a residual connection:

    x ─┬─ conv ─ LeakyReLU ─ dropout ─ conv ─ LeakyReLU ─ dropout ─ + ─ LeakyReLU ─▶
       └─────────────── linear map where the width changes ─────────┘

What frame 3 of a window of 5 frames and 2 rows of padding sees in one convolution of kernel 3 and dilation 2
(`.` is a zero outside the window, `p` padding, which is zeroed before every convolution):

    window       .  .  .  .  0  1  2  3  4  p  p  .  .
    causal                ^     ^     ^
    symmetric                   ^     ^     ^
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from tagf_head.layers.dropout import Dropout

NEGATIVE_SLOPE = 0.01


def receptive_field(num_levels: int, kernel_size: int) -> int:
    """Number of input frames that one output frame of a TCN depends on.

    Each level's two convolutions reach `(kernel_size - 1) * dilation` frames further. In a causal TCN all of
    these lie before the output's frame; in a symmetric one half of them lie on each side.

    Args:
        num_levels: Levels of the TCN, with dilations 1, 2, 4, ...
        kernel_size: Taps of each convolution.

    Returns:
        Frames, the output's own included.

    >>> receptive_field(num_levels=4, kernel_size=5)
    121
    """
    sum_of_dilations: int = 2**num_levels - 1
    return 1 + 2 * (kernel_size - 1) * sum_of_dilations


class TemporalConvolution(nn.Module):
    """Weight-normalised convolution over time that keeps the number of frames.

    The frames are a picture of one row of pixels whose channels lie together in memory. Convolutions have
    faster kernels for that than for `(B, D, L)`, and nothing has to be transposed before or after.

    Args:
        in_channels: Channels D_in.
        out_channels: Channels D_out.
        kernel_size: Taps.
        dilation: Frames between two taps.
        causal: Whether a frame sees no later one; otherwise the kernel lies symmetrically around it.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, kernel_size: int, dilation: int, causal: bool
    ) -> None:
        super().__init__()
        reach = (kernel_size - 1) * dilation
        self.margins = (reach, 0) if causal else (reach // 2, reach // 2)  # frames of zeros (left, right)
        self.conv = weight_norm(
            nn.Conv2d(in_channels, out_channels, (1, kernel_size), dilation=(1, dilation))
        )

    def forward(self, features: Tensor, valid: Tensor) -> Tensor:
        """Convolves over time.

        Args:
            features: `(B, L, D_in)`; padding must be finite, and has no influence on a valid frame.
            valid: 1, or 0 in padding, `(B, L, 1)` in the features' dtype.

        Returns:
            `(B, L, D_out)`; the values in padding mean nothing.
        """
        padded = F.pad(features * valid, (0, 0, *self.margins))
        convolved: Tensor = self.conv(padded.transpose(1, 2).unsqueeze(2))  # (B, D_out, 1, L)
        return convolved.squeeze(2).transpose(1, 2)


class TemporalLevel(nn.Module):
    """Two temporal convolutions of one dilation with a residual connection.

    Args:
        in_channels: Channels D_in.
        out_channels: Channels D_out.
        kernel_size: Taps of both convolutions.
        dilation: Frames between two taps.
        causal: Whether a frame sees no later one.
        dropout: Probability with which a value is dropped after each convolution.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel_size: int,
        dilation: int,
        causal: bool,
        dropout: float,
    ) -> None:
        super().__init__()
        self.first = TemporalConvolution(
            in_channels, out_channels, kernel_size=kernel_size, dilation=dilation, causal=causal
        )
        self.second = TemporalConvolution(
            out_channels, out_channels, kernel_size=kernel_size, dilation=dilation, causal=causal
        )
        same_width = in_channels == out_channels
        self.residual = nn.Identity() if same_width else nn.Linear(in_channels, out_channels)
        self.activation = nn.LeakyReLU(NEGATIVE_SLOPE)
        self.dropout = Dropout(dropout)

    def forward(self, features: Tensor, valid: Tensor) -> Tensor:
        """Applies the level.

        Args:
            features: `(B, L, D_in)`; padding must be finite, and has no influence on a valid frame.
            valid: 1, or 0 in padding, `(B, L, 1)` in the features' dtype.

        Returns:
            `(B, L, D_out)`; the values in padding mean nothing.
        """
        branch = self.dropout(self.activation(self.first(features, valid)))
        branch = self.dropout(self.activation(self.second(branch, valid)))
        level: Tensor = self.activation(self.residual(features) + branch)
        return level


class TemporalConvNet(nn.Module):
    """Levels with dilations 1, 2, 4, ...

    Args:
        in_features: Width D_in of a row.
        channels: Channels of each level; the last is the width D_out of the result.
        kernel_size: Taps of every convolution.
        causal: Whether a frame sees no later one.
        dropout: Probability with which a value is dropped after each convolution.
    """

    def __init__(
        self, in_features: int, channels: Sequence[int], *, kernel_size: int, causal: bool, dropout: float
    ) -> None:
        super().__init__()
        widths = [in_features, *channels]
        self.levels = nn.ModuleList(
            TemporalLevel(
                widths[level],
                widths[level + 1],
                kernel_size=kernel_size,
                dilation=2**level,
                causal=causal,
                dropout=dropout,
            )
            for level in range(len(channels))
        )

    def forward(self, features: Tensor, frame_mask: Tensor) -> Tensor:
        """Applies all levels.

        Args:
            features: `(B, L, D_in)`; padding must be finite, and has no influence on a valid frame.
            frame_mask: False in padding, bool `(B, L)`.

        Returns:
            `(B, L, D_out)`; the values in padding mean nothing.
        """
        valid = frame_mask[..., None].to(features.dtype)  # (B, L, 1)
        for level in self.levels:
            features = level(features, valid)
        return features
