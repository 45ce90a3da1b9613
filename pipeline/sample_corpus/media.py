"""Encoding of pictures and sound to an MP4 file, with the same bytes every time."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

_AUDIO_BIT_RATE = 96_000
_AUDIO_FRAME = 1024


def write_mp4(
    path: Path,
    pictures: Iterable[NDArray[np.uint8]],
    samples: NDArray[np.float32],
    *,
    size: tuple[int, int],
    fps: int,
    sample_rate_hz: int,
) -> None:
    """Write an MP4 file with H.264 video (yuv420p) and mono AAC sound.

    One encoder thread and no time stamps of creation: the bytes depend on the input and on the versions of
    the encoders only.

    Args:
        path: File to write.
        pictures: RGB pictures of shape (height, width, 3) in order.
        samples: Mono waveform in [-1, 1], starting with the first picture, shape (n,).
        size: Width and height in pixels, both even.
        fps: Pictures per second.
        sample_rate_hz: Samples per second.
    """
    width, height = size
    with av.open(str(path), "w", format="mp4", container_options={"fflags": "+bitexact"}) as container:
        video = container.add_stream("libx264", rate=fps)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        video.time_base = video.codec_context.time_base = Fraction(1, fps)
        video.codec_context.thread_count = 1
        # x264's macroblock tree made other bytes from the same pictures in one run of three (core 165, one
        # thread); without it 120 of 120 runs were equal.
        video.codec_context.options = {"preset": "veryfast", "crf": "20", "x264-params": "mbtree=0"}
        audio = container.add_stream("aac", rate=sample_rate_hz, layout="mono")
        audio.bit_rate = _AUDIO_BIT_RATE
        audio.codec_context.thread_count = 1

        written = 0
        for index, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, fps)
            container.mux(video.encode(frame))
            # Sound goes in beside the pictures, so that a player finds both close together in the file.
            until = round((index + 1) * sample_rate_hz / fps)
            while written + _AUDIO_FRAME <= min(until, samples.size):
                container.mux(audio.encode(_audio_frame(samples, written, sample_rate_hz)))
                written += _AUDIO_FRAME
        while written < samples.size:
            container.mux(audio.encode(_audio_frame(samples, written, sample_rate_hz)))
            written += _AUDIO_FRAME
        container.mux(video.encode(None))
        container.mux(audio.encode(None))


def _audio_frame(samples: NDArray[np.float32], start: int, sample_rate_hz: int) -> av.AudioFrame:
    """Up to 1024 samples as a frame of the encoder's."""
    part = np.ascontiguousarray(samples[None, start : start + _AUDIO_FRAME])
    frame = av.AudioFrame.from_ndarray(part, format="fltp", layout="mono")
    frame.sample_rate = sample_rate_hz
    frame.pts, frame.time_base = start, Fraction(1, sample_rate_hz)
    return frame
