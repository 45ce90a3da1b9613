"""Media files made to order with PyAV: given pictures and samples at given times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
from numpy.typing import NDArray

_BLOCK_SAMPLES = 1024


def write_media(
    path: Path,
    pictures: Sequence[NDArray[np.uint8]],
    times_s: Sequence[float],
    *,
    video_codec: str = "libx264",
    pixel_format: str = "yuv420p",
    video_options: Mapping[str, str] | None = None,
    time_base: Fraction = Fraction(1, 90_000),
    rate: int | Fraction = 25,
    rotation_deg: int = 0,
    pixel_aspect_ratio: Fraction | None = None,
    further_pictures: Sequence[Sequence[NDArray[np.uint8]]] = (),
    samples: NDArray[np.float32] | None = None,
    sample_rate_hz: int = 48_000,
    sound_start_s: float = 0.0,
    sound_gap_s: tuple[float, float] | None = None,
    sound_jump_s: float = 0.0,
    audio_codec: str = "aac",
    audio_options: Mapping[str, str] | None = None,
    further_samples: Sequence[NDArray[np.float32]] = (),
    default_streams: tuple[int, int] = (0, 0),
    container_format: str | None = None,
    container_options: Mapping[str, str] | None = None,
    seekable: bool = True,
) -> None:
    """Write a media file.

    Args:
        path: The file.
        pictures: RGB pictures, each (height, width, 3).
        times_s: Their presentation times in seconds.
        video_codec: FFmpeg's name of the encoder.
        pixel_format: What it is given.
        video_options: Its options.
        time_base: Ticks of the pictures' stamps, as far as the container has a choice.
        rate: Nominal frames per second.
        rotation_deg: Degrees by which a player is to turn the pictures counterclockwise.
        pixel_aspect_ratio: Width of a pixel in terms of its height, None to say nothing of it.
        further_pictures: Pictures of further video streams, at the same times.
        samples: Sound, (channels, n), None for none.
        sample_rate_hz: Its rate.
        sound_start_s: Time of its first sample.
        sound_gap_s: Start and end of a stretch whose blocks are left out.
        sound_jump_s: Seconds by which the stamp of the last block is too late.
        audio_codec: FFmpeg's name of the encoder.
        audio_options: Its options.
        further_samples: Sound of further audio streams.
        default_streams: Numbers of the video stream and the audio stream that are marked as the ones to play.
        container_format: FFmpeg's name of the container, None to go by the file's suffix.
        container_options: Options of the muxer.
        seekable: Whether the muxer may go back to fill in lengths; if not, it does not know them.
    """
    all_pictures = [pictures, *further_pictures] if pictures else []
    all_samples = [samples, *further_samples] if samples is not None else []
    with (
        path.open("wb") as file,
        av.open(
            file if seekable else _Pipe(file),
            "w",
            format=container_format or _format_of(path),
            options=dict(container_options or {}),
        ) as container,
    ):
        videos, sounds = [], []
        for number, (first, *_) in enumerate(all_pictures):
            video = container.add_stream(video_codec, rate=rate, options=dict(video_options or {}))
            video.height, video.width = first.shape[:2]
            video.pix_fmt = pixel_format
            video.codec_context.time_base = time_base
            if rotation_deg:
                video.set_display_rotation(rotation_deg)
            if pixel_aspect_ratio is not None:
                video.codec_context.sample_aspect_ratio = pixel_aspect_ratio
            if further_pictures:
                video.disposition = int(number == default_streams[0])
            videos.append(video)
        for number, sound in enumerate(all_samples):
            layout = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1", 16: "hexadecagonal"}[len(sound)]
            audio = container.add_stream(
                audio_codec, rate=sample_rate_hz, layout=layout, options=dict(audio_options or {})
            )
            if further_samples:
                audio.disposition = int(number == default_streams[1])
            sounds.append(audio)
        for audio, sound in zip(sounds, all_samples, strict=True):
            blocks = _blocks(sound, sample_rate_hz, sound_start_s, sound_gap_s)
            blocks[-1] = (blocks[-1][0], blocks[-1][1] + round(sound_jump_s * sample_rate_hz))
            for block, stamp in blocks:
                # Interleaved: PyAV writes past the end of eight planes and more.
                values = np.ascontiguousarray(block.T).reshape(1, -1)
                of_block = av.AudioFrame.from_ndarray(values, "flt", audio.layout.name)
                of_block.sample_rate, of_block.pts = sample_rate_hz, stamp
                of_block.time_base = Fraction(1, sample_rate_hz)
                for frame in _as_encoder_takes(of_block, audio):
                    container.mux(audio.encode(frame))
            container.mux(audio.encode())
        for video, of_stream in zip(videos, all_pictures, strict=True):
            for picture, time_s in zip(of_stream, times_s, strict=True):
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24")
                frame.pts, frame.time_base = round(time_s / time_base), time_base
                container.mux(video.encode(frame))
            container.mux(video.encode())


def flash_and_click(
    event_s: float,
    *,
    video_start_s: float = 0.0,
    num_frames: int = 50,
    fps: int | Fraction = 25,
    times_s: Sequence[float] | None = None,
    size_px: tuple[int, int] = (64, 48),
    sound_s: tuple[float, float] = (0.0, 2.0),
    sample_rate_hz: int = 48_000,
    num_channels: int = 1,
) -> tuple[dict[str, object], float]:
    """Grey pictures with a white one, and silence with a click of 5 ms, both at one time.

    Args:
        event_s: When both happen; rounded to a frame.
        video_start_s: Time of the first frame.
        num_frames: Number of pictures.
        fps: Pictures per second.
        times_s: Times of the pictures in place of the three above.
        size_px: Width and height.
        sound_s: Start and end of the sound.
        sample_rate_hz: Its rate.
        num_channels: Its channels, all alike.

    Returns:
        Arguments for `write_media`, and the exact time of the white frame and the click.
    """
    if times_s is None:
        times_s = [float(video_start_s + frame / fps) for frame in range(num_frames)]
    white = int(np.argmin(np.abs(np.array(times_s) - event_s)))
    shape = (size_px[1], size_px[0], 3)
    pictures = [np.full(shape, 255 if frame == white else 40, np.uint8) for frame in range(len(times_s))]
    start_s, end_s = sound_s
    time = start_s + np.arange(round((end_s - start_s) * sample_rate_hz)) / sample_rate_hz
    since = time - times_s[white]
    click = np.where((since >= 0) & (since < 0.005), 0.8 * np.sin(2 * np.pi * 1000 * since), 0)
    arguments: dict[str, object] = {
        "pictures": pictures,
        "times_s": times_s,
        "samples": np.repeat(click[None].astype(np.float32), num_channels, axis=0),
        "sample_rate_hz": sample_rate_hz,
        "sound_start_s": start_s,
    }
    return arguments, times_s[white]


class _Pipe:
    """What a muxer writes to that cannot go back."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, content: bytes) -> int:
        return self._file.write(content)


