"""Media files made to order with PyAV: given pictures and samples at given times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

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
    rate: int = 25,
    rotation_deg: int = 0,
    samples: NDArray[np.float32] | None = None,
    sample_rate_hz: int = 48_000,
    sound_start_s: float = 0.0,
    sound_gap_s: tuple[float, float] | None = None,
    sound_jump_s: float = 0.0,
    audio_codec: str = "aac",
    container_format: str | None = None,
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
        samples: Sound, (channels, n), None for none.
        sample_rate_hz: Its rate.
        sound_start_s: Time of its first sample.
        sound_gap_s: Start and end of a stretch whose blocks are left out.
        sound_jump_s: Seconds by which the stamp of the last block is too late.
        audio_codec: FFmpeg's name of the encoder.
        container_format: FFmpeg's name of the container, None to go by the file's suffix.
    """
    with av.open(str(path), "w", format=container_format) as container:
        if pictures:
            video = container.add_stream(video_codec, rate=rate, options=dict(video_options or {}))
            video.height, video.width = pictures[0].shape[:2]
            video.pix_fmt = pixel_format
            video.codec_context.time_base = time_base
            if rotation_deg:
                video.set_display_rotation(rotation_deg)
        if samples is not None:
            layout = {1: "mono", 2: "stereo", 6: "5.1"}[len(samples)]
            audio = container.add_stream(audio_codec, rate=sample_rate_hz, layout=layout)
        if samples is not None:
            blocks = _blocks(samples, sample_rate_hz, sound_start_s, sound_gap_s)
            blocks[-1] = (blocks[-1][0], blocks[-1][1] + round(sound_jump_s * sample_rate_hz))
            for block, stamp in blocks:
                sound = av.AudioFrame.from_ndarray(np.ascontiguousarray(block), "fltp", layout)
                sound.sample_rate, sound.pts, sound.time_base = (
                    sample_rate_hz,
                    stamp,
                    Fraction(1, sample_rate_hz),
                )
                for frame in _as_encoder_takes(sound, audio):
                    container.mux(audio.encode(frame))
            container.mux(audio.encode())
        if pictures:
            for picture, time_s in zip(pictures, times_s, strict=True):
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24")
                frame.pts, frame.time_base = round(time_s / time_base), time_base
                container.mux(video.encode(frame))
            container.mux(video.encode())


def flash_and_click(
    event_s: float,
    *,
    video_start_s: float = 0.0,
    num_frames: int = 50,
    fps: int = 25,
    sound_s: tuple[float, float] = (0.0, 2.0),
    sample_rate_hz: int = 48_000,
) -> tuple[dict[str, object], float]:
    """Grey pictures with a white one, and silence with a click of 5 ms, both at one time.

    Args:
        event_s: When both happen; rounded to a frame.
        video_start_s: Time of the first frame.
        num_frames: Number of pictures.
        fps: Pictures per second.
        sound_s: Start and end of the sound.
        sample_rate_hz: Its rate.

    Returns:
        Arguments for `write_media`, and the exact time of the white frame and the click.
    """
    times_s = [video_start_s + frame / fps for frame in range(num_frames)]
    white = int(np.argmin(np.abs(np.array(times_s) - event_s)))
    pictures = [np.full((48, 64, 3), 255 if frame == white else 40, np.uint8) for frame in range(num_frames)]
    start_s, end_s = sound_s
    time = start_s + np.arange(round((end_s - start_s) * sample_rate_hz)) / sample_rate_hz
    since = time - times_s[white]
    click = np.where((since >= 0) & (since < 0.005), 0.8 * np.sin(2 * np.pi * 1000 * since), 0)
    arguments: dict[str, object] = {
        "pictures": pictures,
        "times_s": times_s,
        "samples": click[None].astype(np.float32),
        "sample_rate_hz": sample_rate_hz,
        "sound_start_s": start_s,
    }
    return arguments, times_s[white]


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
    """The block in the encoder's sample format; PyAV converts planar float only for some encoders."""
    wanted = stream.codec_context.format.name
    if wanted == "fltp":
        return [frame]
    return av.AudioResampler(format=wanted, layout=frame.layout).resample(frame)
