"""Decoded pictures of a media file, each with its own presentation time.

Headers are not trusted: files with 98 frames in the header decode to 95, and `index / fps` is off by
seconds in phone clips. Frames are counted as they come out of the decoder, to the end, and each keeps its
own time on the container's timeline. Only what is too much to believe is refused by the header alone.
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
from av.video.stream import VideoStream
from numpy.typing import NDArray

from pipeline.config import LimitsConfig, MediaConfig
from pipeline.errors import MediaError
from pipeline.media.container import decode, decoder_px, open_container, picture_stream, sound_stream
from pipeline.media.row_times import rows_of_frames
from pipeline.media.timeline import rising_time

# H.264 and HEVC hold back at most 16 pictures to put them in order.
_MAX_REORDERED_FRAMES = 16
# Where a file tells no frame rate: 25 fps. Only frames without a stamp of their own are timed by it.
_DEFAULT_FRAME_S = 0.04
# Pixels wider or narrower than this are a damaged header's; 32:11 and 8:9 are the extremes of broadcasting.
_WIDEST_PIXEL = 4.0
# A clock that wraps in the middle of a recording claims a day, so the length that a header claims is held
# against the limit with some room.
_MAX_CLAIMED_SHARE = 10


@dataclass(frozen=True, kw_only=True, eq=False)
class VideoFrame:
    """One decoded picture.

    Attributes:
        index: Number of the frame in decoding output order, from 0.
        time_s: Presentation time in seconds on the container's timeline, rising strictly from frame to frame.
        rgb: The upright picture with square pixels, (height, width, 3) uint8; None where only times were
            asked for.
        row_times_s: Times of the rows that show this frame: its own, unless rows have a rate of their own.
    """

    index: int
    time_s: float
    rgb: NDArray[np.uint8] | None
    row_times_s: tuple[float, ...]


def decode_video(
    path: Path,
    media: MediaConfig | None = None,
    limits: LimitsConfig | None = None,
    *,
    pictures: bool = True,
) -> Iterator[VideoFrame]:
    """Every picture of a file's video stream, to the end.

    Pictures that the file marks as rotated are turned upright (by quarter turns): face detectors find no
    sideways faces. Where pixels are not square, the height stays and the width is scaled. The decoder runs on
    one thread: clips are what runs in parallel.

    Args:
        path: The media file.
        media: Which stream, and the rate of the rows; None for the usual settings.
        limits: What the file may cost; None for the usual limits.
        pictures: Whether pictures are wanted; without them, colours are not converted and decoders leave out
            what only pictures need.

    Yields:
        Frames in presentation order, those that no row shows left out. A frame without a stamp is put one
        frame after the one before, a repeated stamp one tick after it: each decoded frame keeps its row.

    Raises:
        MediaError: The file cannot be opened or decoded, holds no such video stream, exceeds a limit, or its
            clock runs backwards.
    """
    media, limits = media or MediaConfig(), limits or LimitsConfig()
    name = repr(str(path))
    with open_container(path, limits) as container:
        stream = picture_stream(container, media.video_stream)
        if stream is None or stream.codec_context is None:
            held = "none" if stream is None else "one of a codec that FFmpeg does not know"
            raise MediaError(f"{name}: expected a video stream, found {held}; take the file off the list")
        _refuse_unbelievable(stream, container.format.name, limits, name)
        stream.codec_context.thread_type = ThreadType.AUTO
        stream.codec_context.thread_count = 1
        stream.codec_context.options = {"max_pixels": str(decoder_px(limits))}
        if not pictures:
            stream.codec_context.options |= {"skip_loop_filter": "all", "skip_idct": "all"}
        picture = _PictureMaker(stream, limits, name)
        frames = _timed(decode(container, stream), stream, container.format.name, limits, name)
        for index, time_s, frame, row_times_s in _with_rows(frames, media, limits, name):
            rgb = picture.make(frame) if pictures else None
            yield VideoFrame(index=index, time_s=time_s, rgb=rgb, row_times_s=row_times_s)


def video_facts(
    path: Path, media: MediaConfig | None = None, limits: LimitsConfig | None = None
) -> dict[str, str | int | float | None]:
    """What a file's header says of its streams, for the record; nothing is decoded and nothing relies on it.

    Args:
        path: The media file.
        media: Which streams; None for those that players choose.
        limits: What the file may cost; None for the usual limits.

    Returns:
        `container`, `codec`, `width`, `height` (pixels, as coded), `pixel_aspect_ratio`, `pixel_format`,
        `average_rate_hz`, `audio_codec`, `sample_rate_hz`, `num_channels`; None where there is no such
        stream or the header is silent. `num_video_streams`, `num_audio_streams`: what there is to choose
        from.

    Raises:
        MediaError: The file cannot be opened, or has no such stream.
    """
    media = media or MediaConfig()
    with open_container(path, limits) as container:
        video = picture_stream(container, media.video_stream)
        audio = sound_stream(container, media.audio_stream, media.video_stream)
        picture = video.codec_context if video is not None else None
        sound = audio.codec_context if audio is not None else None
        rate = video.average_rate if video is not None else None
        return {
            "container": container.format.name,
            "codec": picture.codec.canonical_name if picture is not None else None,
            "width": picture.width if picture is not None else None,
            "height": picture.height if picture is not None else None,
            "pixel_aspect_ratio": _pixel_aspect_ratio(video) if video is not None else None,
            "pixel_format": picture.pix_fmt if picture is not None else None,
            "average_rate_hz": float(rate) if rate else None,
            "audio_codec": sound.codec.canonical_name if sound is not None else None,
            "sample_rate_hz": sound.sample_rate if sound is not None else None,
            "num_channels": sound.channels if sound is not None else None,
            "num_video_streams": len(container.streams.video),
            "num_audio_streams": len(container.streams.audio),
        }


def _refuse_unbelievable(stream: VideoStream, container_format: str, limits: LimitsConfig, name: str) -> None:
    """Refuse by the header what would take long to decode, or much memory."""
    _check_size(stream.codec_context.width, stream.codec_context.height, limits, name)
    # The lower of the two: as its average, a DV tape gives the ticks of its clock.
    rate_hz = float(min(stream.average_rate or 0, stream.guessed_rate or 0))
    if rate_hz > limits.frame_rate_hz:
        raise MediaError(
            f"{name}: expected at most {limits.frame_rate_hz:g} frames per second, found a header that "
            f"claims {rate_hz:g}; re-encode the file, or raise extract.limits.frame_rate_hz"
        )
    length_s = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else 0.0
    claimed = max(stream.frames, round(length_s * rate_hz))
    # The count of an MP4 is that of its table, which is what will be decoded.
    share = 1 if container_format.startswith("mov") else _MAX_CLAIMED_SHARE
    if stream.frames > share * limits.frames or claimed > _MAX_CLAIMED_SHARE * limits.frames:
        raise _too_many_frames(f"a header that claims {claimed}", limits, name)


def _check_size(width: int, height: int, limits: LimitsConfig, name: str) -> None:
    if width * height > limits.picture_px:
        raise MediaError(
            f"{name}: expected pictures of at most {limits.picture_px} pixels, found {width} by {height}; "
            "scale the video down, or raise extract.limits.picture_px"
        )


def _too_many_frames(found: str, limits: LimitsConfig, name: str) -> MediaError:
    return MediaError(
        f"{name}: expected at most {limits.frames} frames, found {found}; split the file, or raise "
        "extract.limits.frames"
    )


def _timed(
    frames: Iterable[av.VideoFrame],
    stream: VideoStream,
    container_format: str,
    limits: LimitsConfig,
    name: str,
) -> Iterator[tuple[float, tuple[int, av.VideoFrame]]]:
    """Decoded frames, numbered, after their times in seconds, which rise strictly."""
    time_base = stream.time_base or Fraction(1, 90_000)
    frame_s = float(1 / stream.average_rate) if stream.average_rate else _DEFAULT_FRAME_S
    stamped = _stamped(frames, time_base)
    if container_format == "avi":
        # AVI keeps no presentation times: FFmpeg hands out those of the packets, in decoding order.
        stamped = _in_order(stamped, frame_s)
    previous_s = None
    for index, (stamp_s, frame) in enumerate(stamped):
        if index >= limits.frames:
            raise _too_many_frames("more", limits, name)
        time_s = rising_time(stamp_s, previous_s, frame_s, float(time_base))
        if time_s is None:
            raise MediaError(
                f"{name}: expected rising times, found frame {index} at {stamp_s} s after one at "
                f"{previous_s} s; remux the file, for instance with 'ffmpeg -i IN -c copy OUT'"
            )
        yield time_s, (index, frame)
        previous_s = time_s


def _with_rows(
    timed: Iterable[tuple[float, tuple[int, av.VideoFrame]]],
    media: MediaConfig,
    limits: LimitsConfig,
    name: str,
) -> Iterator[tuple[int, float, av.VideoFrame, tuple[float, ...]]]:
    """Number, time, picture and times of the rows of each frame that a row shows."""
    rate_hz = media.resample_fps
    if rate_hz is None:
        for time_s, (index, frame) in timed:
            yield index, time_s, frame, (time_s,)
        return
    start_s = None
    for (index, time_s, frame), rows in rows_of_frames(
        ((time_s, (index, time_s, frame)) for time_s, (index, frame) in timed), rate_hz
    ):
        if start_s is None:
            start_s = time_s  # the first frame shows row 0
        if rows.stop > limits.frames:
            raise _too_many_frames(f"{rows.stop} rows at extract.media.resample_fps", limits, name)
        yield index, time_s, frame, tuple(start_s + row / rate_hz for row in rows)


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


class _PictureMaker:
    """Turns decoded frames of one stream into upright RGB with square pixels."""

    def __init__(self, stream: VideoStream, limits: LimitsConfig, name: str) -> None:
        self._pixel_aspect_ratio = _pixel_aspect_ratio(stream)
        self._limits, self._name = limits, name
        self._reformatter = VideoReformatter()  # one for the file: it keeps its conversion tables

    def make(self, frame: av.VideoFrame) -> NDArray[np.uint8]:
        """The picture, (height, width, 3)."""
        width = max(1, round(frame.width * self._pixel_aspect_ratio))
        # The size may change in mid-stream.
        _check_size(max(width, frame.width), frame.height, self._limits, self._name)
        rgb = self._reformatter.reformat(frame, width=width, format="rgb24", threads=1).to_ndarray()
        return _upright(rgb, frame.rotation)


def _pixel_aspect_ratio(stream: VideoStream) -> float:
    """Width of a pixel in terms of its height; 1 where the header is silent or makes no sense."""
    ratio = float(stream.sample_aspect_ratio or 1)
    return ratio if 1 / _WIDEST_PIXEL <= ratio <= _WIDEST_PIXEL else 1.0


def _upright(rgb: NDArray[Any], rotation_deg: float) -> NDArray[np.uint8]:
    """The picture turned counterclockwise by the quarter turns nearest to an angle, (height, width, 3)."""
    return np.ascontiguousarray(np.rot90(rgb, round(rotation_deg / 90)), dtype=np.uint8)
