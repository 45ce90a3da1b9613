"""The video with what was predicted drawn into it: the face's box, numbers, traces, a circumplex.

Every picture of the original is there, upright, with square pixels and at its own time, and its sound beside
it. Nothing is held but the last seconds of rows: any length takes the same memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import chain
from math import ceil, lcm
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer, OutputContainer
from numpy.typing import NDArray
from PIL import Image

from pipeline.config import LimitsConfig, MediaConfig
from pipeline.errors import ExtractionError
from pipeline.media.container import open_container, picture_stream, sound_stream
from pipeline.media.video import VideoFrame, decode_video
from pipeline.prediction.overlay_picture import OverlayPainter
from pipeline.prediction.overlay_sound import CopiedSound, EncodedSound, can_copy
from pipeline.prediction.overlay_video import OverlayVideo
from pipeline.prediction.predicted_rows import PredictedRows
from pipeline.prediction.shown_rows import ShownRows

# FFmpeg's muxers.
_MUXERS = {".mp4": "mp4", ".mkv": "matroska"}
_PARTIAL = ".partial"
_MAX_TIMESCALE = 2**31 - 1
# Pictures are enlarged by a whole number until their shorter side has so many pixels: numbers are legible.
_LEAST_SIDE_PX = 200
# Clocks of transport streams start anywhere, and players count from where they start. Up to this, times are
# those of the rows; a file that starts later starts at 0.
_LATEST_START_S = 10.0


def write_overlay(
    media: Path,
    rows: Iterable[PredictedRows],
    out: Path,
    *,
    media_config: MediaConfig | None = None,
    limits: LimitsConfig | None = None,
    note: str = "",
    beat: Callable[[], None] | None = None,
) -> None:
    """Write a video with the predictions of one clip drawn into it.

    Rows are read as pictures need them, so that both may be made in step.

    Args:
        media: The original.
        rows: The rows of one clip, in order.
        out: The video, `.mp4` or `.mkv`; it appears when it is complete.
        media_config: Which streams; None for those that players choose.
        limits: What the original may cost; None for the usual limits.
        note: A line that stands in every picture, as a warning.
        beat: Called for every picture, as a sign of life.

    Raises:
        MediaError: The original cannot be decoded.
        ExtractionError: The rows are no rows of it, or the video cannot be written.
    """
    muxer = _MUXERS.get(out.suffix.lower())
    if muxer is None:
        raise ExtractionError(
            f"overlay {str(out)!r}: expected a name that ends in {' or '.join(_MUXERS)}, got {out.suffix!r}; "
            "rename it"
        )
    media_config, limits = media_config or MediaConfig(), limits or LimitsConfig()
    partial = out.with_name(out.name + _PARTIAL)
    try:
        with ExitStack() as stack:
            original = _opened(stack, media, limits)
            _write(stack, original, media, rows, partial, muxer, media_config, limits, note, beat)
        with _guarded(out):
            partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)


def _write(
    stack: ExitStack,
    original: InputContainer,
    media: Path,
    rows: Iterable[PredictedRows],
    path: Path,
    muxer: str,
    media_config: MediaConfig,
    limits: LimitsConfig,
    note: str,
    beat: Callable[[], None] | None,
) -> None:
    """Draw and encode picture by picture, with the sound up to it."""
    # Every picture, also where rows have a lower rate.
    frames = decode_video(media, MediaConfig(video_stream=media_config.video_stream), limits)
    first = next(frames, None)
    if first is None:
        raise ExtractionError(f"{str(media)!r}: expected pictures, found none; take the file off the list")
    height, width = _picture(first, 1).shape[:2]
    enlarged = ceil(_LEAST_SIDE_PX / min(width, height))
    width, height = width * enlarged, height * enlarged
    shown = ShownRows(rows, enlarged, repr(str(media)))
    painter = OverlayPainter(width, height, note)
    start_s = (original.start_time or 0) / av.time_base
    shift_s = start_s if start_s > _LATEST_START_S else 0.0
    with _guarded(path):
        video, sound = _streams(
            stack, original, media, path, muxer, (width, height), media_config, limits, shift_s
        )
    for frame in chain((first,), frames):
        rgb = painter.paint(_picture(frame, enlarged, (width, height)), frame.time_s, shown.at(frame.index))
        with _guarded(path):
            if sound is not None:
                sound.write_until(frame.time_s)
            video.add(rgb, frame.time_s - shift_s)
        if beat is not None:
            beat()
    shown.finish()
    with _guarded(path):
        video.finish()
        if sound is not None:
            sound.finish()
        stack.close()


def _opened(stack: ExitStack, media: Path, limits: LimitsConfig) -> InputContainer:
    """The original, for its sound; its fault is only what goes wrong while it is opened."""
    context = open_container(media, limits)
    container = context.__enter__()
    stack.callback(context.__exit__, None, None, None)
    return container


def _streams(
    stack: ExitStack,
    original: InputContainer,
    media: Path,
    path: Path,
    muxer: str,
    size_px: tuple[int, int],
    media_config: MediaConfig,
    limits: LimitsConfig,
    shift_s: float,
) -> tuple[OverlayVideo, CopiedSound | EncodedSound | None]:
    """The container, open, with its streams."""
    pictures = picture_stream(original, media_config.video_stream)
    assert pictures is not None, "decode_video has found it"
    heard = sound_stream(original, media_config.audio_stream, media_config.video_stream)
    time_bases = [stream.time_base for stream in (pictures, heard) if stream is not None]
    timescale = lcm(*(time_base.denominator for time_base in time_bases if time_base))
    is_fine = muxer == "mp4" and timescale <= _MAX_TIMESCALE
    container: OutputContainer = stack.enter_context(
        av.open(
            str(path),
            "w",
            format=muxer,
            # Without it, where streams begin is rounded to milliseconds.
            container_options={"movie_timescale": str(timescale)} if is_fine else {},
        )
    )
    video = OverlayVideo(container, pictures, *size_px)
    if heard is None or heard.codec_context is None:
        return video, None
    with open_container(media, limits) as again:
        of_trial = sound_stream(again, media_config.audio_stream, media_config.video_stream)
        assert of_trial is not None
        is_copied = can_copy(again, of_trial, muxer)
    if is_copied:
        return video, CopiedSound(original, heard, container, shift_s)
    return video, EncodedSound(original, heard, container, shift_s, limits.sound_s, repr(str(media)))


def _picture(frame: VideoFrame, enlarged: int, size_px: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """A frame's picture, as many times as large, (height, width, 3).

    Where the size changes in mid-stream, it is brought to that of the first picture.
    """
    assert frame.rgb is not None, "pictures were asked for"
    height, width = frame.rgb.shape[:2]
    size_px = size_px or (width * enlarged, height * enlarged)
    if size_px == (width, height):
        return frame.rgb
    return np.asarray(Image.fromarray(frame.rgb).resize(size_px, Image.Resampling.BICUBIC))


@contextmanager
def _guarded(path: Path) -> Iterator[None]:
    """What FFmpeg says of the video that is written."""
    try:
        yield
    except (av.FFmpegError, OSError) as error:
        said, name = error.strerror or str(error), str(path).removesuffix(_PARTIAL)
        raise ExtractionError(
            f"overlay {name!r} cannot be written, got from FFmpeg: {' '.join(said.split())}; free space, "
            "or predict without an overlay"
        ) from error
