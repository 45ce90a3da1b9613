"""Videos inside the page: as they are where browsers play them, else made small at the same times."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.errors import MediaError
from pipeline.report.embedded_video import embeddable

TICKS_MS = [0, 40, 80, 160, 200, 290, 330, 370, 410, 450, 490, 530]


def write_video(
    path: Path, codec: str, muxer: str, *, start_ms: int = 0, height: int = 64, sound: str | None = None
) -> None:
    """Twelve pictures at uneven times; each is as bright as its number says."""
    with av.open(str(path), "w", format=muxer) as container:
        stream = container.add_stream(codec, options={"bf": "0", "crf": "20"} if codec == "libx264" else {})
        stream.width, stream.height, stream.pix_fmt = height * 3 // 2, height, "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        if sound is not None:
            audio = container.add_stream(sound, rate=48_000, layout="mono")
            samples = np.sin(np.arange(1152 * 22) / 20).astype(np.float32)[None]
            for start in range(0, samples.shape[1], 1152):
                block = av.AudioFrame.from_ndarray(samples[:, start : start + 1152].copy(), "fltp", "mono")
                block.sample_rate, block.pts, block.time_base = 48_000, start, Fraction(1, 48_000)
                container.mux(audio.encode(block))
            container.mux(audio.encode())
        for number, tick in enumerate(TICKS_MS):
            grey = np.full((height, height * 3 // 2, 3), 20 * number + 10, np.uint8)
            frame = av.VideoFrame.from_ndarray(grey, "rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = tick + start_ms, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def decoded(content: bytes) -> tuple[list[float], list[float], list[str]]:
    """Times, brightness and kinds of streams, as PyAV reads them."""
    with av.open(io.BytesIO(content)) as container:
        kinds = [f"{stream.type} {stream.codec_context.codec.canonical_name}" for stream in container.streams]
        frames = [
            (frame.time, float(frame.to_ndarray(format="gray").mean())) for frame in container.decode(video=0)
        ]
    return [time for time, _ in frames], [light for _, light in frames], kinds


def test_a_small_file_that_browsers_play_is_carried_as_it_is(tmp_path):
    path = tmp_path / "a.mp4"
    write_video(path, "libx264", "mp4")
    found = embeddable(path)
    assert (found.content, found.mime_type, found.offset_s) == (path.read_bytes(), "video/mp4", 0.0)


@pytest.mark.parametrize(
    ("codec", "muxer", "start_ms", "height", "sound"),
    [
        ("mpeg4", "matroska", 0, 64, "libmp3lame"),
        ("mpeg4", "matroska", 1400, 64, "libmp3lame"),
        ("libx264", "mp4", 700, 64, None),
        ("mpeg4", "matroska", 0, 480, None),
    ],
)
def test_other_files_are_made_small_with_every_picture_at_its_time(
    tmp_path, codec, muxer, start_ms, height, sound
):
    path = tmp_path / "video.bin"
    write_video(path, codec, muxer, start_ms=start_ms, height=height, sound=sound)
    found = embeddable(path)
    times, light, kinds = decoded(found.content)
    assert kinds == ["video h264", *(["audio aac"] if sound else [])]
    expected = (np.array(TICKS_MS) + start_ms) / 1000
    np.testing.assert_allclose(np.array(times) - found.offset_s, expected, atol=1.2e-3)
    np.testing.assert_allclose(light, 20 * np.arange(12) + 10, atol=4)
    assert min(times) >= 0
    with av.open(io.BytesIO(found.content)) as container:
        assert container.streams.video[0].height == min(360, height)
        if sound:
            samples = sum(frame.samples for frame in container.decode(audio=0))
            assert samples / 16_000 == pytest.approx(0.53, abs=0.15)


def test_what_is_no_video_is_the_media_packages_error(tmp_path):
    path = tmp_path / "no.mp4"
    path.write_bytes(b"no video at all")
    with pytest.raises(MediaError, match=r"no\.mp4"):
        embeddable(path)
