"""A flash and a click made together land on the same row, within one frame, in whatever file they come.

The row of the flash is that of the white picture; the row of the click is the one whose example holds the
click nearest to its middle. Both go the whole way: decoder, timeline, log-mel, examples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from pipeline.config import MediaConfig
from pipeline.errors import MediaError
from pipeline.media.audio import stream_sound
from pipeline.media.log_mel import LogMelStream
from pipeline.media.video import VideoFrame, decode_video

# A window of 25 ms is loudest when its middle lies on the middle of the click; the example's middle is 48.75
# rows after its beginning.
CENTER_ROW = 48.75 - 1.25 + 0.25


@dataclass
class Rows:
    """What stage one makes of a file: times, the picture that each row shows, and whether it hears sound."""

    times_s: np.ndarray
    source_frames: list[int]
    audio_found: np.ndarray
    flash_row: int
    click_row: int | None


def rows_of(path: Path, media: MediaConfig | None = None) -> Rows:
    times_s: list[float] = []
    shown: list[VideoFrame] = []
    for frame in decode_video(path, media):
        times_s += frame.row_times_s
        shown += [frame] * len(frame.row_times_s)
    brightness = [frame.rgb.mean() for frame in shown]
    assert max(brightness) > 180
    assert np.median(brightness) < 80
    examples = LogMelStream(stream_sound(path, media), "center")
    found, distances = [], []
    for begin in range(0, len(times_s), 64):
        block, of_block = examples.block(times_s[begin : begin + 64])
        found.append(of_block)
        for first in block.first_rows:
            loudness = block.grid[first : first + 96].mean(axis=1)
            loudest = int(loudness.argmax())
            heard = loudness[loudest] > np.median(loudness) + 0.5
            distances.append(abs(loudest - CENTER_ROW) if heard else np.inf)
    return Rows(
        times_s=np.array(times_s),
        source_frames=[frame.index for frame in shown],
        audio_found=np.concatenate(found),
        flash_row=int(np.argmax(brightness)),
        click_row=int(np.argmin(distances)) if np.isfinite(distances).any() else None,
    )


# How the file is written, what is planted, and what is asked for.
@dataclass
class Variant:
    suffix: str = "mkv"
    written: dict[str, Any] | None = None
    planted: dict[str, Any] | None = None
    media: MediaConfig | None = None
    keeps_times: bool = True  # containers that give all streams a delay of their own do not


def steady(fps: int | Fraction, **written: Any) -> Variant:
    """Constant rate."""
    return Variant("mp4", {"rate": fps, **written}, {"fps": fps, "num_frames": round(2 * fps)})


def uneven(seed: int) -> list[float]:
    steps_ms = np.random.default_rng(seed).choice([17, 33, 34, 50, 100], 60)
    return (np.cumsum(steps_ms) / 1000).tolist()


PCM = {"audio_codec": "pcm_s16le"}
VP8 = {"video_codec": "libvpx", "audio_codec": "libopus", "video_options": {"deadline": "realtime"}}
VP9 = {**VP8, "video_codec": "libvpx-vp9", "video_options": {"deadline": "realtime", "cpu-used": "8"}}
HEVC = {"video_codec": "libx265", "video_options": {"preset": "ultrafast", "x265-params": "log-level=none"}}
AV1 = {"video_codec": "libsvtav1", "video_options": {"preset": "13"}}
B_FRAMES = {"video_options": {"bf": "3", "b-adapt": "0"}}
TICKS = {"time_base": Fraction(1, 25)}  # MPEG's encoders count frames
BROADCAST = {"audio_codec": "mp2", "video_options": {"bf": "2", "b": "2000000"}, **TICKS}

VARIANTS = {
    # Rates.
    "23.976 fps": steady(Fraction(24_000, 1001)),
    "24 fps": steady(24),
    "25 fps": steady(25, **B_FRAMES),
    "29.97 fps": steady(Fraction(30_000, 1001)),
    "50 fps": steady(50, **B_FRAMES),
    "60 fps": steady(60),
    "variable rate, mp4": Variant("mp4", {"time_base": Fraction(1, 1000)}, {"times_s": uneven(0)}),
    "variable rate, webm": Variant("webm", VP8, {"times_s": uneven(1)}),
    # Turned and squeezed pictures.
    "rotated by 90": steady(25, rotation_deg=90),
    "rotated by 180": steady(25, rotation_deg=180),
    "rotated by 270": steady(25, rotation_deg=-90),
    "wide pixels": steady(25, pixel_aspect_ratio=Fraction(64, 45)),
    # Sound and pictures that do not start or end together.
    "pictures start late": Variant("mp4", {}, {"video_start_s": 0.852, "event_s": 1.7, "sound_s": (0, 3)}),
    "sound starts late": Variant("mp4", {}, {"sound_s": (0.8, 2.0)}),
    "sound starts late, mkv": Variant("mkv", {}, {"sound_s": (0.8, 2.0)}),
    "sound starts early": Variant("mkv", PCM, {"video_start_s": 0.6, "event_s": 1.4, "sound_s": (0.0, 2.0)}),
    "sound ends early": Variant("mp4", {}, {"sound_s": (0.0, 1.3)}),
    "gap before the click": Variant("mkv", {**PCM, "sound_gap_s": (0.3, 0.9)}, {}),
    "gap before the click, aac": Variant("mp4", {"sound_gap_s": (0.3, 0.9)}, {}),
    # Priming: 1024 samples of AAC, 312 of Opus, 1105 of MP3.
    "edit list of aac": Variant("mp4", {"audio_codec": "aac"}, {"sample_rate_hz": 16_000}),
    "codec delay of opus": Variant("mkv", {"audio_codec": "libopus"}, {}),
    "start padding of mp3": Variant("mp4", {"audio_codec": "libmp3lame"}, {"sample_rate_hz": 44_100}),
    # Rates, channels and depths.
    **{
        f"{rate} Hz": Variant("mkv", PCM, {"sample_rate_hz": rate})
        for rate in (8000, 11_025, 16_000, 22_050, 44_100, 48_000)
    },
    "stereo": Variant("mp4", {}, {"num_channels": 2}),
    "5.1": Variant("mp4", {}, {"num_channels": 6}),
    "10 bit H.264": Variant("mp4", {"pixel_format": "yuv420p10le"}),
    "10 bit HEVC": Variant("mp4", {**HEVC, "pixel_format": "yuv420p10le"}),
    "10 bit AV1": Variant("mp4", {**AV1, "pixel_format": "yuv420p10le"}, {"size_px": (64, 64)}),
    # Codecs and containers.
    "MPEG-1 in a program stream": Variant(
        "mpg", {**BROADCAST, "video_codec": "mpeg1video"}, keeps_times=False
    ),
    "MPEG-2 in a program stream": Variant(
        "vob", {**BROADCAST, "video_codec": "mpeg2video"}, keeps_times=False
    ),
    "MPEG-2 in a transport stream": Variant(
        "ts", {**BROADCAST, "video_codec": "mpeg2video"}, keeps_times=False
    ),
    "H.264 in a transport stream": Variant("ts", B_FRAMES, keeps_times=False),
    "HEVC in a transport stream, sound late": Variant(
        "ts", {**HEVC, "audio_codec": "mp2"}, {"sound_s": (0.7, 2.0)}, keeps_times=False
    ),
    "MPEG-2 in mxf": Variant("mxf", {"video_codec": "mpeg2video", **TICKS, **PCM}),
    "MPEG-4 in avi": Variant(
        "avi", {"video_codec": "mpeg4", "audio_codec": "pcm_u8", **TICKS}, {"sample_rate_hz": 11_025}
    ),
    "MPEG-4 with B-frames in avi": Variant(
        "avi", {"video_codec": "mpeg4", "video_options": {"bf": "2"}, **TICKS, **PCM}, keeps_times=False
    ),
    "H.264 in mov": Variant("mov", {**B_FRAMES, **PCM}),
    "H.264 in 3gp": Variant("3gp", {}, {"sample_rate_hz": 16_000}),
    "H.264 in flv": Variant("flv", {}, {"sample_rate_hz": 44_100}, keeps_times=False),
    "HEVC in mp4": Variant("mp4", HEVC),
    "VP8 in webm": Variant("webm", VP8),
    "VP8 in ogg": Variant("ogv", {**VP8, "rate": 25, "time_base": Fraction(1, 25)}),
    "VP9 in webm": Variant("webm", VP9),
    "VP9 in mp4": Variant("mp4", {**VP9, "audio_codec": "aac"}),
    "AV1 in mp4": Variant("mp4", AV1, {"size_px": (64, 64)}),
    "AV1 in webm": Variant("webm", {**AV1, "audio_codec": "libopus"}, {"size_px": (64, 64)}),
    "WMV in asf": Variant(
        "wmv",
        {"video_codec": "wmv2", "audio_codec": "wmav2", "audio_options": {"b": "64000"}, **TICKS},
        keeps_times=False,
    ),
    # Lengths that no header tells.
    "unknown length, webm": Variant("webm", {**VP8, "seekable": False}),
    "unknown length, mkv": Variant("mkv", {**PCM, "seekable": False}),
    "unknown length, flv": Variant("flv", {"seekable": False}, {"sample_rate_hz": 44_100}, keeps_times=False),
    "fragments": Variant(
        "mp4",
        {"container_options": {"movflags": "frag_keyframe+empty_moov"}, "seekable": False},
        keeps_times=False,
    ),
    # Rows at a rate of their own.
    "25 fps as 10": Variant("mp4", {}, {}, MediaConfig(resample_fps=10)),
    "29.97 fps as 60": Variant(
        "mp4", {"rate": Fraction(30_000, 1001)}, {"fps": Fraction(30_000, 1001)}, MediaConfig(resample_fps=60)
    ),
    "variable rate as 25": Variant(
        "mp4", {"time_base": Fraction(1, 1000)}, {"times_s": uneven(2)}, MediaConfig(resample_fps=25)
    ),
}


@pytest.fixture
def write_variant(tmp_path, write_media, flash_and_click) -> Callable[[Variant], tuple[Path, float, dict]]:
    def write(variant: Variant) -> tuple[Path, float, dict[str, Any]]:
        path = tmp_path / f"clip.{variant.suffix}"
        arguments, event_s = flash_and_click(**{"event_s": 1.1, **(variant.planted or {})})
        write_media(path, **{**arguments, **(variant.written or {})})
        return path, event_s, arguments

    return write


@pytest.mark.parametrize("name", VARIANTS)
def test_flash_and_click_land_on_one_row(write_variant, name):
    variant = VARIANTS[name]
    path, event_s, planted = write_variant(variant)
    rows = rows_of(path, variant.media)
    assert rows.click_row is not None
    assert abs(rows.click_row - rows.flash_row) <= 1
    assert rows.audio_found[rows.flash_row]
    assert (np.diff(rows.times_s) > 0).all()
    white = int(np.argmax([picture.mean() for picture in planted["pictures"]]))
    if variant.media is None:
        assert rows.source_frames == list(range(len(planted["times_s"])))
        assert rows.flash_row == white
        written_s = np.array(planted["times_s"])
        np.testing.assert_allclose(rows.times_s - rows.times_s[0], written_s - written_s[0], atol=1.1e-3)
    else:
        assert rows.source_frames[rows.flash_row] == white
        np.testing.assert_allclose(np.diff(rows.times_s), 1 / variant.media.resample_fps, atol=1e-9)
    if variant.keeps_times:
        step_s = max(np.diff(rows.times_s).max(), 1e-3) if variant.media else 2e-3
        assert rows.times_s[rows.flash_row] == pytest.approx(event_s, abs=step_s)


def test_rows_that_no_sound_reaches_stay_and_say_so(write_variant):
    """Sound from 0.9 s to 1.3 s: examples of 0.975 s reach it from 0.4125 s to 1.7875 s."""
    variant = Variant("mkv", PCM, {"sound_s": (0.9, 1.3), "num_frames": 60})
    path, _, planted = write_variant(variant)
    rows = rows_of(path)
    assert abs(rows.click_row - rows.flash_row) <= 1
    expected = [0.4125 < time_s < 1.7875 for time_s in planted["times_s"]]
    assert rows.audio_found.tolist() == expected


def test_rows_of_a_file_without_sound_are_all_there_and_found_nothing(write_variant):
    path, _, planted = write_variant(Variant("mp4", {"samples": None}))
    rows = rows_of(path)
    assert (rows.click_row, rows.audio_found.any()) == (None, False)
    assert rows.source_frames == list(range(50))
    assert rows.flash_row == int(np.argmax([picture.mean() for picture in planted["pictures"]]))


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
@pytest.mark.parametrize(("video", "audio"), [(None, None), (0, 1), (1, 0), (2, 2), (1, None)])
def test_of_several_streams_the_default_or_the_chosen_ones_are_taken(
    write_variant, flash_and_click, suffix, video, audio
):
    """Three pairs of streams with their events 0.4 s apart; the second pair is marked as the one to play."""
    pairs = [flash_and_click(0.5 + 0.4 * number) for number in range(3)]
    further = {
        "further_pictures": [pair["pictures"] for pair, _ in pairs[1:]],
        "further_samples": [pair["samples"] for pair, _ in pairs[1:]],
        "default_streams": (1, 1),
        "audio_codec": "mp2",
    }
    path, _, _ = write_variant(Variant(suffix, further, {"event_s": 0.5}))
    rows = rows_of(path, MediaConfig(video_stream=video, audio_stream=audio))
    default = 0 if suffix == "ts" else 1  # a transport stream has no marks
    flash, click = (default if number is None else number for number in (video, audio))
    start_s = rows.times_s[0]
    assert rows.times_s[rows.flash_row] - start_s == pytest.approx(pairs[flash][1], abs=1e-3)
    assert rows.times_s[rows.click_row] - start_s == pytest.approx(pairs[click][1], abs=0.041)


def test_streams_that_are_not_there_are_named(write_variant):
    path, _, _ = write_variant(Variant("mp4"))
    for media, said in [
        (
            MediaConfig(video_stream=1),
            r"expected video stream 1, counted from 0, found 1 video stream; .*video_st",
        ),
        (
            MediaConfig(audio_stream=2),
            r"expected audio stream 2, counted from 0, found 1 audio stream; .*audio_st",
        ),
    ]:
        with pytest.raises(MediaError, match=said):
            rows_of(path, media)


def test_a_file_cut_out_of_a_longer_one_by_its_edit_list_shows_what_players_show(write_variant, tmp_path):
    """As 'ffmpeg -ss 0.44 -c copy' leaves it: packets before the cut are there and are not to be shown."""
    path, event_s, _ = write_variant(Variant("mp4", {"video_options": {"g": "50"}}))
    cut = tmp_path / "cut.mp4"
    with (
        av.open(str(path)) as whole,
        av.open(str(cut), "w", options={"avoid_negative_ts": "disabled"}) as part,
    ):
        copies = {stream.index: part.add_stream_from_template(stream) for stream in whole.streams}
        for packet in whole.demux():
            if packet.dts is not None:
                shift = round(Fraction(44, 100) / packet.time_base)
                packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                packet.stream = copies[packet.stream.index]
                part.mux(packet)
    rows = rows_of(cut)
    assert abs(rows.click_row - rows.flash_row) <= 1
    assert len(rows.times_s) == 50 - 11
    assert rows.times_s[0] == pytest.approx(0, abs=1e-3)
    assert rows.times_s[rows.flash_row] == pytest.approx(event_s - 0.44, abs=1e-3)


@pytest.mark.parametrize(
    ("suffix", "written"),
    [
        ("mkv", PCM),
        ("webm", VP8),
        ("ts", {**BROADCAST, "video_codec": "mpeg2video"}),
        ("mpg", {**BROADCAST, "video_codec": "mpeg1video"}),
        ("avi", {"video_codec": "mpeg4", **TICKS, **PCM}),
        ("flv", {"sample_rate_hz": 44_100}),
        ("mp4", {"container_options": {"movflags": "faststart"}}),
        ("mp4", {"container_options": {"movflags": "frag_keyframe+empty_moov"}, "video_options": {"g": "5"}}),
    ],
)
def test_a_file_cut_short_gives_what_it_holds(write_variant, suffix, written):
    path, _, _ = write_variant(Variant(suffix, written, {"event_s": 0.2}))
    whole = rows_of(path)
    content = path.read_bytes()
    # MP4 is cut within media: what lacks half a header cannot be opened.
    cut = content.rindex(b"mdat", 0, int(0.8 * len(content))) if suffix == "mp4" else int(0.3 * len(content))
    path.write_bytes(content[: cut + (len(content) - cut) * 3 // 4])
    rows = rows_of(path)
    num_rows = len(rows.times_s)
    assert 12 <= num_rows <= 50
    assert rows.flash_row == whole.flash_row
    assert abs(rows.click_row - rows.flash_row) <= 1
    # Of the last pictures, those that others are predicted from are stored, and cut, first.
    np.testing.assert_allclose(rows.times_s[: num_rows - 3], whole.times_s[: num_rows - 3], atol=1e-9)
    assert set(rows.times_s) <= set(whole.times_s)


def test_bare_mpeg_pictures_have_even_times(write_variant):
    path, _, _ = write_variant(
        Variant("m2v", {"video_codec": "mpeg2video", **TICKS, "samples": None, "video_options": {"bf": "2"}})
    )
    rows = rows_of(path)
    assert rows.source_frames == list(range(50))
    np.testing.assert_allclose(np.diff(rows.times_s), 0.04, atol=1e-6)
    assert rows.flash_row == 27
