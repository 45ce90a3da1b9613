"""Opening media files, for pictures and for sound alike.

FFmpeg goes by a file's content, not by its name: a text file called `x.mp4` can be a concat script that
opens other files, and a playlist can open sockets. So only containers that hold their media themselves are
let in, and nothing but the file at the given path is read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, overload

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition, Stream
from av.video.stream import VideoStream

from pipeline.config import LimitsConfig
from pipeline.errors import MediaError, PipelineError
from pipeline.media.memory import limit_allocations

# FFmpeg's names. Each demuxer here reads one file and follows no reference to another. `mpeg` is a program
# stream, `mpegvideo` bare MPEG-1 or MPEG-2 pictures; `mov` covers 3GP, `mpegts` AVCHD.
CONTAINERS = (
    "mov",
    "mp4",
    "matroska",
    "webm",
    "avi",
    "mpegts",
    "mpeg",
    "mpegvideo",
    "ogg",
    "flv",
    "asf",
    "mxf",
    "dv",
)
# What PyAV raises over damaged files beside FFmpeg's own errors: for text that is no UTF-8, sizes beyond its
# integers, time bases of 0, and memory that FFmpeg does not get.
_FAULTS = (av.FFmpegError, ArithmeticError, MemoryError, ValueError)


@contextmanager
def open_container(path: Path, limits: LimitsConfig | None = None) -> Iterator[InputContainer]:
    """A media file, opened for reading; what goes wrong inside the block is reported as the file's fault.

    Args:
        path: The file.
        limits: What it may cost; None for the usual limits.

    Yields:
        The open container. Closed at the end of the block.

    Raises:
        MediaError: Not a file, not one of `CONTAINERS`, or damaged so that FFmpeg gives up.
    """
    name = repr(os.fspath(path))  # quoted and escaped, so that no name breaks the line
    # Also refuses names with a NUL, which C would cut short and so take for another file.
    if not path.is_file():
        found = "a folder" if path.is_dir() else "no file"
        raise MediaError(f"{name}: expected a media file, found {found}; check the path")
    limits = limits or LimitsConfig()
    limit_allocations(limits.picture_px)
    try:
        with av.open(
            f"file:{os.fspath(path)}",
            mode="r",
            # For the decoders that look into the first packets while the file is opened.
            options={"max_pixels": str(decoder_px(limits))},
            container_options={"format_whitelist": ",".join(CONTAINERS), "protocol_whitelist": "file"},
            metadata_errors="replace",  # titles in an old code page are no reason to refuse a clip
        ) as container:
            yield container
    except PipelineError:
        raise
    except _FAULTS as error:
        said = (error.strerror if isinstance(error, av.FFmpegError) else str(error)) or type(error).__name__
        # What decoders say to too large a picture, and FFmpeg to too large a table.
        too_large = isinstance(error, av.ArgumentError | MemoryError)
        raise MediaError(
            f"{name}: expected an undamaged file in one of the containers {', '.join(CONTAINERS)}, got from "
            f"FFmpeg: {' '.join(said.split())}; play the file to see whether it is damaged, and re-encode it "
            "if so" + ", or raise extract.limits.picture_px if its pictures exceed it" * too_large
        ) from error


@overload
def decode(container: InputContainer, stream: VideoStream) -> Iterator[av.VideoFrame]: ...
@overload
def decode(container: InputContainer, stream: AudioStream) -> Iterator[av.AudioFrame]: ...
def decode(container: InputContainer, stream: VideoStream | AudioStream) -> Iterator[Any]:
    """What a stream decodes to, to the end.

    A file that was cut short ends in a piece of a packet. Whether a decoder makes something of it depends on
    where the cut fell, so that it is no error that it does not.

    Args:
        container: The open file.
        stream: One of its audio or video streams.

    Yields:
        Frames in the order in which the decoder puts them out.
    """
    packets = container.demux(stream)
    cut: av.InvalidDataError | None = None
    while True:
        try:
            packet = next(packets, None)
        except IndexError:
            # After the last packet PyAV goes through the streams, and stumbles over one that turned up in the
            # middle of the file.
            packet = None
        if packet is None:
            return
        if cut is not None and packet.size:
            raise cut  # there is more: damage, not a cut
        try:
            frames = packet.decode()
        except av.InvalidDataError as error:
            if not packet.is_corrupt:
                raise
            cut, frames = error, []
        yield from frames


def decoder_px(limits: LimitsConfig) -> int:
    """Pixels that a decoder is let have, above the limit, which is held once a picture's size is known.

    Decoders count what they code, whole blocks: 1920 × 1088 for 1920 × 1080.
    """
    return 2 * limits.picture_px + 64 * 64


def picture_stream(container: InputContainer, number: int | None = None) -> VideoStream | None:
    """A video stream; a cover picture is no video.

    Args:
        container: The open file.
        number: Of the stream among the file's video streams, from 0; None for the one that players choose.

    Returns:
        The stream, None where the file has none.

    Raises:
        MediaError: There are video streams, but none of that number.
    """
    if number is None:
        best = container.streams.best("video")
        return best if isinstance(best, VideoStream) and _is_video(best) else None
    streams = [stream for stream in container.streams.video if _is_video(stream)]
    _check_number(container, "video", number, len(streams))
    return streams[number] if streams else None


def sound_stream(
    container: InputContainer, number: int | None = None, video_number: int | None = None
) -> AudioStream | None:
    """An audio stream.

    Args:
        container: The open file.
        number: Of the stream among the file's audio streams, from 0; None for the one that players choose to
            go with the pictures.
        video_number: Which pictures those are, as in `picture_stream`.

    Returns:
        The stream, None where the file has none.

    Raises:
        MediaError: There are audio streams, but none of that number.
    """
    if number is None:
        best = container.streams.best("audio", picture_stream(container, video_number))
        return best if isinstance(best, AudioStream) else None
    streams = container.streams.audio
    _check_number(container, "audio", number, len(streams))
    return streams[number] if streams else None


def _is_video(stream: Stream) -> bool:
    return not stream.disposition & Disposition.attached_pic


def _check_number(container: InputContainer, kind: str, number: int, count: int) -> None:
    if 0 < count <= number:
        raise MediaError(
            f"{container.name.removeprefix('file:')!r}: expected {kind} stream {number}, counted from 0, "
            f"found {count} {kind} stream{'s' * (count > 1)}; correct extract.media.{kind}_stream, or leave "
            "it out to have the one that players choose"
        )
