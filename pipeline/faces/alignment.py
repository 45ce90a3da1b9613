"""Square face crops of any size from pictures of any size.

Faces in the recognition literature are aligned to ArcFace's template: a similarity transform (turn, scale,
shift) brings five landmarks as near as possible to fixed places in a picture of 112 x 112 pixels.
Aff-Wild2's own aligned faces are of that kind. Crops up to that size are made from it, so that several sizes
share the work; larger ones take the template scaled up, sampled from the picture.

    picture --similarity--> 112 x 112 template --antialiased resize--> 48 x 48
    picture --similarity, scaled--> 160 x 160

The first step must not alias either. Where a template pixel spans n picture pixels or more, the picture is
first averaged in blocks of n x n, and the template pixel is the mean of 2 x 2 samples of that.

Coordinates are x, y in pixels; the centre of the pixel in column i lies at i, as the template and MTCNN
have it.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil, floor, hypot
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from pipeline.errors import FaceDetectionError

TEMPLATE_SIZE = 112
# ArcFace's places of left eye, right eye, nose, left and right corner of the mouth.
TEMPLATE = np.array(
    [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)]
)
TEMPLATE.setflags(write=False)


def similarity_transform(source: NDArray[np.floating], target: NDArray[np.floating]) -> NDArray[np.float64]:
    """Similarity transform that brings points nearest to others, in the sense of least squares.

    In the plane, with points as complex numbers, a similarity is ``w = a z + b``: `a` turns and scales, `b`
    shifts. With both sets centred, the least-squares solution is ``a = sum(conj(z) w) / sum(|z|^2)``. It is
    Umeyama's (1991) solution without reflection.

    Args:
        source: Points, (n, 2).
        target: Where they should go, (n, 2).

    Returns:
        (2, 3): ``target ~ source @ M[:, :2].T + M[:, 2]``.

    Raises:
        FaceDetectionError: The points of either set coincide.
    """
    z = np.asarray(source, dtype=np.float64) @ (1, 1j)
    w = np.asarray(target, dtype=np.float64) @ (1, 1j)
    centered = z - z.mean()
    spread = np.vdot(centered, centered).real
    a = np.vdot(centered, w - w.mean()) / spread if spread > 0 else 0j
    if a == 0:
        raise FaceDetectionError(
            f"landmarks: expected at least two different points, got {np.asarray(source).tolist()}; "
            "leave the face out"
        )
    b = w.mean() - a * z.mean()
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def similarity_crops(
    picture: NDArray[np.uint8], landmarks: NDArray[np.floating], sizes_px: Iterable[int]
) -> dict[int, NDArray[np.uint8]]:
    """The face, aligned by its landmarks.

    Args:
        picture: RGB, (height, width, 3).
        landmarks: Left eye, right eye, nose, left and right corner of the mouth, (5, 2), pixels.
        sizes_px: Sides of the crops.

    Returns:
        By its side C, each crop: (C, C, 3) uint8, black outside the picture.

    Raises:
        FaceDetectionError: The landmarks coincide.
    """
    forward = similarity_transform(landmarks, TEMPLATE)
    turn = np.linalg.inv(forward[:, :2])
    return _crops(picture, np.column_stack((turn, -turn @ forward[:, 2])), sizes_px)


def box_crops(
    picture: NDArray[np.uint8], box: NDArray[np.floating], margin: float, sizes_px: Iterable[int]
) -> dict[int, NDArray[np.uint8]]:
    """A square around the box, not turned.

    Args:
        picture: RGB, (height, width, 3).
        box: Left, top, right, bottom in pixels, (4,).
        margin: Share of the box's longer side that is added to the square on every side.
        sizes_px: Sides of the crops.

    Returns:
        By its side C, each crop: (C, C, 3) uint8, black outside the picture.
    """
    left, top, right, bottom = np.asarray(box, dtype=np.float64)
    scale = max(right - left, bottom - top) * (1 + 2 * margin) / TEMPLATE_SIZE
    # The template's middle lies between its pixels 55 and 56, the box's middle between its edges.
    middle = (TEMPLATE_SIZE - 1) / 2
    x, y = (left + right - 1) / 2, (top + bottom - 1) / 2
    to_picture = np.array([[scale, 0, x - scale * middle], [0, scale, y - scale * middle]])
    return _crops(picture, to_picture, sizes_px)


def resized(picture: Tensor, size_px: int) -> NDArray[np.uint8]:
    """A picture resized without aliasing.

    Args:
        picture: (1, 3, height, width) float32, from 0 to 255.
        size_px: Side C of the result.

    Returns:
        (C, C, 3) uint8.
    """
    if picture.shape[2:] != (size_px, size_px):
        picture = F.interpolate(picture, size_px, mode="bilinear", align_corners=False, antialias=True)
    return np.asarray(picture[0].round().clamp(0, 255).byte().permute(1, 2, 0).contiguous().numpy())


def _crops(
    picture: NDArray[np.uint8], to_picture: NDArray[np.float64], sizes_px: Iterable[int]
) -> dict[int, NDArray[np.uint8]]:
    """Crops of several sizes.

    Args:
        picture: RGB, (height, width, 3).
        to_picture: Similarity from template coordinates to picture coordinates, (2, 3).
        sizes_px: Their sides.
    """
    template: Tensor | None = None
    crops = {}
    for size_px in sizes_px:
        if size_px > TEMPLATE_SIZE:
            # The middles of n pixels lie at (i + 0.5) / n of the template, whatever n.
            step = TEMPLATE_SIZE / size_px
            turn, shift = to_picture[:, :2], to_picture[:, 2]
            scaled = np.column_stack((turn * step, shift + turn @ np.full(2, (step - 1) / 2)))
            crops[size_px] = resized(_sampled(picture, scaled, size_px), size_px)
        else:
            if template is None:
                template = _sampled(picture, to_picture, TEMPLATE_SIZE)
            crops[size_px] = resized(template, size_px)
    return crops


def _sampled(picture: NDArray[np.uint8], to_picture: NDArray[np.float64], size_px: int) -> Tensor:
    """A square seen through a similarity, (1, 3, size_px, size_px) float32, black outside the picture.

    Args:
        picture: RGB, (height, width, 3).
        to_picture: Similarity from the square's coordinates to picture coordinates, (2, 3).
        size_px: Side of the square.
    """
    scale = hypot(to_picture[0, 0], to_picture[1, 0])  # picture pixels per pixel of the square
    if scale > max(picture.shape[:2]):  # of landmarks that are no face's: the picture would be a speck
        return torch.zeros((1, 3, size_px, size_px))
    block = max(1, floor(scale))  # picture pixels averaged to one
    samples = max(1, ceil(scale / block - 1e-6))  # 1 or 2 along each side of a pixel of the square
    steps = (np.arange(size_px * samples) + 0.5) / samples - 0.5  # (size_px samples,)
    (xx, xy, x0), (yx, yy, y0) = to_picture
    x = xx * steps[None, :] + xy * steps[:, None] + x0
    y = yx * steps[None, :] + yy * steps[:, None] + y0
    # Only the part that is looked at is converted: a block more than the samples reach, on each side.
    height, width = picture.shape[:2]
    x_corners, y_corners = x[:: len(x) - 1, :: len(x) - 1], y[:: len(y) - 1, :: len(y) - 1]
    left, right = max(0, floor(x_corners.min()) - block), min(width, floor(x_corners.max()) + 2 * block + 1)
    top, bottom = max(0, floor(y_corners.min()) - block), min(height, floor(y_corners.max()) + 2 * block + 1)
    if left >= right or top >= bottom:
        return torch.zeros((1, 3, size_px, size_px))
    part = _block_means(picture[top:bottom, left:right], block)
    # grid_sample's coordinates run from -1 to 1 between the outer edges of the outermost pixels.
    grid = np.empty((1, *x.shape, 2), np.float32)
    grid[0, ..., 0] = 2 * (x - left + 0.5) / (block * part.shape[3]) - 1
    grid[0, ..., 1] = 2 * (y - top + 0.5) / (block * part.shape[2]) - 1
    fine = F.grid_sample(
        part, torch.from_numpy(grid), mode="bilinear", padding_mode="zeros", align_corners=False
    )
    if samples == 1:
        return fine
    # The mean of 2 x 2; four times as fast as avg_pool2d.
    upper, lower = fine[:, :, 0::2], fine[:, :, 1::2]
    return (upper[..., 0::2] + upper[..., 1::2] + lower[..., 0::2] + lower[..., 1::2]) / 4


def _block_means(part: NDArray[np.uint8], block: int) -> Tensor:
    """Means over squares of `block` pixels, (1, 3, ceil(height / block), ceil(width / block)) float32."""
    if block == 1:
        return torch.tensor(part).permute(2, 0, 1)[None].float()
    height, width = (-(-length // block) for length in part.shape[:2])
    # Black beyond the last whole block, as everywhere outside the picture.
    padded = np.zeros((height * block, width * block, 3), np.uint8)
    padded[: part.shape[0], : part.shape[1]] = part
    # Sums of rows, then of columns: four times as fast as a pooling of floats, and exact up to blocks of 256.
    lines = padded.reshape(height, block, -1)
    rows: NDArray[Any] = lines[:, 0].astype(np.uint16 if block <= 256 else np.float32)
    for number in range(1, block):
        rows += lines[:, number]
    columns = rows.reshape(height, width, block, 3)
    sums = columns[:, :, 0].astype(np.float32)
    for number in range(1, block):
        sums += columns[:, :, number]
    return torch.from_numpy(sums).permute(2, 0, 1)[None] / block**2
