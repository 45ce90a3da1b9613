"""Where one scene ends and another begins.

Each picture becomes a thumbnail of 16 x 16 cells of which the mean colour is taken away and the contrast is
evened out: exposure and white balance no longer show. Between two frames of a scene, few cells change by
more than half of the contrast, however fast a head moves; at a cut, most do. Two exceptions remain:

- A flash changes most cells too, but what comes after it looks like what was before it. So a cut is only
  where *none* of the last `REACH` frames before looks like one of the first `REACH` frames after it.
- In a fast pan most cells change from frame to frame. So a cut must also stand out from the changes around
  it.

The constants were chosen on drawn material: ten variants of a clip of 1000 frames with 31 cuts between shots
of 16 subjects. With them all cuts and nothing else are found in the plain clip, with the exposure of every
frame off by 0.65 to 1.4, and with strong noise (sigma 20); with heads that move by up to 12 % of the
picture's width per frame, or in jerks of 8 %, all cuts and 1 other each; in a pan by up to 5 % per frame all
and 7 others; with a flash of one to three frames every 17 frames, 29 cuts and 7 others, all but one of these
where flash and cut lie within three frames. Pictures of a tenth of the brightness with noise: 27 and none;
a camera that shakes by a tenth of the picture every frame: 24 and 1; whip pans of 15 %: 7 and 19. In the
plain clip at least 42 % of the cells change at a cut, at most 30 % elsewhere.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from statistics import median

import numpy as np
from numpy.typing import NDArray

from pipeline.media.video import VideoFrame

# Frames on either side of a cut that must all look different; a flash may last one less.
REACH = 4
# Share of the cells that must have changed, and by how much, as a share of the picture's contrast.
CHANGED_CELLS = 0.4
CHANGE = 0.5
# A cut changes at least this many times as many cells as the frames around it do.
PROMINENCE = 2.0

_CELLS = 16  # along each side
_SAMPLES = 4  # pixels looked at along each side of a cell
# Contrast in 8-bit levels below which a picture counts as flat, so that its noise is not blown up.
_MIN_CONTRAST = 2.0


@dataclass(frozen=True, kw_only=True, eq=False)
class SceneFrame:
    """A frame and whether a scene begins with it.

    Attributes:
        frame: The frame.
        is_first: Whether it is the first one of a scene; the clip's first frame is.
    """

    frame: VideoFrame
    is_first: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class _Look:
    """A frame, its thumbnail, and the share of cells that changed since the frame before."""

    frame: VideoFrame
    picture: NDArray[np.uint8]
    thumbnail: NDArray[np.float32]
    changed: float


def scenes_of(frames: Iterable[VideoFrame]) -> Iterator[SceneFrame]:
    """A clip's frames, with the first one of each scene marked.

    `REACH` - 1 frames are held back: they tell a cut from a flash. Where pictures change their size, a scene
    begins.

    Args:
        frames: The clip's frames, in order, with pictures.

    Yields:
        Every frame, in order.
    """
    before: deque[_Look] = deque(maxlen=REACH)
    waiting: deque[_Look] = deque()  # the frame to decide on, and those after it
    for look in _looks(frames):
        waiting.append(look)
        if len(waiting) == REACH:
            yield _decided(before, waiting)
    while waiting:
        yield _decided(before, waiting)


def _looks(frames: Iterable[VideoFrame]) -> Iterator[_Look]:
    previous: _Look | None = None
    for frame in frames:
        assert frame.rgb is not None, "scenes are told by pictures"
        thumbnail = thumbnail_of(frame.rgb)
        changed = 0.0 if previous is None else changed_cells(previous.thumbnail, thumbnail)
        look = _Look(frame=frame, picture=frame.rgb, thumbnail=thumbnail, changed=changed)
        yield look
        previous = look


def _decided(before: deque[_Look], waiting: deque[_Look]) -> SceneFrame:
    """Move the first waiting frame to those before, and say whether a scene begins with it."""
    is_first = not before or _is_cut(before, waiting)
    look = waiting.popleft()
    if is_first:
        before.clear()  # what moves in the new scene is not compared with the old one
        look = replace(look, changed=0.0)  # of its own scene, nothing comes before it
    before.append(look)
    return SceneFrame(frame=look.frame, is_first=is_first)


def _is_cut(before: deque[_Look], waiting: deque[_Look]) -> bool:
    """Whether a cut lies between the frames before and the first of those waiting."""
    first, last = waiting[0], before[-1]
    if first.picture.shape != last.picture.shape:
        return True
    if first.changed < CHANGED_CELLS:
        return False
    around = [look.changed for look in (*islice(reversed(before), 2), *islice(waiting, 1, 3))]
    if first.changed < PROMINENCE * median(around):
        return False
    return all(
        changed_cells(early.thumbnail, late.thumbnail) >= CHANGED_CELLS
        for early in before
        for late in waiting
    )


def thumbnail_of(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """A few cells of a picture, without its exposure.

    Args:
        picture: RGB, (height, width, 3).

    Returns:
        (16, 16, 3): mean colours of the cells, less the mean of all in each channel, as multiples of their
        standard deviation over all cells and channels.
    """
    rows, columns = _sampled(picture.shape[0]), _sampled(picture.shape[1])
    # Some pixels of each cell stand for all of it: looking at all of a 4K picture takes 100 times as long.
    samples = picture[rows].take(columns, axis=1).reshape(_CELLS, _SAMPLES, _CELLS, _SAMPLES, 3)
    cells = samples.mean(axis=(1, 3), dtype=np.float32)
    cells -= cells.mean(axis=(0, 1))
    contrast = float(np.sqrt(np.square(cells).mean()))
    return np.asarray(cells / max(contrast, _MIN_CONTRAST), np.float32)


def changed_cells(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Share of the cells of two thumbnails, (16, 16, 3), that differ by more than `CHANGE` in a channel."""
    return float((np.abs(first - second) > CHANGE).any(axis=2).mean())


@lru_cache(maxsize=64)
def _sampled(length: int) -> NDArray[np.intp]:
    """Rows or columns that are looked at, evenly spread over a picture's side."""
    count = _CELLS * _SAMPLES
    return ((np.arange(count) + 0.5) * length / count).astype(np.intp)
