r"""Rows of a clip on their way to the heads: pictures and sound side by side, from media or from a store.

Stage one embeds all pictures first and the sound after them. Here the sound follows block by block, so that
rows are complete while the clip is decoded, and neither is kept:

    media --- pictures --- faces --- visual rows ----+--- rows
          \--- sound -------------- audio rows -----/

Letters in shapes: r rows of a block, V views, D features of a stream.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import tee
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cache.features import VISUAL_STREAM
from cache.rows import AUDIO_STREAM
from cache.store import FeatureStore
from pipeline.extract import ClipExtraction
from pipeline.faces.crop import FaceCrop
from pipeline.row_blocks import time_blocks

# Of a store, at a time: 1 MB of one visual view.
_STORE_BLOCK_ROWS = 1024
#: The arrays beside the streams that a prediction tells of, by their names in the store.
ROW_ARRAYS = ("source_frame", "time_s", "face_found", "face_box", "face_score")


@dataclass(frozen=True, kw_only=True, eq=False)
class RowBlock:
    """Some consecutive rows of a clip.

    Attributes:
        arrays: Those of `ROW_ARRAYS`, ``(r, ...)`` each.
        visual: ``(r, D_v)`` float16.
        audio: ``(r, D_a)`` float16.
    """

    arrays: dict[str, NDArray[Any]]
    visual: NDArray[np.float16]
    audio: NDArray[np.float16]

    def __len__(self) -> int:
        return len(self.visual)


def media_rows(work: ClipExtraction, crops: Iterable[FaceCrop]) -> Iterator[RowBlock]:
    """Rows of a media file.

    Args:
        work: The work on the clip, with one visual view.
        crops: The subject's face in every frame of the clip, from `work.faces` or of one track.

    Raises:
        MediaError: The media file cannot be decoded, or has no frames.
        ExtractionError: An embedding is not a number, or too large for float16.
    """
    pictures, ahead = tee(work.picture_rows(crops))
    sound = work.sound_rows(
        AUDIO_STREAM, (times_s for block in ahead for times_s in time_blocks(block.arrays["time_s"]))
    )
    for block in pictures:
        heard = [next(sound).rows for _ in time_blocks(block.arrays["time_s"])]
        if heard:
            yield RowBlock(
                arrays={name: block.arrays[name] for name in ROW_ARRAYS},
                visual=block.streams[VISUAL_STREAM][0],
                audio=np.concatenate(heard),
            )


def store_rows(store: FeatureStore, clip_id: str) -> Iterator[RowBlock]:
    """Rows that stage one has made of a clip.

    Args:
        store: Where they are.
        clip_id: The clip.

    Raises:
        CacheError: The store has no such clip, or its rows cannot be read.
    """
    clip = store[clip_id]
    view = center_view(store.spec.stream(VISUAL_STREAM).views or ())
    for start in range(0, len(clip), _STORE_BLOCK_ROWS):
        rows = clip.window(start, min(start + _STORE_BLOCK_ROWS, len(clip)))
        yield RowBlock(
            arrays={name: getattr(rows, name) for name in ROW_ARRAYS},
            visual=rows.visual[view],
            audio=rows.audio,
        )


def center_view(views: tuple[str, ...]) -> int:
    """Index of the view that evaluation reads."""
    return views.index("center") if "center" in views else 0
