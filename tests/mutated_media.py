"""Damaged media files by the thousand: healthy ones in many containers, and seeded damage to their bytes.

For tests and for the soak run. `seeds` makes the healthy files, `mutate` damages one.
"""

from __future__ import annotations

import io
from fractions import Fraction
from typing import NamedTuple

import av
import numpy as np

_NUM_FRAMES, _FPS, _SIZE_PX = 12, 25, (64, 48)


class _Seed(NamedTuple):
    container: str
    video_codec: str
    audio_codec: str
    sample_rate_hz: int = 48_000
    muxer_options: tuple[tuple[str, str], ...] = ()


_SEEDS = {
    "h264_aac.mp4": _Seed("mp4", "libx264", "aac"),
    "h264_aac_fragments.mp4": _Seed(
        "mp4", "libx264", "aac", muxer_options=(("movflags", "frag_keyframe+empty_moov"),)
    ),
    "hevc_pcm.mov": _Seed("mov", "libx265", "pcm_s16le"),
    "vp9_opus.webm": _Seed("webm", "libvpx-vp9", "libopus"),
    "h264_flac.mkv": _Seed("matroska", "libx264", "flac"),
    "mpeg4_mp3.avi": _Seed("avi", "mpeg4", "libmp3lame"),
    "mjpeg_pcm.avi": _Seed("avi", "mjpeg", "pcm_u8", 8000),
    "mpeg2_mp2.ts": _Seed("mpegts", "mpeg2video", "mp2"),
    "h264_aac.ts": _Seed("mpegts", "libx264", "aac"),
    "mpeg1_mp2.mpg": _Seed("mpeg", "mpeg1video", "mp2"),
    "h264_aac.flv": _Seed("flv", "libx264", "aac", 44_100),
    "vp8_opus.ogv": _Seed("ogg", "libvpx", "libopus"),
    "wmv2_ac3.asf": _Seed("asf", "wmv2", "ac3"),
    "mpeg2_pcm.mxf": _Seed("mxf", "mpeg2video", "pcm_s16le"),
}


def seeds() -> dict[str, bytes]:
    """Healthy files of half a second with sound, a few kilobytes each, by name; the same bytes every time."""
    return {name: _encoded(seed) for name, seed in _SEEDS.items()}


def mutate(data: bytes, rng: np.random.Generator, other: bytes = b"") -> bytes:
    """A damaged copy.

    Args:
        data: A healthy file.
        rng: Decides what is done to it.
        other: Another file, to splice with.

    Returns:
        The file after one to four of: bits flipped, bytes replaced in a small stretch, an end cut off, a
        stretch zeroed, taken out or doubled, a tail that is another file's.
    """
    damaged = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        if not damaged:
            break
        kind = str(
            rng.choice(["flip", "flip", "scramble", "scramble", "cut", "zero", "drop", "double", "splice"])
        )
        size = len(damaged)
        # Half of the damage goes to where headers are.
        reach = size if rng.random() < 0.5 else min(size, 1000)
        begin = int(rng.integers(0, reach))
        end = min(size, begin + 1 + int(rng.exponential(size / 20)))
        if kind == "flip":
            for place in rng.integers(0, reach, int(rng.integers(1, 40))):
                damaged[place] ^= 1 << int(rng.integers(0, 8))
        elif kind == "scramble":
            end = min(size, begin + 8)
            damaged[begin:end] = rng.integers(0, 256, end - begin, np.uint8).tobytes()
        elif kind == "cut":
            del damaged[max(begin, 64) :]
        elif kind == "zero":
            damaged[begin:end] = bytes(end - begin)
        elif kind == "drop":
            del damaged[begin:end]
        elif kind == "double":
            damaged[begin:begin] = damaged[begin:end]
        elif other:
            damaged[begin:] = other[int(rng.integers(0, len(other))) :]
    return bytes(damaged)


def _encoded(seed: _Seed) -> bytes:
    rng = np.random.default_rng(0)
    file = io.BytesIO()
    options = dict(seed.muxer_options) | {"fflags": "+bitexact"}
    with av.open(file, "w", format=seed.container, options=options) as container:
        video = container.add_stream(seed.video_codec, rate=_FPS, options=_video_options(seed.video_codec))
        video.width, video.height = _SIZE_PX
        video.pix_fmt = "yuvj420p" if seed.video_codec == "mjpeg" else "yuv420p"
        video.codec_context.time_base = Fraction(1, _FPS)
        video.codec_context.thread_count = 1
        audio = container.add_stream(seed.audio_codec, rate=seed.sample_rate_hz, layout="mono")
        audio.bit_rate = 64_000
        num_samples = seed.sample_rate_hz * _NUM_FRAMES // _FPS
        tone = 0.3 * np.sin(np.arange(num_samples) * 2 * np.pi * 440 / seed.sample_rate_hz)
        sound = av.AudioFrame.from_ndarray(tone[None].astype(np.float32), "fltp", "mono")
        sound.sample_rate, sound.pts = seed.sample_rate_hz, 0
        sound.time_base = Fraction(1, seed.sample_rate_hz)
        context = audio.codec_context
        resampler = av.AudioResampler(
            format=context.format.name, layout="mono", frame_size=context.frame_size
        )
        for frame in [*resampler.resample(sound), *resampler.resample(None), None]:
            container.mux(audio.encode(frame))
        coarse = rng.integers(0, 256, (_NUM_FRAMES, 6, 8, 3), np.uint8)
        for number, picture in enumerate(coarse.repeat(8, axis=1).repeat(8, axis=2)):
            shown = av.VideoFrame.from_ndarray(picture, "rgb24")
            shown.pts, shown.time_base = number, Fraction(1, _FPS)
            container.mux(video.encode(shown))
        container.mux(video.encode())
    return file.getvalue()


def _video_options(codec: str) -> dict[str, str]:
    return {
        "libx265": {"preset": "ultrafast", "x265-params": "log-level=none:pools=none:frame-threads=1"},
        "libvpx": {"deadline": "realtime", "cpu-used": "8"},
        "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8"},
        "libx264": {"preset": "ultrafast", "bf": "2"},
    }.get(codec, {})
