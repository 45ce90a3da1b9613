"""Faces that come cropped: one image per frame, as in Aff-Wild2's `cropped_aligned`.

    VIDEO/00001.jpg    the face in frame 0
    VIDEO/00003.jpg    the face in frame 2; frame 1 shows none

Images of any size do; those that are not square get black bars.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from pipeline.errors import MediaError
from pipeline.faces.alignment import resized
from pipeline.faces.crop import FaceCrop
from pipeline.media.video import VideoFrame

# Under the name of JPEG files, tools also write PNG; anything else is no face.
_FORMATS = ("JPEG", "PNG")
# Crops are a few hundred pixels wide; what is far larger would only fill the memory.
_MAX_SIDE_PX = 4096
_NAME = re.compile(r"([0-9]{5,})\.jpg")


def cropped_faces(
    frames: Iterable[VideoFrame], folder: Path, crop_sizes: Sequence[int]
) -> Iterator[FaceCrop]:
    """The face of every frame, from a folder of images.

    Args:
        frames: The clip's frames, in order; their pictures are not looked at.
        folder: Holds `{frame + 1:05d}.jpg` for each frame that shows the face.
        crop_sizes: Sides of the crops in pixels, each once.

    Yields:
        One crop per frame, in order.

    Raises:
        MediaError: There is no such folder, or an image is damaged, of another kind, or huge.
    """
    if not folder.is_dir():
        raise MediaError(
            f"{str(folder)!r}: expected a folder of cropped faces, '00001.jpg' for the first frame, found "
            "none; check the manifest, or leave the faces to the detector"
        )
    for frame in frames:
        path = folder / f"{frame.index + 1:05d}.jpg"
        crops = _crops(path, crop_sizes) if path.is_file() else None
        yield FaceCrop(
            index=frame.index,
            time_s=frame.time_s,
            row_times_s=frame.row_times_s,
            box=None if crops is None else np.zeros(4, np.float32),
            score=0.0 if crops is None else 1.0,
            crops=crops,
        )


def num_surplus_images(folder: Path, num_frames: int) -> int:
    """Cropped faces that belong to no frame.

    Args:
        folder: As for `cropped_faces`.
        num_frames: Decoded frames of the clip.

    Returns:
        Number of images whose number is 0 or beyond the last frame's.
    """
    names = (_NAME.fullmatch(path.name) for path in folder.iterdir())
    return sum(not 1 <= int(name[1]) <= num_frames for name in names if name is not None)


def _crops(path: Path, sizes_px: Sequence[int]) -> dict[int, NDArray[np.uint8]]:
    image = _image(path)
    height, width = image.shape[:2]
    if all(size_px == height == width for size_px in sizes_px):
        return dict.fromkeys(sizes_px, image)
    side = max(height, width)
    if height != width:
        square = np.zeros((side, side, 3), np.uint8)
        top, left = (side - height) // 2, (side - width) // 2
        square[top : top + height, left : left + width] = image
        image = square
    picture = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    return {size_px: resized(picture, size_px) for size_px in sizes_px}


def _image(path: Path) -> NDArray[np.uint8]:
    """A decoded image, (height, width, 3) RGB."""
    try:
        with Image.open(path, formats=_FORMATS) as image:
            width, height = image.size
            if max(width, height) > _MAX_SIDE_PX:
                raise MediaError(
                    f"{str(path)!r}: expected the crop of a face, found a picture of {width} x {height} px "
                    f"(at most {_MAX_SIDE_PX} on a side); check the folder of cropped faces"
                )
            return np.array(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError) as error:
        if isinstance(error, MediaError):
            raise
        raise MediaError(
            f"{str(path)!r}: expected a JPEG image of a face, cannot decode it ({_reason(error)}); replace "
            "it, or delete it and the frame counts as one without a face"
        ) from error


def _reason(error: Exception) -> str:
    """What Pillow says, on one line and without the path, which is said before."""
    words = " ".join(str(error).split())
    return "of another format" if words.startswith("cannot identify") else words or type(error).__name__
