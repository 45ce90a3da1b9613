"""Face crops of 48 x 48 pixels from pictures of any size.

Faces in the recognition literature are aligned to ArcFace's template: a similarity transform (turn, scale,
shift) brings five landmarks as near as possible to fixed places in a picture of 112 x 112 pixels.
Aff-Wild2's own aligned faces are of that kind. The backbones take 48 x 48.

    picture --similarity--> 112 x 112 template --antialiased resize--> 48 x 48

The first step must not alias either. Where a template pixel spans n picture pixels or more, the picture is
first averaged in blocks of n x n, and the template pixel is the mean of 2 x 2 samples of that.

Coordinates are x, y in pixels; the centre of the pixel in column i lies at i, as the template and MTCNN
have it.
"""

from __future__ import annotations

from math import ceil, floor, hypot

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from pipeline.errors import FaceDetectionError

CROP_SIZE = 48
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


def similarity_crop(picture: NDArray[np.uint8], landmarks: NDArray[np.floating]) -> NDArray[np.uint8]:
    """The face, aligned by its landmarks.

    Args:
        picture: RGB, (height, width, 3).
        landmarks: Left eye, right eye, nose, left and right corner of the mouth, (5, 2), pixels.

    Returns:
        (48, 48, 3) uint8, black outside the picture.

    Raises:
        FaceDetectionError: The landmarks coincide.
    """
    forward = similarity_transform(landmarks, TEMPLATE)
    turn = np.linalg.inv(forward[:, :2])
    return _crop(picture, np.column_stack((turn, -turn @ forward[:, 2])))


def box_crop(picture: NDArray[np.uint8], box: NDArray[np.floating], margin: float) -> NDArray[np.uint8]:
    """A square around the box, not turned.

    Args:
        picture: RGB, (height, width, 3).
        box: Left, top, right, bottom in pixels, (4,).
        margin: Share of the box's longer side that is added to the square on every side.

    Returns:
        (48, 48, 3) uint8, black outside the picture.
    """
    left, top, right, bottom = np.asarray(box, dtype=np.float64)
    scale = max(right - left, bottom - top) * (1 + 2 * margin) / TEMPLATE_SIZE
    # The template's middle lies between its pixels 55 and 56, the box's middle between its edges.
    middle = (TEMPLATE_SIZE - 1) / 2
    x, y = (left + right - 1) / 2, (top + bottom - 1) / 2
    return _crop(picture, np.array([[scale, 0, x - scale * middle], [0, scale, y - scale * middle]]))


def _crop(picture: NDArray[np.uint8], to_picture: NDArray[np.float64]) -> NDArray[np.uint8]:
    """The template's view of the picture, resized to (48, 48, 3).

    Args:
        picture: RGB, (height, width, 3).
        to_picture: Similarity from template coordinates to picture coordinates, (2, 3).
    """
    scale = hypot(to_picture[0, 0], to_picture[1, 0])  # picture pixels per template pixel
    block = max(1, floor(scale))  # picture pixels averaged to one
    samples = max(1, ceil(scale / block - 1e-6))  # 1 or 2 along each side of a template pixel
    steps = (np.arange(TEMPLATE_SIZE * samples) + 0.5) / samples - 0.5  # (112 samples,)
    (xx, xy, x0), (yx, yy, y0) = to_picture
    x = xx * steps[None, :] + xy * steps[:, None] + x0
    y = yx * steps[None, :] + yy * steps[:, None] + y0
    # Only the part that is looked at is converted: a block more than the samples reach, on each side.
    height, width = picture.shape[:2]
    left, right = max(0, floor(x.min()) - block), min(width, floor(x.max()) + 2 * block + 1)
    top, bottom = max(0, floor(y.min()) - block), min(height, floor(y.max()) + 2 * block + 1)
    if left >= right or top >= bottom:
        return np.zeros((CROP_SIZE, CROP_SIZE, 3), np.uint8)
    part = torch.tensor(picture[top:bottom, left:right]).permute(2, 0, 1)[None].float()
    if block > 1:
        # Black beyond the last whole block, as everywhere outside the picture.
        part = F.pad(part, (0, (left - right) % block, 0, (top - bottom) % block))
        part = F.avg_pool2d(part, block)
    # grid_sample's coordinates run from -1 to 1 between the outer edges of the outermost pixels.
    grid = np.stack(
        (
            2 * (x - left + 0.5) / (block * part.shape[3]) - 1,
            2 * (y - top + 0.5) / (block * part.shape[2]) - 1,
        ),
        axis=-1,
    )
    template = F.grid_sample(
        part, torch.from_numpy(grid)[None].float(), mode="bilinear", padding_mode="zeros", align_corners=False
    )
    template = F.avg_pool2d(template, samples)
    crop = F.interpolate(template, CROP_SIZE, mode="bilinear", align_corners=False, antialias=True)[0]
    return np.asarray(crop.round().clamp(0, 255).byte().permute(1, 2, 0).contiguous().numpy())
