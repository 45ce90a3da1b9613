"""MTCNN's own numbers in two thirds of the time: its two kinds of pooling, done another way on the CPU.

Half of MTCNN's time on a CPU goes into pooling, not into convolutions (measured): the means over areas that
make its pyramid of pictures and its candidates' crops, and the maxima between its layers. Both are done here
so that not one bit differs. Maxima do not depend on their order. The means are of 8-bit numbers, whose sums a
float32 holds exactly up to 2^24, the sum over 256 x 256 pixels, in any order: here from one table of sums.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn


class AreaSums:
    """Resizes a picture and parts of it by averaging areas.

    `table[y, x]` is the sum of all pixels above row y and left of column x, so that the sum over any
    rectangle takes four look-ups, whatever its size.

    Args:
        picture: RGB, (height, width, 3) uint8.
    """

    def __init__(self, picture: NDArray[np.uint8]) -> None:
        height, width, _ = picture.shape
        # Sums beyond 2^32 wrap around, and so do their differences: back to the right one.
        self._table = np.zeros((height + 1, width + 1, 3), np.uint32)
        inner = self._table[1:, 1:]
        np.cumsum(picture, axis=1, dtype=np.uint32, out=inner)
        for row in range(1, height):  # four times as fast as cumsum over the first axis
            inner[row] += inner[row - 1]

    def resize(self, part: Tensor, size: tuple[int, int]) -> Tensor:
        """What `torch.nn.functional.interpolate(part, size, mode="area")` gives, to the last bit.

        Args:
            part: (1, 3, h, w) float32, a view of the picture, whose memory is in the order of rows, columns,
                channels and starts with the picture's first pixel.
            size: Height and width of the result, at least 2 each.

        Returns:
            (1, 3, *size) float32, laid out in memory as torch would.
        """
        _, _, row_stride, column_stride = part.stride()
        top, left = divmod(int(part.storage_offset()), row_stride)
        left //= column_stride
        table = self._table[top : top + part.shape[2] + 1, left : left + part.shape[3] + 1]
        y0, y1, heights = _windows(part.shape[2], size[0])
        x0, x1, widths = _windows(part.shape[3], size[1])
        rows = table[y1] - table[y0]  # (size[0], w + 1, 3)
        sums = (rows.take(x1, axis=1) - rows.take(x0, axis=1)).astype(np.float32)
        # Divided in two steps, as torch does.
        sums /= heights[:, None, None]
        sums /= widths[:, None]
        result = torch.from_numpy(sums)[None].permute(0, 3, 1, 2)
        # Torch lays out the result of a whole picture as the picture, that of a cut-out part by channels; and
        # by its layout the convolutions choose an algorithm, which shows in their last bits.
        return result if part.stride(0) >= row_stride else result.contiguous()


@lru_cache(maxsize=1024)
def _windows(length: int, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """`count` windows that cover a length: their first pixels, one past their last ones, and their lengths.

    They overlap by a pixel where the length is no multiple of their number.
    """
    numbers = np.arange(count)
    first, end = numbers * length // count, -((-(numbers + 1) * length) // count)
    return first, end, (end - first).astype(np.float32)


class MaxPool(nn.Module):
    """`torch.nn.MaxPool2d(kernel, 2, ceil_mode=True)` for kernels of 2 and 3, to the last bit.

    Args:
        kernel: Side of the window in pixels.
    """

    def __init__(self, kernel: int) -> None:
        super().__init__()
        if kernel not in (2, 3):
            raise ValueError(f"kernel must be 2 or 3, got {kernel}")
        self.kernel = kernel

    def forward(self, x: Tensor) -> Tensor:
        """Largest value in each window, every second pixel; windows may reach beyond the last pixel.

        Args:
            x: (batch, channels, height, width).
        """
        return _max_of_neighbours(_max_of_neighbours(x, 2, self.kernel), 3, self.kernel)


def _max_of_neighbours(x: Tensor, axis: int, kernel: int) -> Tensor:
    """Largest of `kernel` neighbours along one axis, every second one."""
    length = x.shape[axis]
    count = -((kernel - length) // 2) + 1
    beyond = (count - 1) * 2 + kernel - length
    if beyond:
        x = F.pad(x, (0, beyond) if axis == 3 else (0, 0, 0, beyond), value=-torch.inf)
    first, second, *third = (
        x[..., start : start + 2 * count - 1 : 2] if axis == 3 else x[:, :, start : start + 2 * count - 1 : 2]
        for start in range(kernel)
    )
    largest = torch.maximum(first, second)
    for more in third:
        torch.maximum(largest, more, out=largest)
    return largest