def _format_of(path: Path) -> str:
    """FFmpeg's name of the container that goes with a suffix."""
    format_of_suffix = {
        "ts": "mpegts",
        "mkv": "matroska",
        "mpg": "mpeg",
        "vob": "vob",
        "wmv": "asf",
        "m1v": "mpeg1video",
        "m2v": "mpeg2video",
        "ogv": "ogg",
    }
    suffix = path.suffix.removeprefix(".")
    return format_of_suffix.get(suffix, suffix)


def _blocks(
    samples: NDArray[np.float32], rate_hz: int, start_s: float, gap_s: tuple[float, float] | None
) -> list[tuple[NDArray[np.float32], int]]:
    """Blocks of samples with their stamps in samples; those that touch the gap are left out."""
    first = round(start_s * rate_hz)
    blocks = []
    for begin in range(0, samples.shape[1], _BLOCK_SAMPLES):
        block = samples[:, begin : begin + _BLOCK_SAMPLES]
        from_s, to_s = (first + begin) / rate_hz, (first + begin + block.shape[1]) / rate_hz
        if gap_s is None or to_s <= gap_s[0] or from_s >= gap_s[1]:
            blocks.append((block, first + begin))
    return blocks


def _as_encoder_takes(frame: av.AudioFrame, stream: av.AudioStream) -> list[av.AudioFrame]:
    """The block in the encoder's sample format."""
    wanted = stream.codec_context.format.name
    if wanted == frame.format.name:
        return [frame]
    return av.AudioResampler(format=wanted, layout=frame.layout).resample(frame)
