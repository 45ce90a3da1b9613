"""Decoded pictures and their times, in files written with known pictures at known times."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest

from pipeline.config import LimitsConfig, MediaConfig
from pipeline.errors import MediaError
from pipeline.media.video import VideoFrame, decode_video, video_facts

LOSSLESS = {"video_codec": "ffv1", "pixel_format": "bgr0"}


def coded_pictures(count: int, size_px: tuple[int, int] = (64, 48)) -> list[np.ndarray]:
    """Pictures that carry their own number: eight bars, black for 0 and white for 1."""
    width, height = size_px
    pictures = []
    for number in range(count):
        bits = [(number >> bit) & 1 for bit in range(8)]
        bars = np.repeat(np.array(bits, np.uint8) * 255, width // 8)
        pictures.append(np.repeat(np.broadcast_to(bars[None, :, None], (height, width, 1)), 3, axis=2))
    return pictures


def number_of(picture: np.ndarray) -> int:
    bars = picture[:, :, 1].reshape(picture.shape[0], 8, -1)
    return sum(int(bars[:, bit].mean() > 128) << bit for bit in range(8))


def decode(path, media: MediaConfig | None = None, limits: LimitsConfig | None = None) -> list[VideoFrame]:
    return list(decode_video(path, media, limits))


@pytest.mark.parametrize("suffix", ["mkv", "avi"])
def test_pictures_come_back_exactly_from_a_lossless_file(tmp_path, write_media, suffix):
    random = np.random.default_rng(0)
    pictures = [random.integers(0, 256, (30, 44, 3), np.uint8) for _ in range(4)]
    path = tmp_path / f"clip.{suffix}"
    write_media(path, pictures, [0, 0.04, 0.08, 0.12], **LOSSLESS, time_base=Fraction(1, 25))
    frames = decode(path)
    for frame, picture in zip(frames, pictures, strict=True):
        assert frame.rgb.dtype == np.uint8
        assert frame.rgb.flags.c_contiguous
        np.testing.assert_array_equal(frame.rgb, picture)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_uneven_times_are_the_files_own_and_start_where_it_starts(tmp_path, write_media, suffix):
    random = np.random.default_rng(1)
    times_s = (0.852 + np.cumsum(random.integers(9, 120, 60)) / 1000).tolist()
    path = tmp_path / f"clip.{suffix}"
    sound = np.zeros((1, 96_000), np.float32)  # holds the container's timeline at 0
    write_media(path, coded_pictures(60), times_s, samples=sound, time_base=Fraction(1, 1000))
    frames = decode(path)
    assert [frame.index for frame in frames] == list(range(60))
    assert [number_of(frame.rgb) for frame in frames] == list(range(60))
    np.testing.assert_allclose([frame.time_s for frame in frames], times_s, atol=1e-9)


@pytest.mark.parametrize(
    ("suffix", "codec", "start_s"),
    [
        ("mp4", "libx264", 0.0),
        ("mkv", "libx265", 0.0),
        ("webm", "libvpx-vp9", 0.0),
        ("ts", "libx264", None),
        ("mpg", "mpeg1video", None),
        ("avi", "mpeg4", None),
        ("avi", "libx264", None),
    ],
)
def test_every_codec_gives_all_frames_to_the_last_in_order_and_evenly(
    tmp_path, write_media, suffix, codec, start_s
):
    # B-frames are decoded in another order than shown, and held back by the decoder until it is flushed.
    # AVI has no presentation times: its stamps come in decoding order.
    options = {
        "libx264": {"bf": "3", "b-adapt": "0", "crf": "10"},
        "libx265": {"x265-params": "log-level=none:bframes=4:crf=10"},
        "mpeg4": {"bf": "2", "b": "2000000"},
        "mpeg1video": {"bf": "2", "b": "2000000"},
        "libvpx-vp9": {"crf": "10", "deadline": "realtime"},
    }[codec]
    path = tmp_path / f"clip.{suffix}"
    times_s = [frame / 25 for frame in range(40)]
    write_media(
        path,
        coded_pictures(40, (128, 64)),
        times_s,
        video_codec=codec,
        video_options=options,
        time_base=Fraction(1, 25),
    )
    frames = decode(path)
    assert [number_of(frame.rgb) for frame in frames] == list(range(40))
    decoded_s = np.array([frame.time_s for frame in frames])
    np.testing.assert_allclose(np.diff(decoded_s), 0.04, atol=1e-3)
    if start_s is not None:
        np.testing.assert_allclose(decoded_s, times_s, atol=1e-3)


def test_header_counts_are_not_believed(tmp_path, write_media):
    path = tmp_path / "cut.avi"
    pictures = coded_pictures(100)
    write_media(path, pictures, [k / 25 for k in range(100)], **LOSSLESS, time_base=Fraction(1, 25))
    pieces = path.read_bytes().split(b"00dc")  # the mark before each picture, and once in the header
    path.write_bytes(b"00dc".join(pieces[:62]))
    with av.open(str(path)) as container:
        assert container.streams.video[0].frames == 100
    assert [number_of(frame.rgb) for frame in decode(path)] == list(range(60))


def test_decoding_twice_gives_the_same_bytes(tmp_path, write_media):
    random = np.random.default_rng(2)
    coarse = [random.integers(0, 256, (12, 16, 3), np.uint8) for _ in range(20)]
    pictures = [picture.repeat(8, axis=0).repeat(8, axis=1) for picture in coarse]
    path = tmp_path / "clip.mp4"
    write_media(path, pictures, [frame / 25 for frame in range(20)])
    first, second = decode(path), decode(path)
    assert all(np.array_equal(a.rgb, b.rgb) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize(("rotation_deg", "quarter_turns"), [(90, 1), (-90, 3), (180, 2)])
def test_rotated_pictures_are_turned_upright(tmp_path, write_media, rotation_deg, quarter_turns):
    picture = np.full((48, 64, 3), 40, np.uint8)
    picture[:16, :16] = 220  # upper left
    path = tmp_path / "clip.mp4"
    write_media(path, [picture] * 3, [0, 0.04, 0.08], rotation_deg=rotation_deg)
    turned = picture
    for _ in range(quarter_turns):  # counterclockwise: the last column becomes the first row
        turned = turned[:, ::-1].transpose(1, 0, 2)
    decoded = decode(path)[0].rgb
    assert decoded.shape == turned.shape
    assert np.abs(decoded.astype(int) - turned).mean() < 5


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi"])
@pytest.mark.parametrize(
    ("ratio", "width"), [(Fraction(3, 2), 96), (Fraction(8, 9), 57), (Fraction(9, 1), 64)]
)
def test_pixels_become_square_by_their_width(tmp_path, write_media, suffix, ratio, width):
    """A disc in the file's squeezed pixels comes out round; nine times as wide as high is nobody's pixel."""
    believed = float(ratio) if ratio < 4 else 1.0
    rows, columns = np.mgrid[0:48, 0:64]
    disc = np.hypot((columns - 31.5) * believed, rows - 23.5) < 16
    picture = np.repeat((40 + 180 * disc[..., None]).astype(np.uint8), 3, axis=2)
    path = tmp_path / f"clip.{suffix}"
    write_media(
        path,
        [picture] * 3,
        [0, 0.04, 0.08],
        video_codec="mpeg4",
        video_options={"b": "4000000"},
        time_base=Fraction(1, 25),
        pixel_aspect_ratio=ratio,
    )
    decoded = decode(path)[0].rgb
    assert decoded.shape == (48, width, 3)
    bright = np.argwhere(decoded[..., 1] > 130)
    height_px, width_px = np.ptp(bright, axis=0) + 1
    assert height_px == pytest.approx(32, abs=1)
    assert width_px == pytest.approx(32, abs=2)
    assert video_facts(path)["pixel_aspect_ratio"] == pytest.approx(believed)


def test_turned_pictures_are_squared_before_they_are_turned(tmp_path, write_media):
    path = tmp_path / "clip.mp4"
    picture = np.full((48, 64, 3), 40, np.uint8)
    write_media(path, [picture] * 3, [0, 0.04, 0.08], rotation_deg=90, pixel_aspect_ratio=Fraction(2, 1))
    assert decode(path)[0].rgb.shape == (128, 48, 3)


@pytest.mark.parametrize("codec", ["libx264", "libx265", "mpeg4", "libvpx-vp9", "mjpeg"])
def test_without_pictures_times_and_numbers_are_the_same(tmp_path, write_media, codec):
    random = np.random.default_rng(4)
    pictures = list(random.integers(0, 256, (30, 6, 8, 3), np.uint8).repeat(8, axis=1).repeat(8, axis=2))
    path = tmp_path / "clip.mkv"
    write_media(
        path,
        pictures,
        [0.4 + frame / 25 for frame in range(30)],
        video_codec=codec,
        video_options={"x265-params": "log-level=none"} if codec == "libx265" else {},
        pixel_format="yuvj420p" if codec == "mjpeg" else "yuv420p",
        time_base=Fraction(1, 25),
    )
    with_pictures = decode(path)
    without = list(decode_video(path, pictures=False))
    assert all(frame.rgb is None for frame in without)
    assert [(f.index, f.time_s, f.row_times_s) for f in without] == [
        (f.index, f.time_s, f.row_times_s) for f in with_pictures
    ]
    assert len(without) == 30


def test_rows_at_a_rate_of_their_own_show_the_nearest_frame(tmp_path, write_media):
    times_s = (0.852 + np.cumsum(np.random.default_rng(5).integers(9, 120, 60)) / 1000).tolist()
    path = tmp_path / "clip.mkv"
    write_media(path, coded_pictures(60), times_s, time_base=Fraction(1, 1000))
    own = decode(path)
    assert all(frame.row_times_s == (frame.time_s,) for frame in own)
    for rate in (5.0, 25.0, 29.97, 100.0):
        frames = decode(path, MediaConfig(resample_fps=rate))
        rows = [(time_s, frame.index) for frame in frames for time_s in frame.row_times_s]
        assert all(number_of(frame.rgb) == frame.index for frame in frames)
        expected_s = times_s[0] + np.arange(len(rows)) / rate
        np.testing.assert_allclose([time_s for time_s, _ in rows], expected_s, atol=1e-9)
        assert times_s[-1] - 0.5 / rate < rows[-1][0] <= times_s[-1] + 0.5 / rate
        nearest = [int(np.argmin(np.abs(np.array(times_s) - time_s).round(7))) for time_s in expected_s]
        assert [index for _, index in rows] == nearest
        assert [frame.time_s for frame in frames] == [own[frame.index].time_s for frame in frames]


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (
            {"picture_px": 64 * 48 - 1},
            r"at most 3071 pixels, found 64 by 48; .* raise extract\.limits\.picture_px",
        ),
        ({"frame_rate_hz": 24.9}, r"24\.9 frames per second, found a header that claims 25; .*frame_rate_hz"),
        ({"frames": 59}, r"at most 59 frames, found more; .* raise extract\.limits\.frames"),
        ({"frames": 5}, r"at most 5 frames, found a header that claims 60; "),
    ],
)
def test_what_exceeds_a_limit_is_refused_and_what_reaches_it_is_not(tmp_path, write_media, limits, said):
    path = tmp_path / "clip.avi"
    write_media(path, coded_pictures(60), [k / 25 for k in range(60)], **LOSSLESS, time_base=Fraction(1, 25))
    with pytest.raises(MediaError, match=r"clip\.avi': expected .*" + said):
        decode(path, None, LimitsConfig(**limits))
    assert len(decode(path, None, LimitsConfig(picture_px=64 * 48, frame_rate_hz=25, frames=60))) == 60


def test_the_count_of_an_mp4_is_believed_as_its_table_is_what_is_decoded(tmp_path, write_media):
    path = tmp_path / "clip.mp4"
    write_media(path, coded_pictures(60), [k / 25 for k in range(60)])
    with pytest.raises(MediaError, match=r"at most 59 frames, found a header that claims 60; "):
        decode(path, None, LimitsConfig(frames=59))
    assert len(decode(path, None, LimitsConfig(frames=60))) == 60


def test_rows_are_limited_as_frames_are(tmp_path, write_media):
    """A stamp that is hours off makes millions of rows, of two pictures."""
    path = tmp_path / "clip.mkv"
    write_media(path, coded_pictures(2), [0, 40_000], video_codec="mjpeg", pixel_format="yuvj420p")
    assert len(decode(path)) == 2
    with pytest.raises(
        MediaError, match=r"at most 2000000 frames, found 20000001 rows at extract.media.resample_f"
    ):
        decode(path, MediaConfig(resample_fps=1000))


def test_full_and_limited_range_give_the_same_grey(tmp_path, write_media):
    levels = np.repeat(np.arange(16, 240, 14, dtype=np.uint8)[None, :], 48, axis=0).repeat(4, axis=1)
    picture = np.repeat(levels[:, :, None], 3, axis=2)
    for name, pixel_format in [("limited.mkv", "yuv444p"), ("full.mkv", "yuvj444p")]:
        path = tmp_path / name
        codec = {"video_codec": "mjpeg"} if pixel_format.startswith("yuvj") else {"video_codec": "ffv1"}
        write_media(path, [picture] * 2, [0, 0.04], **codec, pixel_format=pixel_format)
        assert np.abs(decode(path)[0].rgb.astype(int) - picture).max() <= 3


def test_repeated_stamps_are_spread_by_ticks_and_a_clock_that_runs_back_is_refused(tmp_path, write_media):
    def with_stamps(name: str, stamps_ms: list[int]):
        """A Matroska file with overwritten stamps; each frame is a whole picture, so that order is free."""
        path = tmp_path / name
        with av.open(str(path), "w") as container:
            stream = container.add_stream("mjpeg", rate=25)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
            stream.codec_context.time_base = Fraction(1, 1000)
            packets = []
            for frame_number, picture in enumerate(coded_pictures(len(stamps_ms))):
                frame = av.VideoFrame.from_ndarray(picture, "rgb24")
                frame.pts = 40 * frame_number
                packets += stream.encode(frame)
            packets += stream.encode()
            for order, (packet, stamp) in enumerate(zip(packets, stamps_ms, strict=True)):
                packet.pts, packet.dts = stamp, order - 1000
                container.mux(packet)
        return path

    frames = decode(with_stamps("repeated.mkv", [0, 40, 40, 80]))
    assert [number_of(frame.rgb) for frame in frames] == [0, 1, 2, 3]
    np.testing.assert_allclose([frame.time_s for frame in frames], [0, 0.04, 0.041, 0.08], atol=1e-9)
    with pytest.raises(
        MediaError, match=r"back\.mkv': expected rising times, found frame 2 .*0\.001 s after"
    ):
        decode(with_stamps("back.mkv", [0, 400, 1, 440]))


def test_a_file_without_video_is_refused(tmp_path, write_media):
    path = tmp_path / "sound.mp4"
    write_media(path, [], [], samples=np.zeros((1, 4800), np.float32))
    with pytest.raises(MediaError, match=r"sound\.mp4': expected a video stream, found none"):
        decode(path)


def test_damage_in_the_middle_is_named(tmp_path, write_media):
    random = np.random.default_rng(3)
    pictures = [random.integers(0, 256, (48, 64, 3), np.uint8) for _ in range(10)]
    path = tmp_path / "clip.mp4"
    write_media(path, pictures, [frame / 25 for frame in range(10)], video_codec="libvpx-vp9")
    content = bytearray(path.read_bytes())
    content[len(content) // 3 : len(content) // 3 + 3000] = bytes(3000)
    path.write_bytes(bytes(content))
    with pytest.raises(MediaError, match=r"clip\.mp4': .*Invalid data"):
        decode(path)


def test_facts_of_a_file_with_and_without_sound(tmp_path, write_media):
    path = tmp_path / "clip.mp4"
    sound = np.zeros((2, 44_100), np.float32)
    write_media(path, coded_pictures(25), [k / 25 for k in range(25)], samples=sound, sample_rate_hz=44_100)
    assert video_facts(path) == {
        "container": "mov,mp4,m4a,3gp,3g2,mj2",
        "codec": "h264",
        "width": 64,
        "height": 48,
        "pixel_format": "yuv420p",
        "average_rate_hz": 25.0,
        "audio_codec": "aac",
        "sample_rate_hz": 44_100,
        "num_channels": 2,
        "pixel_aspect_ratio": 1.0,
        "num_video_streams": 1,
        "num_audio_streams": 1,
    }
    silent = tmp_path / "silent.mkv"
    write_media(silent, coded_pictures(25), [k / 25 for k in range(25)], video_codec="libvpx-vp9")
    facts = video_facts(silent)
    assert facts["codec"] == "vp9"
    assert (facts["audio_codec"], facts["sample_rate_hz"], facts["num_channels"]) == (None, None, None)
