"""Frames in blocks, with what is kept of each beside its embeddings.

A frame may have several rows, or none, where rows are at a constant rate (`resample_fps`).

Shapes: f frames of a block, n of them with a face, r rows of a block.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.faces.crop import FaceCrop
from pipeline.input_blocks import MAX_BLOCK_INPUTS, FaceBlock


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameBlock:
    """Some consecutive frames of a clip.

    Attributes:
        crops: The subject's face in each frame, f of them.
    """

    crops: tuple[FaceCrop, ...]

    @cached_property
    def rows(self) -> NDArray[np.intp]:
        """Frame of each row, (r,)."""
        return np.repeat(np.arange(len(self.crops)), [len(crop.row_times_s) for crop in self.crops])

    @cached_property
    def found(self) -> NDArray[np.bool_]:
        """Whether each frame shows the face, (f,)."""
        return np.array([crop.crops is not None for crop in self.crops], dtype=np.bool_)

    @property
    def found_rows(self) -> NDArray[np.intp]:
        """First row of each frame that shows the face, (n,)."""
        return np.searchsorted(self.rows, np.flatnonzero(self.found))

    def faces(self, size_px: int) -> FaceBlock:
        """The crops of that side, one for each of the n frames with a face."""
        crops = [crop.crops[size_px] for crop in self.crops if crop.crops is not None]
        shape = (size_px, size_px, 3)
        return FaceBlock(crops=np.stack(crops) if crops else np.zeros((0, *shape), dtype=np.uint8))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays beside the streams, (r, ...) each, but for `audio_found`."""
        boxes = [np.zeros(4, np.float32) if crop.box is None else crop.box for crop in self.crops]
        return {
            "time_s": np.array([time_s for crop in self.crops for time_s in crop.row_times_s], np.float64),
            "source_frame": np.array([crop.index for crop in self.crops], np.int64)[self.rows],
            "face_found": self.found[self.rows],
            "face_box": np.array(boxes, np.float32)[self.rows],
            "face_score": np.array([crop.score for crop in self.crops], np.float32)[self.rows],
        }

    def spread(self, embeddings: NDArray[np.float16]) -> NDArray[np.float16]:
        """Rows from the embeddings of the frames with a face: zeros where there is none.

        Args:
            embeddings: (..., n, D).

        Returns:
            (..., r, D).
        """
        frames = np.zeros((*embeddings.shape[:-2], len(self.crops), embeddings.shape[-1]), np.float16)
        frames[..., self.found, :] = embeddings
        return frames[..., self.rows, :]


def frame_blocks(crops: Iterable[FaceCrop]) -> Iterator[FrameBlock]:
    """Blocks of as many frames as a backbone takes at once."""
    iterator = iter(crops)
    while block := tuple(islice(iterator, MAX_BLOCK_INPUTS)):
        yield FrameBlock(crops=block)
