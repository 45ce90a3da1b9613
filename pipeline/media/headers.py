"""What a media file's header claims of its length. Extraction never relies on it; forecasts do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import av

from pipeline.config import LimitsConfig, MediaConfig
from pipeline.errors import MediaError
from pipeline.media.container import open_container, picture_stream, sound_stream


@dataclass(frozen=True, kw_only=True)
class HeaderClaims:
    """A header's claims.

    Attributes:
        num_frames: Frames of the video stream; None where the header tells neither them nor length and rate.
        num_rows: Rows that this many frames would give.
        has_sound: Whether there is an audio stream.
    """

    num_frames: int | None
    num_rows: int | None
    has_sound: bool


def read_header(path: Path, media: MediaConfig, limits: LimitsConfig) -> HeaderClaims:
    """Read a file's header.

    Args:
        path: The media file.
        media: Which streams, and the rate of the rows.
        limits: What the file may cost.

    Raises:
        MediaError: The file cannot be opened, or has no such video stream.
    """
    with open_container(path, limits) as container:
        stream = picture_stream(container, media.video_stream)
        if stream is None:
            raise MediaError(
                f"{str(path)!r}: expected a video stream, found none; take the file off the list"
            )
        rate_hz = float(stream.average_rate or 0)
        if stream.duration and stream.time_base:
            length_s = float(stream.duration * stream.time_base)
        else:
            length_s = (container.duration or 0) / av.time_base
        num_frames = stream.frames or round(length_s * rate_hz) or None
        num_rows = num_frames
        if media.resample_fps is not None:
            length_s = length_s or ((num_frames or 0) / rate_hz if rate_hz else 0.0)
            num_rows = round(length_s * media.resample_fps) or None
        sound = sound_stream(container, media.audio_stream, media.video_stream)
        return HeaderClaims(num_frames=num_frames, num_rows=num_rows, has_sound=sound is not None)
