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

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from pipeline.errors import MediaError

# FFmpeg's names. Each demuxer here reads one file and follows no reference to another.
CONTAINERS = ("mov", "mp4", "matroska", "webm", "avi", "mpegts", "mpeg", "ogg", "flv", "asf")


@contextmanager
def open_container(path: Path) -> Iterator[InputContainer]:
    """A media file, opened for reading; what goes wrong inside the block is reported as the file's fault.

    Args:
        path: The file.

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
    options = {"format_whitelist": ",".join(CONTAINERS), "protocol_whitelist": "file"}
    try:
        with av.open(
            f"file:{os.fspath(path)}",
            mode="r",
            container_options=options,
            metadata_errors="replace",  # titles in an old code page are no reason to refuse a clip
        ) as container:
            yield container
    except av.FFmpegError as error:
        reason = " ".join(str(error.strerror).split())
        raise MediaError(
            f"{name}: expected an undamaged file in one of the containers {', '.join(CONTAINERS)}, got from "
            f"FFmpeg: {reason}; play the file to see whether it is damaged, and re-encode it if so"
        ) from error


def picture_stream(container: InputContainer) -> VideoStream | None:
    """The video stream that players choose, None where there is none; a cover picture is no video."""
    stream = container.streams.best("video")
    if not isinstance(stream, VideoStream) or stream.disposition & Disposition.attached_pic:
        return None
    return stream


def sound_stream(container: InputContainer) -> AudioStream | None:
    """The audio stream that players choose to go with the pictures, None where there is none."""
    stream = container.streams.best("audio", picture_stream(container))
    return stream if isinstance(stream, AudioStream) else None
