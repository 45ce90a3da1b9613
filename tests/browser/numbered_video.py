"""Videos whose every frame shows its own number, as black and white bars to be read off the screen."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

WIDTH_PX, HEIGHT_PX = 320, 240
_NUM_BITS = 12
# Below them a player lays its controls, at the left and at the right edge pictures may be rounded off.
_TOP_PX, _BAR_HEIGHT_PX, _LEFT_PX, _BAR_WIDTH_PX = 24, 32, 40, 20
_BLACK, _WHITE = 16, 235


def numbered_picture(number: int) -> NDArray[np.uint8]:
    """RGB picture with the bits of a number, the highest first, and below them their opposites."""
    if not 0 <= number < 2**_NUM_BITS:
        raise ValueError(f"expected a number below {2**_NUM_BITS}, got {number}")
    picture = np.full((HEIGHT_PX, WIDTH_PX, 3), 90, np.uint8)
    for place in range(_NUM_BITS):
        left = _LEFT_PX + place * _BAR_WIDTH_PX
        bit = number >> (_NUM_BITS - 1 - place) & 1
        for row, is_white in enumerate((bit, 1 - bit)):
            top = _TOP_PX + row * _BAR_HEIGHT_PX
            level = _WHITE if is_white else _BLACK
            picture[top : top + _BAR_HEIGHT_PX, left : left + _BAR_WIDTH_PX] = level
    return picture


def number_shown(picture: NDArray[np.uint8]) -> int:
    """Inverse of `numbered_picture`, for a picture of any size.

    Raises:
        ValueError: The bars are not there.
    """
    height, width = picture.shape[:2]
    grey = picture[..., :3].mean(axis=2)
    number = 0
    for place in range(_NUM_BITS):
        column = round((_LEFT_PX + (place + 0.5) * _BAR_WIDTH_PX) * width / WIDTH_PX)
        rows = [round((_TOP_PX + (row + 0.5) * _BAR_HEIGHT_PX) * height / HEIGHT_PX) for row in (0, 1)]
        upper, lower = (grey[row - 1 : row + 2, column - 1 : column + 2].mean() for row in rows)
        if abs(upper - lower) < 120:
            raise ValueError(f"no bar at place {place}: {upper:.0f} above, {lower:.0f} below")
        number = 2 * number + int(upper > lower)
    return number


def write_numbered_video(
    path: Path, times_s: Sequence[float] | NDArray[np.float64], *, codec: str = "libx264", sound: bool = True
) -> None:
    """Write such a video, with a key frame every hundred frames only, so that seeking has to decode.

    Args:
        path: An MP4 file for H.264, a WebM file for VP9.
        times_s: Times of the frames.
        codec: libx264 or libvpx-vp9.
        sound: Whether there is a quiet tone beside the pictures, which begins at 0.
    """
    is_h264 = codec == "libx264"
    options = {"preset": "superfast", "crf": "26"} if is_h264 else {"deadline": "realtime", "cpu-used": "8"}
    with av.open(str(path), "w") as container:
        video = container.add_stream(codec, rate=25, options=options | {"g": "100"})
        video.width, video.height, video.pix_fmt = WIDTH_PX, HEIGHT_PX, "yuv420p"
        time_base = video.codec_context.time_base = Fraction(1, 90_000)
        tone = (
            container.add_stream("aac" if is_h264 else "libopus", rate=48_000, layout="mono")
            if sound
            else None
        )
        for number, time_s in enumerate(times_s):
            frame = av.VideoFrame.from_ndarray(numbered_picture(number), "rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = round(time_s / time_base), time_base
            container.mux(video.encode(frame))
        container.mux(video.encode())
        if tone is not None:
            _write_tone(container, tone, seconds=float(times_s[-1]))


def _write_tone(container: av.container.OutputContainer, sound: av.AudioStream, *, seconds: float) -> None:
    """A quiet tone of 220 Hz from time 0."""
    step = sound.codec_context.frame_size or 960
    for first in range(0, round(48_000 * seconds), step):
        wave = 0.05 * np.sin(2 * np.pi * 220 * np.arange(first, first + step) / 48_000)
        block = av.AudioFrame.from_ndarray(wave[None].astype(np.float32), "flt", "mono")
        block.sample_rate, block.pts, block.time_base = 48_000, first, Fraction(1, 48_000)
        for frame in av.AudioResampler(format=sound.format.name, layout="mono").resample(block):
            container.mux(sound.encode(frame))
    container.mux(sound.encode())
