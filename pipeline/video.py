"""Decoded pictures of a media file, each with its own presentation time.

Headers are not trusted: files with 98 frames in the header decode to 95, and `index / fps` is off by
seconds in phone clips. Frames are counted as they come out of the decoder, to the end, and each keeps its
own time on the container's timeline.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from heapq import heappush, heappushpop
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.codec.context import ThreadType
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from pipeline.container import open_container, picture_stream, sound_stream
from pipeline.errors import MediaError
from pipeline.timeline import rising_time

# H.264 and HEVC hold back at most 16 pictures to put them in order.
_MAX_REORDERED_FRAMES = 16
# Where a file tells no frame rate: 25 fps. Only frames without a stamp of their own are timed by it.
_DEFAULT_FRAME_S = 0.04


@dataclass(frozen=True, kw_only=True, eq=False)
class VideoFrame:
    """One decoded picture.

    Attributes:
        index: Number of the frame in decoding output order, from 0.
        time_s: Presentation time in seconds on the container's timeline, rising strictly from frame to frame.
        rgb: The upright picture, (height, width, 3) uint8.
    """

    index: int
    time_s: float
    rgb: NDArray[np.uint8]


def decode_video(path: Path) -> Iterator[VideoFrame]:
    """Every picture of a file's video stream, to the end.

    Pictures that the file marks as rotated are turned upright (by quarter turns): face detectors find no
    sideways faces. The decoder runs on one thread: clips are what runs in parallel.

    Args:
        path: The media file.

    Yields:
        Frames in presentation order. A frame without a stamp is put one frame after the one before, a
        repeated stamp one tick after it: each decoded frame keeps its row.

    Raises:
        MediaError: The file cannot be opened or decoded, holds no video stream, or its clock runs backwards.
    """
    name = repr(str(path))
    with open_container(path) as container:
        stream = picture_stream(container)
        if stream is None or stream.codec_context is None:
            held = "none" if stream is None else "one of a codec that FFmpeg does not know"
            raise MediaError(f"{name}: expected a video stream, found {held}; take the file off the list")
        stream.codec_context.thread_type = ThreadType.AUTO
        stream.codec_context.thread_count = 1
        time_base = stream.time_base or Fraction(1, 90_000)
        frame_s = float(1 / stream.average_rate) if stream.average_rate else _DEFAULT_FRAME_S
        stamped = _stamped(container.decode(stream), time_base)
        if container.format.name == "avi":
            # AVI keeps no presentation times: FFmpeg hands out those of the packets, in decoding order.
            stamped = _in_order(stamped, frame_s)
        reformatter = VideoReformatter()  # one for the file: it keeps its conversion tables
        previous_s = None
        for index, (stamp_s, frame) in enumerate(stamped):
            time_s = rising_time(stamp_s, previous_s, frame_s, float(time_base))
            if time_s is None:
                raise MediaError(
                    f"{name}: expected rising times, found frame {index} at {stamp_s} s after one at "
                    f"{previous_s} s; remux the file, for instance with 'ffmpeg -i IN -c copy OUT'"
                )
            rgb = reformatter.reformat(frame, format="rgb24", threads=1).to_ndarray()
            yield VideoFrame(index=index, time_s=time_s, rgb=_upright(rgb, frame.rotation))
            previous_s = time_s


def video_facts(path: Path) -> dict[str, str | int | float | None]:
    """What a file's header says of its streams, for the record; nothing is decoded and nothing relies on it.

    Args:
        path: The media file.

    Returns:
        `container`, `codec`, `width`, `height` (pixels, before rotation), `pixel_format`,
        `average_rate_hz`, `audio_codec`, `sample_rate_hz`, `num_channels`; None where there is no such
        stream or the header is silent.

    Raises:
        MediaError: The file cannot be opened.
    """
    with open_container(path) as container:
        video, audio = picture_stream(container), sound_stream(container)
        picture = video.codec_context if video is not None else None
        sound = audio.codec_context if audio is not None else None
        rate = video.average_rate if video is not None else None
        return {
            "container": container.format.name,
            "codec": picture.codec.canonical_name if picture is not None else None,
            "width": picture.width if picture is not None else None,
            "height": picture.height if picture is not None else None,
            "pixel_format": picture.pix_fmt if picture is not None else None,
            "average_rate_hz": float(rate) if rate else None,
            "audio_codec": sound.codec.canonical_name if sound is not None else None,
            "sample_rate_hz": sound.sample_rate if sound is not None else None,
            "num_channels": sound.channels if sound is not None else None,
        }


def _stamped(
    frames: Iterable[av.VideoFrame], time_base: Fraction
) -> Iterator[tuple[float | None, av.VideoFrame]]:
    """Decoded frames with their times in seconds; decoding times stand in for missing presentation times."""
    for frame in frames:
        stamp = frame.dts if frame.pts is None else frame.pts
        yield (None if stamp is None else float(stamp * time_base)), frame


def _in_order(
    stamped: Iterable[tuple[float | None, av.VideoFrame]], frame_s: float
) -> Iterator[tuple[float | None, av.VideoFrame]]:
    """Frames as they come, with their stamps sorted: decoders put out pictures in presentation order.

    The i-th picture gets the i-th smallest stamp, found among the next few; stamps that rise stay as they
    are.
    """
    waiting: deque[av.VideoFrame] = deque()
    stamps: list[float] = []
    latest_s = -frame_s
    for stamp_s, frame in stamped:
        stamp_s = latest_s + frame_s if stamp_s is None else stamp_s
        latest_s = max(latest_s, stamp_s)
        waiting.append(frame)
        if len(stamps) < _MAX_REORDERED_FRAMES:
            heappush(stamps, stamp_s)
        else:
            yield heappushpop(stamps, stamp_s), waiting.popleft()
    yield from zip(sorted(stamps), waiting, strict=True)


def _upright(rgb: NDArray[Any], rotation_deg: float) -> NDArray[np.uint8]:
    """The picture turned counterclockwise by the quarter turns nearest to an angle, (height, width, 3)."""
    return np.ascontiguousarray(np.rot90(rgb, round(rotation_deg / 90)), dtype=np.uint8)
