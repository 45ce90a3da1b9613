"""Videos that a page carries: as they are where every browser plays them, else made small anew.

    mp4, H.264 8-bit 4:2:0 with AAC or MP3     at most 64 kB a second, timeline from 0: as it is
    webm, VP8, VP9 or AV1 with Opus or Vorbis  likewise
    anything else                              MP4: H.264, at most 360 pixels high; AAC, 16 kHz, mono

Pictures keep their number and their times, which a clip's traces are drawn by; they are turned upright.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import numpy as np
from av.container import OutputContainer
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from pipeline.media.audio import stream_sound
from pipeline.media.container import open_container, picture_stream, sound_stream
from pipeline.media.timeline import SAMPLE_RATE_HZ
from pipeline.media.video import VideoFrame, decode_video
from pipeline.report.errors import ReportError

_MOST_BYTES_PER_S = 64_000
_HEIGHT_PX = 360
_TICKS = 90_000
# Without pictures that refer to later ones, so that the first has time 0; a whole one twice a second or so,
# for quick seeks.
_PICTURE_OPTIONS = {"preset": "veryfast", "crf": "28", "g": "15", "bf": "0"}
_SOUND_BIT_RATE = 48_000
_BLOCK_SAMPLES = 1024
# By MIME type: containers as FFmpeg names them, video codecs with their pixel formats, audio codecs.
_PLAYED: dict[str, tuple[str, dict[str, tuple[str, ...]], tuple[str, ...]]] = {
    "video/mp4": ("mov", {"h264": ("yuv420p", "yuvj420p"), "av1": ("yuv420p",)}, ("aac", "mp3", "opus")),
    "video/webm": (
        "webm",
        {"vp8": ("yuv420p",), "vp9": ("yuv420p",), "av1": ("yuv420p",)},
        ("opus", "vorbis"),
    ),
}
_MATROSKA_ID, _WEBM_NAME = b"\x1a\x45\xdf\xa3", b"webm"


@dataclass(frozen=True, kw_only=True, eq=False)
class EmbeddedVideo:
    """A video for a page.

    Attributes:
        content: The file.
        mime_type: `video/mp4` or `video/webm`.
        offset_s: Time in the player less time on the clip's timeline.
    """

    content: bytes
    mime_type: str
    offset_s: float


def embeddable(path: Path) -> EmbeddedVideo:
    """A media file for a page.

    Raises:
        MediaError: It cannot be opened or decoded.
        ReportError: PyAV has no H.264 encoder here.
    """
    mime_type = _played_as_it_is(path)
    if mime_type is not None:
        return EmbeddedVideo(content=path.read_bytes(), mime_type=mime_type, offset_s=0.0)
    return _made_small(path)


def _played_as_it_is(path: Path) -> str | None:
    """MIME type of a small file that browsers play on the timeline that FFmpeg gives it."""
    with open_container(path) as container:
        video, sound = picture_stream(container), sound_stream(container)
        duration_s = (container.duration or 0) / av.time_base
        if video is None or not duration_s or path.stat().st_size > _MOST_BYTES_PER_S * duration_s:
            return None
        # Players other than Chromium move a late first picture to 0.
        if container.start_time != 0 or len(container.streams) > 2:
            return None
        codec = video.codec_context
        for mime_type, (name, pictures, sounds) in _PLAYED.items():
            if (
                name in container.format.name.split(",")
                and (mime_type != "video/webm" or _says_webm(path))
                and codec.pix_fmt in pictures.get(codec.codec.canonical_name, ())
                and (sound is None or sound.codec_context.codec.canonical_name in sounds)
            ):
                return mime_type
    return None


def _says_webm(path: Path) -> bool:
    """Whether a Matroska file says that it keeps to WebM's part of it."""
    with path.open("rb") as file:
        start = file.read(64)
    return start.startswith(_MATROSKA_ID) and _WEBM_NAME in start


