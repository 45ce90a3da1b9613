"""A media file under a condition: one stream is altered and written without loss, the others are copied.

    condition of pictures    H.264, lossless, RGB, upright, square pixels    sound: packets as they were
    condition of sound       16 kHz mono, 32-bit float                       pictures: packets as they were

Pictures and sound are written as stage one sees and hears them, at their own times, so that the copy gives
the rows that `extract_conditions` gives. Gaps in altered sound become silence.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import chain
from math import lcm
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer, OutputContainer
from av.stream import Disposition, Stream

from pipeline.config import ExtractConfig, MediaConfig
from pipeline.degradation.clean_clips import CleanClip
from pipeline.degradation.condition import Condition
from pipeline.degradation.degraded_picture import PictureDegradation
from pipeline.degradation.degraded_sound import degraded_sound
from pipeline.degradation.errors import DegradationError
from pipeline.degradation.face_places import FacePlaces
from pipeline.errors import PipelineError
from pipeline.faces.sightings import picture_of
from pipeline.media.audio import stream_sound
from pipeline.media.container import open_container, picture_stream, sound_stream
from pipeline.media.timeline import SAME_TIME_S, SAMPLE_RATE_HZ
from pipeline.media.video import decode_video

_BLOCK_SAMPLES = 1024
_MAX_TIMESCALE = 2**31 - 1
# FFmpeg's muxers and the suffix of their files; Matroska takes every codec, but its ticks are 1 ms.
_MUXERS = {"mp4": ".mp4", "mov": ".mov", "matroska": ".mkv"}


def write_copy(clip: CleanClip, condition: Condition, base: Path, config: ExtractConfig, seed: int) -> Path:
    """Write the copy of one clip, in the first container that holds its streams and their times.

    Args:
        clip: The clip.
        condition: What is done to it.
        base: Path of the copy, without suffix.
        config: The `extract` section.
        seed: Of everything random.

    Returns:
        The copy.

    Raises:
        DegradationError: No container holds it.
        MediaError: The original cannot be decoded.
    """
    refusals = []
    for muxer, suffix in _MUXERS.items():
        path = base.with_name(base.name + suffix)
        partial = path.with_name(f".{path.name}.partial")
        try:
            with open_container(clip.source.media, config.limits) as original:
                _mux(original, clip, condition, partial, muxer, config, seed)
            _check_times(partial, clip.source.media, config)
        except DegradationError as error:
            refusals.append(f"{muxer}: {' '.join(str(error).split())}")
        else:
            partial.replace(path)
            return path
        finally:
            partial.unlink(missing_ok=True)
    raise DegradationError(
        f"clip {clip.source.clip_id!r}: none of the containers {', '.join(_MUXERS)} holds a copy of "
        f"{str(clip.source.media)!r} ({'; '.join(refusals)}); extract_conditions needs no copies"
    )


def _mux(
    original: InputContainer,
    clip: CleanClip,
    condition: Condition,
    path: Path,
    muxer: str,
    config: ExtractConfig,
    seed: int,
) -> None:
    """Write a copy: one stream altered and encoded, the packets of the others as they are."""
    media = config.media
    pictures = picture_stream(original, media.video_stream)
    sound = sound_stream(original, media.audio_stream, media.video_stream)
    altered = pictures if condition.modality == "visual" else sound
    played = {stream.index: stream for stream in (pictures, sound) if stream is not None}
    timescale = lcm(*(stream.time_base.denominator for stream in played.values() if stream.time_base))
    options = {"movie_timescale": str(timescale)} if timescale <= _MAX_TIMESCALE else {}
    encode = _PictureEncoder if condition.modality == "visual" else _SoundEncoder
    try:
        with av.open(
            str(path), "w", format=muxer, container_options=options if muxer != "matroska" else {}
        ) as copy:
            encoder = None
            copied: dict[int, Stream] = {}
            for stream in original.streams:
                if not _is_kept(stream):
                    continue
                if altered is not None and stream.index == altered.index:
                    encoder = encode(copy, altered, clip, condition, config, seed)
                    target: Stream = encoder.stream
                else:
                    target = copied[stream.index] = copy.add_stream_from_template(stream)
                if sum(stream.type == each.type for each in original.streams) > 1:
                    target.disposition = Disposition.default if stream.index in played else Disposition(0)
            streams = [original.streams[index] for index in copied]
            for packet in original.demux(streams) if streams else ():
                if packet.size:  # those at the end are empty
                    packet.stream = copied[packet.stream.index]
                    copy.mux(packet)
            if encoder is not None:
                encoder.encode_all()
    except PipelineError:
        raise
    except (av.FFmpegError, ValueError) as error:
        raise DegradationError(str(error)) from error


def _is_kept(stream: Stream) -> bool:
    """Subtitles and cover pictures are left out."""
    return stream.type in ("video", "audio") and not stream.disposition & Disposition.attached_pic


class _PictureEncoder:
    """Writes the pictures of a clip under a condition, without loss.

    Args:
        copy: Where to.
        original: The stream that they replace.
        clip: The clip.
        condition: Of the modality `visual`.
        config: The `extract` section.
        seed: Of everything random.
    """

    def __init__(
        self,
        copy: OutputContainer,
        original: Stream,
        clip: CleanClip,
        condition: Condition,
        config: ExtractConfig,
        seed: int,
    ) -> None:
        self._copy = copy
        self._time_base = original.time_base or Fraction(1, 90_000)
        self._places = FacePlaces(clip.rows.source_frame, clip.rows.face_found, clip.rows.face_box)
        self._pictures = PictureDegradation(condition, clip.source.clip_id, seed)
        every_frame = MediaConfig(video_stream=config.media.video_stream)
        self._frames = decode_video(clip.source.media, every_frame, config.limits)
        self._first = next(self._frames)
        self.stream = copy.add_stream("libx264rgb", options={"qp": "0", "preset": "ultrafast"})
        self.stream.height, self.stream.width = picture_of(self._first).shape[:2]
        self.stream.pix_fmt = "rgb24"
        self.stream.time_base = self.stream.codec_context.time_base = self._time_base
        self.stream.codec_context.thread_count = 1

    def encode_all(self) -> None:
        """Every picture at its own time."""
        for frame in chain((self._first,), self._frames):
            rgb = self._pictures.apply(
                picture_of(frame),
                index=frame.index,
                box=self._places.at(frame.index),
                face_width_px=self._places.width_px,
            )
            picture = av.VideoFrame.from_ndarray(rgb, "rgb24")
            picture.pts, picture.time_base = round(frame.time_s / self._time_base), self._time_base
            self._copy.mux(self.stream.encode(picture))
        self._copy.mux(self.stream.encode())


class _SoundEncoder:
    """Writes the sound of a clip under a condition, as 32-bit float; takes what `_PictureEncoder` takes."""

    def __init__(
        self,
        copy: OutputContainer,
        original: Stream,
        clip: CleanClip,
        condition: Condition,
        config: ExtractConfig,
        seed: int,
    ) -> None:
        self._copy = copy
        self._sound = degraded_sound(
            lambda: stream_sound(clip.source.media, config.media, config.limits),
            condition,
            clip.source.clip_id,
            seed,
        )
        self.stream = copy.add_stream("pcm_f32le", rate=SAMPLE_RATE_HZ, layout="mono")

    def encode_all(self) -> None:
        """Every sample at its own time."""
        start = round(self._sound.start_s * SAMPLE_RATE_HZ)
        for piece in self._sound.pieces:
            for first in range(0, len(piece.samples), _BLOCK_SAMPLES):
                samples = piece.samples[None, first : first + _BLOCK_SAMPLES]
                block = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), "flt", "mono")
                block.sample_rate, block.time_base = SAMPLE_RATE_HZ, Fraction(1, SAMPLE_RATE_HZ)
                block.pts = start + piece.first_sample + first
                self._copy.mux(self.stream.encode(block))
        self._copy.mux(self.stream.encode())


def _check_times(copy: Path, original: Path, config: ExtractConfig) -> None:
    """Refuse a copy whose pictures or sound lie at other times than those of the original."""
    every_frame = MediaConfig(video_stream=config.media.video_stream)
    before_s, after_s = (
        [frame.time_s for frame in decode_video(path, every_frame, config.limits, pictures=False)]
        for path in (original, copy)
    )
    if len(before_s) != len(after_s) or not np.allclose(before_s, after_s, rtol=0, atol=SAME_TIME_S):
        raise DegradationError("its pictures lie at other times than the original's")
    sounds = [stream_sound(path, config.media, config.limits) for path in (original, copy)]
    if abs(sounds[0].start_s - sounds[1].start_s) > 1 / SAMPLE_RATE_HZ:
        raise DegradationError(
            f"its sound begins at {sounds[1].start_s:.6f} s, the original's at {sounds[0].start_s:.6f} s"
        )
