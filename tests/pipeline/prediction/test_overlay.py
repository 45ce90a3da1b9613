"""Overlays, looked at with PyAV alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.errors import ExtractionError, MediaError
from pipeline.prediction.overlay import write_overlay
from pipeline.prediction.predicted_rows import PredictedRows

UNEVEN_S = [0.0, 0.04, 0.1, 0.11, 0.3, 0.34, 0.38, 0.5, 0.52, 0.6, 0.64, 0.7]
BOX = (10.0, 6.0, 30.0, 24.0)


def predicted(frames: list[int], times_s: list[float], *, block: int = 5) -> Iterator[PredictedRows]:
    for first in range(0, len(frames), block):
        frame = np.array(frames[first : first + block], np.int64)
        yield PredictedRows(
            clip_id="c",
            frame=frame,
            time_s=np.array(times_s[first : first + block]),
            values=np.stack([np.sin(frame / 3), np.cos(frame / 3)], axis=1).astype(np.float32),
            deviation=None,
            face_found=np.ones(len(frame), np.bool_),
            face_box=np.tile(np.array(BOX, np.float32), (len(frame), 1)),
            face_score=np.ones(len(frame), np.float32),
            gates={},
        )


def pictures(path: Path) -> tuple[NDArray[np.int64], list[float]]:
    with av.open(str(path)) as container:
        frames = [(frame.to_ndarray(format="rgb24"), frame.time) for frame in container.decode(video=0)]
    return np.stack([rgb for rgb, _ in frames]).astype(np.int64), [time_s for _, time_s in frames]


def packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


def click_s(path: Path) -> float:
    """When the sound is loudest."""
    with av.open(str(path)) as container:
        blocks = [
            # (samples, channels) where they are interleaved
            (frame.time, frame.to_ndarray().reshape(frame.samples, -1).T, frame.sample_rate)
            if not frame.format.is_planar
            else (frame.time, frame.to_ndarray(), frame.sample_rate)
            for frame in container.decode(audio=0)
        ]
    at = np.concatenate([time_s + np.arange(samples.shape[-1]) / rate for time_s, samples, rate in blocks])
    level = np.concatenate([np.abs(samples.astype(np.float64)).max(axis=0) for _, samples, _ in blocks])
    return float(at[np.argmax(level > 0.5 * level.max())])


def flash_s(path: Path) -> float:
    shown, times_s = pictures(path)
    return times_s[int(np.argmax(shown[:, :100].mean(axis=(1, 2, 3))))]


@pytest.mark.parametrize(
    ("name", "options", "is_copied"),
    [
        ("a.mp4", {}, True),
        ("a.mkv", {"audio_codec": "mp2", "sample_rate_hz": 44_100, "num_channels": 2}, False),
        ("a.webm", {"video_codec": "libvpx", "audio_codec": "libopus"}, True),
        ("a.mov", {"audio_codec": "pcm_s16le", "num_channels": 6, "sample_rate_hz": 8000}, False),
        ("late.mp4", {"video_start_s": 0.852, "sound_s": (0.9, 1.8)}, True),
        ("a.ts", {"video_start_s": 30.0, "sound_s": (30.0, 31.0)}, True),
        ("a.avi", {"video_codec": "mpeg4", "audio_codec": "libmp3lame", "time_base": Fraction(1, 25)}, True),
    ],
)
def test_every_picture_keeps_its_time_and_the_sound_its_place(
    tmp_path: Path,
    write_media: Callable[..., None],
    flash_and_click: Callable[..., Any],
    name: str,
    options: dict[str, Any],
    is_copied: bool,
) -> None:
    made = {
        key: options.pop(key)
        for key in ("video_start_s", "sound_s", "sample_rate_hz", "num_channels")
        if key in options
    }
    start_s = made.pop("video_start_s", 0.0)
    # AVI has pictures at an even rate alone.
    times_s = [index / 25 for index in range(12)] if name == "a.avi" else UNEVEN_S
    uneven = [start_s + time_s for time_s in times_s]
    arguments, _ = flash_and_click(start_s + 0.36, times_s=uneven, **({"sound_s": (0.0, 1.0)} | made))
    write_media(tmp_path / name, **arguments, **options)
    rows = predicted([*range(len(uneven))], uneven)
    write_overlay(tmp_path / name, rows, tmp_path / "out.mp4")
    before_s, after_s = pictures(tmp_path / name)[1], pictures(tmp_path / "out.mp4")[1]
    # Clocks that start anywhere are set to 0, pictures and sound together.
    shift_s = before_s[0] - after_s[0]
    assert shift_s == pytest.approx(start_s if start_s > 20 else 0, abs=2)
    assert start_s > 20 or shift_s == pytest.approx(0, abs=1e-6)
    np.testing.assert_allclose(np.array(after_s) + shift_s, before_s, atol=1e-6)
    assert flash_s(tmp_path / "out.mp4") + shift_s == pytest.approx(flash_s(tmp_path / name), abs=1e-6)
    assert click_s(tmp_path / "out.mp4") + shift_s == pytest.approx(click_s(tmp_path / name), abs=0.003)
    if is_copied and not name.endswith("ts"):  # where the framing is another
        assert packets(tmp_path / "out.mp4") == packets(tmp_path / name)
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert (container.streams.audio[0].codec_context.name == "aac") == (name not in ("a.webm", "a.avi"))
        assert container.streams.video[0].codec_context.name == "h264"


def test_upright_square_and_in_the_right_colours(tmp_path: Path, write_media: Callable[..., None]) -> None:
    rng = np.random.default_rng(1)
    patches = np.kron(rng.integers(30, 226, (6, 4, 3)), np.ones((40, 60, 1))).astype(np.uint8)
    write_media(tmp_path / "a.mp4", [patches] * 3, [0, 0.04, 0.08], rotation_deg=90, pixel_format="yuv444p")
    write_overlay(tmp_path / "a.mp4", predicted([0, 1, 2], [0, 0.04, 0.08]), tmp_path / "b.mp4")
    before, _ = pictures(tmp_path / "a.mp4")
    after, _ = pictures(tmp_path / "b.mp4")
    assert after.shape == (3, 240, 240, 3)
    with av.open(str(tmp_path / "b.mp4")) as container:
        assert next(container.decode(video=0)).rotation == 0
    upright = np.rot90(before[0])
    # Middles of the patches that are seen whole, above the panel and beside the box.
    differences = [
        np.abs(after[2, y - 5 : y + 5, x - 5 : x + 5].mean((0, 1)) - upright[y, x])
        for y in range(30, 150, 60)
        for x in range(60, 240, 40)
    ]
    assert np.max(differences) < 6


@pytest.mark.parametrize("space", [1, 5])
@pytest.mark.parametrize("is_full", [False, True])
def test_colours_are_marked_as_the_originals(tmp_path: Path, space: int, is_full: bool) -> None:
    """A player that goes by the marks shows the same colours in both."""
    colours = np.kron(np.random.default_rng(2).integers(20, 236, (5, 8, 3)), np.ones((80, 80, 1)))
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"qp": "0"})
        stream.width, stream.height, stream.pix_fmt = 640, 400, "yuv420p"
        context = stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = space
        context.color_range = 2 if is_full else 1
        frame = av.VideoFrame.from_ndarray(colours.astype(np.uint8), "rgb24").reformat(
            format="yuv420p", dst_colorspace=space, dst_color_range=2 if is_full else 1
        )
        frame.pts, frame.time_base = 0, Fraction(1, 25)
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    write_overlay(tmp_path / "a.mp4", [], tmp_path / "b.mp4")
    shown = []
    for name in ("a.mp4", "b.mp4"):
        with av.open(str(tmp_path / name)) as container:
            assert container.streams.video[0].codec_context.colorspace == space
            frame = next(container.decode(video=0))
        source = {"src_colorspace": space, "src_color_range": frame.color_range}
        shown.append(frame.reformat(format="rgb24", **source).to_ndarray().astype(int))
    inner = np.s_[40:280:80, 40:640:80]
    assert np.abs(shown[0][inner] - colours[inner]).max() < 5
    assert np.abs(shown[1][inner] - colours[inner]).max() < 8


def test_rows_of_a_lower_rate_late_and_early_ones(tmp_path: Path, write_media: Callable[..., None]) -> None:
    def has_box(path: Path) -> list[bool]:
        shown, _ = pictures(path)
        at = (round(BOX[0] * 5), round((BOX[1] + BOX[3]) / 2 * 5))  # 5: enlarged to 200 px
        green = shown[:, at[1], at[0]] - (94, 230, 140)
        return (np.abs(green).max(axis=1) < 60).tolist()

    black = [np.full((40, 60, 3), 20, np.uint8)] * 12
    write_media(tmp_path / "a.mp4", black, [index / 25 for index in range(12)])
    write_overlay(tmp_path / "a.mp4", predicted([2, 5, 8], [0.08, 0.2, 0.32], block=1), tmp_path / "b.mp4")
    # A row holds until the next, the last one as long as the others.
    assert has_box(tmp_path / "b.mp4") == [False] * 2 + [True] * 9 + [False]
    assert pictures(tmp_path / "b.mp4")[0].shape[1:] == (200, 300, 3)
    write_overlay(tmp_path / "a.mp4", [], tmp_path / "c.mkv")
    assert has_box(tmp_path / "c.mkv") == [False] * 12
    # Rows at twice the rate of pictures.
    write_overlay(tmp_path / "a.mp4", predicted([0, 0, 1, 1], [0, 0.02, 0.04, 0.06]), tmp_path / "d.mp4")
    assert has_box(tmp_path / "d.mp4") == [True] * 2 + [False] * 10


def test_rows_are_read_as_pictures_need_them_in_any_blocks(
    tmp_path: Path, write_media: Callable[..., None]
) -> None:
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (33, 51, 3), np.uint8) for _ in range(30)]
    times_s = [index / 25 for index in range(30)]
    write_media(tmp_path / "a.mp4", noise, times_s, pixel_format="yuv444p")
    num_read, ahead = 0, []

    def counted(block: int) -> Iterator[PredictedRows]:
        nonlocal num_read
        for rows in predicted([*range(30)], times_s, block=block):
            num_read += len(rows)
            yield rows

    def beat() -> None:
        ahead.append(num_read - len(ahead))

    write_overlay(tmp_path / "a.mp4", counted(4), tmp_path / "b.mp4", beat=beat)
    assert len(ahead) == 30
    assert max(ahead) <= 4 + 1
    write_overlay(tmp_path / "a.mp4", counted(30), tmp_path / "c.mp4")
    assert (pictures(tmp_path / "b.mp4")[0] == pictures(tmp_path / "c.mp4")[0]).all()
    # 51 by 33 pixels become 357 by 231, and even.
    assert pictures(tmp_path / "b.mp4")[0].shape == (30, 232, 358, 3)


def test_without_an_encoder_for_h264(
    tmp_path: Path, write_media: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_media(tmp_path / "a.mp4", [np.full((48, 64, 3), 99, np.uint8)] * 12, UNEVEN_S)
    monkeypatch.setattr(av, "codecs_available", {"mpeg4"})
    write_overlay(tmp_path / "a.mp4", predicted([*range(12)], UNEVEN_S), tmp_path / "b.mp4")
    shown, times_s = pictures(tmp_path / "b.mp4")
    np.testing.assert_allclose(times_s, UNEVEN_S, atol=1e-5)
    assert np.abs(shown[:, 4, 4] - 99).max() < 8
    with av.open(str(tmp_path / "b.mp4")) as container:
        assert container.streams.video[0].codec_context.name == "mpeg4"


def test_what_goes_wrong_leaves_nothing_behind(tmp_path: Path, write_media: Callable[..., None]) -> None:
    silence = np.zeros((1, 96_000), np.float32)
    write_media(tmp_path / "a.mp4", [np.zeros((48, 64, 3), np.uint8)] * 4, UNEVEN_S[:4], samples=silence)
    before = {path.name for path in tmp_path.iterdir()}
    out = tmp_path / "b.mp4"

    class HeadTroubleError(ValueError):
        pass

    def troubled() -> Iterator[PredictedRows]:
        yield from predicted([0, 1], [0.0, 0.04])
        raise HeadTroubleError("out of memory")

    with pytest.raises(HeadTroubleError, match="out of memory"):
        write_overlay(tmp_path / "a.mp4", troubled(), out)
    with pytest.raises(ExtractionError, match="got rows for frame 4 and after, which the video does"):
        write_overlay(tmp_path / "a.mp4", predicted([0, 4, 5], [0, 1, 2]), out)
    with pytest.raises(ExtractionError, match="in the order of frames, got frame 0 after 3"):
        write_overlay(tmp_path / "a.mp4", predicted([3, 0], [0, 1]), out)
    with pytest.raises(ExtractionError, match=r"expected a name that ends in \.mp4 or \.mkv, got '\.gif'"):
        write_overlay(tmp_path / "a.mp4", [], tmp_path / "b.gif")
    with pytest.raises(ExtractionError, match=r"b\.mp4' cannot be written, got from FFmpeg: No"):
        write_overlay(tmp_path / "a.mp4", [], tmp_path / "nowhere" / "b.mp4")
    with pytest.raises(MediaError, match="expected a media file, found no file"):
        write_overlay(tmp_path / "none.mp4", [], out)
    assert {path.name for path in tmp_path.iterdir()} == before