def _made_small(path: Path) -> EmbeddedVideo:
    if "libx264" not in av.codecs_available:
        raise ReportError(
            f"{path}: expected PyAV with an H.264 encoder to make the video small, got none; link the videos "
            "(--videos link)"
        )
    frames = decode_video(path)
    first = next(frames, None)
    if first is None:
        raise ReportError(f"{path}: expected pictures, got none; take the clip off the list")
    sound = stream_sound(path)
    first_piece = next(sound.pieces, None)
    start_s = first.time_s if first_piece is None else min(first.time_s, sound.start_s)
    file = io.BytesIO()
    shape = _picture_of(first).shape
    with av.open(file, "w", format="mp4") as container:
        pictures = _Pictures(container, shape[1], shape[0], start_s)
        samples = None
        if first_piece is not None:
            pieces = (piece.samples for piece in chain((first_piece,), sound.pieces))
            samples = _Samples(container, pieces, sound.start_s - start_s)
        for frame in chain((first,), frames):
            if samples is not None:
                samples.write_until(frame.time_s - start_s)
            pictures.add(frame)
        pictures.finish()
        if samples is not None:
            samples.write_until(float("inf"))
            samples.finish()
    return EmbeddedVideo(content=file.getvalue(), mime_type="video/mp4", offset_s=-start_s)


class _Pictures:
    """Encodes pictures at their own times.

    Args:
        container: Where to.
        width: Of the pictures, in pixels.
        height: The same.
        start_s: Their time 0.
    """

    def __init__(self, container: OutputContainer, width: int, height: int, start_s: float) -> None:
        scale = min(1.0, _HEIGHT_PX / height)
        self._container, self._start_s, self._last = container, start_s, -1
        self._stream = container.add_stream("libx264", options=_PICTURE_OPTIONS)
        # Two pixels share their colours, across and along.
        self._stream.width = max(2, 2 * round(width * scale / 2))
        self._stream.height = max(2, 2 * round(height * scale / 2))
        self._stream.pix_fmt = "yuv420p"
        self._stream.time_base = self._stream.codec_context.time_base = Fraction(1, _TICKS)
        self._reformatter = VideoReformatter()

    def add(self, frame: VideoFrame) -> None:
        picture = self._reformatter.reformat(
            av.VideoFrame.from_ndarray(_picture_of(frame), "rgb24"),
            width=self._stream.width,
            height=self._stream.height,
            format="yuv420p",
        )
        # A tick at least after the one before: each picture is a frame of the clip.
        self._last = max(self._last + 1, round((frame.time_s - self._start_s) * _TICKS))
        picture.pts, picture.time_base = self._last, Fraction(1, _TICKS)
        self._container.mux(self._stream.encode(picture))

    def finish(self) -> None:
        self._container.mux(self._stream.encode())


class _Samples:
    """Encodes sound at 16 kHz, mono, that has no gaps.

    Args:
        container: Where to.
        pieces: ``(n,)`` float32 each, one after the other.
        start_s: Time of the first sample in the file.
    """

    def __init__(
        self, container: OutputContainer, pieces: Iterator[NDArray[np.float32]], start_s: float
    ) -> None:
        self._container, self._pieces = container, pieces
        self._stream = container.add_stream("aac", rate=SAMPLE_RATE_HZ, layout="mono")
        self._stream.bit_rate = _SOUND_BIT_RATE
        self._next = round(start_s * SAMPLE_RATE_HZ)
        self._waiting = np.empty(0, np.float32)

    def write_until(self, time_s: float) -> None:
        while self._next <= time_s * SAMPLE_RATE_HZ:
            while len(self._waiting) < _BLOCK_SAMPLES:
                piece = next(self._pieces, None)
                if piece is None:
                    return
                self._waiting = np.concatenate([self._waiting, piece])
            self._encode(self._waiting[:_BLOCK_SAMPLES])
            self._waiting = self._waiting[_BLOCK_SAMPLES:]

    def finish(self) -> None:
        if len(self._waiting):
            self._encode(self._waiting)
        self._container.mux(self._stream.encode())

    def _encode(self, samples: NDArray[np.float32]) -> None:
        block = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[None]), "fltp", "mono")
        block.sample_rate, block.time_base = SAMPLE_RATE_HZ, Fraction(1, SAMPLE_RATE_HZ)
        block.pts = self._next
        self._next += len(samples)
        self._container.mux(self._stream.encode(block))


def _picture_of(frame: VideoFrame) -> NDArray[np.uint8]:
    assert frame.rgb is not None
    return np.ascontiguousarray(frame.rgb)
