"""Sound on the pictures' timeline: planted events, gaps, formats; FFmpeg's own alignment is an oracle."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import av
import numpy as np
import pytest

from pipeline.config import LimitsConfig, MediaConfig
from pipeline.errors import MediaError
from pipeline.media.audio import SAMPLE_RATE_HZ, Sound, SoundLayout, stream_sound
from pipeline.media.video import decode_video

GREY = np.full((48, 64, 3), 90, np.uint8)


@dataclass
class Waveform:
    """All pieces in one: samples, and the stretches of them that were decoded, in seconds."""

    samples: np.ndarray
    start_s: float
    spans: list[tuple[float, float]]


def joined(pieces: Iterable[Sound], start_s: float) -> Waveform:
    samples, spans = [np.zeros(0, np.float32)], []
    position = 0
    for piece in pieces:
        assert piece.first_sample == position
        assert len(piece.samples) > 0
        assert piece.samples.dtype == np.float32
        position += len(piece.samples)
        samples.append(piece.samples)
        begin_s, end_s = start_s + piece.first_sample / SAMPLE_RATE_HZ, start_s + position / SAMPLE_RATE_HZ
        if piece.decoded and spans and spans[-1][1] == begin_s:
            spans[-1] = (spans[-1][0], end_s)
        elif piece.decoded:
            spans.append((begin_s, end_s))
        else:
            assert not piece.samples.any()
    return Waveform(samples=np.concatenate(samples), start_s=start_s, spans=spans)


def read_waveform(path) -> Waveform:
    sound = stream_sound(path)
    return joined(sound.pieces, sound.start_s)


def lay_out(blocks: Iterable[tuple[np.ndarray, float | None, int]], max_length_s: float = 3600.0) -> Waveform:
    layout = SoundLayout("'clip'", max_length_s)
    pieces = [piece for block in blocks for piece in layout.add(*block)]
    return joined([*pieces, *layout.finish()], layout.start_s)


def onset_s(waveform: Waveform) -> float:
    """Time of the first loud sample."""
    return waveform.start_s + float(np.argmax(np.abs(waveform.samples) > 0.25)) / SAMPLE_RATE_HZ


def onset_s_by_ffmpeg(path) -> float:
    """The same by FFmpeg's resampler, which pads and trims by stamps so that sample 0 is time 0."""
    graph = av.filter.Graph()
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        source = graph.add_abuffer(template=stream)
        resampler = graph.add("aresample", f"{SAMPLE_RATE_HZ}:async=1:first_pts=0")
        form = graph.add("aformat", "sample_fmts=flt:channel_layouts=mono")
        sink = graph.add("abuffersink")
        source.link_to(resampler)
        resampler.link_to(form)
        form.link_to(sink)
        graph.configure()
        pieces = []
        for frame in [*container.decode(stream), None]:
            graph.push(frame)
            while True:
                try:
                    pieces.append(graph.pull().to_ndarray()[0])
                except (av.BlockingIOError, av.EOFError):
                    break
    return float(np.argmax(np.abs(np.concatenate(pieces)) > 0.25)) / SAMPLE_RATE_HZ


def white_frame_s(path) -> float:
    (time_s,) = [frame.time_s for frame in decode_video(path) if frame.rgb.mean() > 150]
    return time_s


@pytest.mark.parametrize(
    ("suffix", "codecs", "timing"),
    [
        ("mp4", {"audio_codec": "aac"}, {"event_s": 1.0}),
        ("mp4", {"audio_codec": "aac"}, {"event_s": 1.5, "sound_s": (0.8, 2.0)}),
        ("mp4", {"audio_codec": "aac"}, {"event_s": 0.7, "sound_s": (0.0, 1.1)}),
        ("mp4", {"audio_codec": "aac"}, {"event_s": 2.0, "sound_s": (0.0, 3.0), "video_start_s": 0.852}),
        ("mp4", {"audio_codec": "libopus"}, {"event_s": 1.0}),
        ("mkv", {"audio_codec": "aac"}, {"event_s": 1.5, "sound_s": (0.8, 2.0)}),
        ("mkv", {"audio_codec": "libopus"}, {"event_s": 1.5, "sound_s": (0.8, 2.0)}),
        ("mkv", {"audio_codec": "flac"}, {"event_s": 2.0, "sound_s": (0.0, 3.0), "video_start_s": 0.852}),
        ("mkv", {"audio_codec": "pcm_s16le"}, {"event_s": 1.0, "sample_rate_hz": 8000}),
        ("ts", {"audio_codec": "mp2"}, {"event_s": 1.5, "sound_s": (0.8, 2.0)}),
        ("flv", {"audio_codec": "aac"}, {"event_s": 1.0, "sample_rate_hz": 44_100}),
        ("webm", {"audio_codec": "libopus", "video_codec": "libvpx"}, {"event_s": 1.0}),
    ],
)
def test_a_flash_and_a_click_made_together_are_heard_together(
    tmp_path, write_media, flash_and_click, suffix, codecs, timing
):
    path = tmp_path / f"clip.{suffix}"
    arguments, event_s = flash_and_click(**timing)
    write_media(path, **arguments, **codecs)
    waveform = read_waveform(path)
    assert onset_s(waveform) == pytest.approx(white_frame_s(path), abs=0.002)
    assert onset_s(waveform) == pytest.approx(onset_s_by_ffmpeg(path), abs=0.002)
    if suffix in ("mp4", "mkv"):  # the others shift all times by a delay of their own
        assert onset_s(waveform) == pytest.approx(event_s, abs=0.002)


def test_spans_tell_where_sound_was_decoded(tmp_path, write_media):
    path = tmp_path / "clip.mkv"
    sound = np.zeros((1, 24_000), np.float32)  # digital silence is sound
    write_media(path, [GREY] * 3, [0, 0.04, 0.08], samples=sound, sound_start_s=0.4, audio_codec="pcm_s16le")
    waveform = read_waveform(path)
    assert waveform.start_s == pytest.approx(0.4, abs=1e-3)
    assert waveform.spans == [pytest.approx((0.4, 0.9), abs=1e-3)]
    assert len(waveform.samples) == 8000


def test_a_gap_is_silence_of_its_length_and_no_span(tmp_path, write_media):
    rate = 16_000
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(2 * rate) / rate)[None].astype(np.float32)
    path = tmp_path / "clip.mkv"
    write_media(
        path,
        [GREY] * 3,
        [0, 0.04, 0.08],
        samples=tone,
        sample_rate_hz=rate,
        sound_gap_s=(0.7, 1.2),
        audio_codec="pcm_s16le",
    )
    waveform = read_waveform(path)
    # Blocks of 1024 samples that touch the gap are missing: 10 to 18.
    first, stop = 10 * 1024, 19 * 1024
    assert np.array(waveform.spans) == pytest.approx(
        np.array([(0, first / rate), (stop / rate, 2)]), abs=1e-3
    )
    lost = waveform.samples[first + 16 : stop - 16]
    assert not lost.any()
    assert len(waveform.samples) == pytest.approx(2 * rate, abs=16)
    np.testing.assert_allclose(waveform.samples[:first], tone[0, :first], atol=1e-4)
    behind = slice(stop + 160, 2 * rate - 160)  # stamps of Matroska are rounded to 1 ms: compare by loudness
    assert np.sqrt(np.mean(waveform.samples[behind] ** 2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.01)


def test_stamps_that_jitter_are_no_gaps_and_overlaps_are_trimmed():
    def laid_out(*stamped: tuple[float, int, float]) -> Waveform:
        return lay_out(
            (np.full(num_samples, value, np.float32), stamp_ms / 1000, SAMPLE_RATE_HZ)
            for stamp_ms, num_samples, value in stamped
        )

    jitter = laid_out((100, 320, 1), (119, 320, 2), (148, 320, 3))
    np.testing.assert_array_equal(jitter.samples, np.repeat([1, 2, 3], 320))
    assert jitter.spans == [pytest.approx((0.1, 0.16))]
    # The third block begins 15 ms before the second ends, the fourth lies wholly in what was heard.
    overlap = laid_out((0, 320, 1), (20, 320, 2), (25, 320, 3), (5, 160, 4), (45, 160, 5))
    np.testing.assert_array_equal(overlap.samples, np.repeat([1, 2, 3, 5], [320, 320, 80, 160]))
    gap = laid_out((0, 160, 1), (21, 160, 2))
    np.testing.assert_array_equal(gap.samples, np.repeat([1, 0, 2], [160, 176, 160]))
    assert gap.spans == [pytest.approx((0, 0.01)), pytest.approx((0.021, 0.031))]


def test_a_block_without_a_stamp_follows_on():
    waveform = lay_out((np.ones(160, np.float32), stamp_s, SAMPLE_RATE_HZ) for stamp_s in (0.5, None))
    assert (waveform.start_s, len(waveform.samples), len(waveform.spans)) == (0.5, 320, 1)


def test_another_rate_in_mid_stream_keeps_pitch_and_time():
    def blocks():
        for begin_s, rate in ((0.0, 48_000), (0.5, 24_000)):
            time = begin_s + np.arange(rate // 2) / rate
            yield np.sin(2 * np.pi * 500 * time).astype(np.float32), begin_s, rate

    waveform = lay_out(blocks())
    expected = np.sin(2 * np.pi * 500 * np.arange(16_000) / 16_000)
    assert len(waveform.samples) == 16_000
    inner = np.r_[50:7950, 8050:15_950]  # away from the ends of the two filters
    np.testing.assert_allclose(waveform.samples[inner], expected[inner], atol=5e-3)


def test_segments_that_end_between_two_samples_share_no_sample_and_leave_none_out():
    # 441 samples at 44.1 kHz are 160 samples at 16 kHz; 450 are 163.27, of which the last is half another's.
    blocks = [(np.ones(450, np.float32), 0.0, 44_100), (np.ones(320, np.float32), None, 16_000)]
    assert len(lay_out(blocks).samples) == 163 + 320
    later = [(np.ones(450, np.float32), 0.0, 44_100), (np.ones(320, np.float32), 1.0, 16_000)]
    assert [round(16_000 * time_s) for span in lay_out(later).spans for time_s in span] == [
        0,
        164,
        16_000,
        16_320,
    ]


def test_pieces_come_while_the_sound_is_decoded_and_none_is_long():
    layout = SoundLayout("'clip'", 1e5)
    minute = np.ones(60 * 44_100, np.float32)
    heard = [sum(len(piece.samples) for piece in layout.add(minute, 60.0 * k, 44_100)) for k in range(3)]
    assert min(heard) > 29 * SAMPLE_RATE_HZ  # of each minute, before the next one comes
    later = list(layout.add(minute, 7200.0, 44_100))
    assert sum(len(piece.samples) for piece in later if not piece.decoded) == (7200 - 180) * SAMPLE_RATE_HZ
    assert max(len(piece.samples) for piece in [*later, *layout.finish()]) <= 31 * SAMPLE_RATE_HZ


@pytest.mark.parametrize(
    ("codec", "tolerance"),
    [("pcm_u8", 1 / 128), ("pcm_s16le", 1e-4), ("pcm_s24le", 1e-6), ("pcm_f32le", 1e-7), ("pcm_f64le", 1e-7)],
)
def test_full_scale_is_one_in_every_sample_format(tmp_path, write_media, codec, tolerance):
    ramp = np.linspace(-0.9, 0.9, 4096, dtype=np.float32)[None]
    path = tmp_path / "clip.mkv"
    write_media(path, [GREY] * 3, [0, 0.04, 0.08], samples=ramp, sample_rate_hz=16_000, audio_codec=codec)
    np.testing.assert_allclose(read_waveform(path).samples, ramp[0], atol=tolerance)


@pytest.mark.parametrize(
    ("num_channels", "codec"),
    # Interleaved, and one plane per channel; behind the eighth, PyAV finds planes that are not there.
    [
        (2, "pcm_f32le"),
        (6, "pcm_f32le"),
        (8, "pcm_f32le"),
        (16, "pcm_f32le"),
        (2, "alac"),
        (6, "alac"),
        (8, "libopus"),
    ],
)
def test_channels_are_averaged(tmp_path, write_media, num_channels, codec):
    tones = 0.5 * np.sin(np.outer(150 * (1 + np.arange(num_channels)), np.arange(9600) * 2 * np.pi / 48_000))
    sound = tones.astype(np.float32)
    path = tmp_path / "clip.mkv"
    write_media(path, [GREY] * 3, [0, 0.04, 0.08], samples=sound, audio_codec=codec)
    time_s = np.arange(3200) / SAMPLE_RATE_HZ
    expected = np.mean(
        [0.5 * np.sin(2 * np.pi * 150 * (1 + k) * time_s) for k in range(num_channels)], axis=0
    )
    inner = slice(400, 2800)
    np.testing.assert_allclose(
        read_waveform(path).samples[inner], expected[inner], atol=0.08 if codec == "libopus" else 2e-3
    )


def test_no_audio_stream_is_an_empty_waveform(tmp_path, write_media):
    path = tmp_path / "clip.mp4"
    write_media(path, [GREY] * 3, [0, 0.04, 0.08])
    waveform = read_waveform(path)
    assert (len(waveform.samples), waveform.start_s, waveform.spans) == (0, 0.0, [])


def test_sound_that_cannot_be_used_is_refused_by_name(tmp_path, write_media):
    def file_with(name: str, **sound) -> object:
        write_media(tmp_path / name, [GREY] * 3, [0, 0.04, 0.08], **sound)
        return tmp_path / name

    odd = file_with(
        "odd.mkv", samples=np.zeros((1, 4096), np.float32), sample_rate_hz=47_999, audio_codec="pcm_s16le"
    )
    with pytest.raises(MediaError, match=r"odd\.mkv': expected a sample rate .* found 47999 Hz; re-encode"):
        read_waveform(odd)
    bad = np.zeros((1, 4096), np.float32)
    bad[0, 2000] = np.nan
    with pytest.raises(
        MediaError, match=r"nan\.mkv': expected finite samples, found NaN or infinity at 0\.0"
    ):
        read_waveform(file_with("nan.mkv", samples=bad, audio_codec="pcm_f32le"))
    with pytest.raises(MediaError, match="no file"):
        read_waveform(tmp_path / "none.mp4")


def test_a_stamp_years_away_is_refused_before_any_silence_is_made(tmp_path, write_media):
    path = tmp_path / "clip.mkv"
    sound = np.zeros((1, 3 * 1024), np.float32)
    write_media(path, [GREY] * 3, [0, 0.04, 0.08], samples=sound, audio_codec="pcm_s16le", sound_jump_s=1e6)
    with pytest.raises(
        MediaError, match=r"clip\.mkv': expected at most 28800 s of sound.*extract\.limits\.sou"
    ):
        read_waveform(path)


@pytest.mark.parametrize(("sound_s", "fits"), [(0.12, False), (0.13, True)])
def test_the_limit_is_on_the_time_from_the_first_sample_to_the_last(tmp_path, write_media, sound_s, fits):
    path = tmp_path / "clip.mkv"
    sound = np.zeros((1, 2048), np.float32)
    write_media(
        path,
        [GREY] * 3,
        [0, 0.04, 0.08],
        samples=sound,
        sample_rate_hz=16_000,
        sound_start_s=5.0,
        audio_codec="pcm_s16le",
    )
    limits = LimitsConfig(sound_s=sound_s)
    if fits:
        assert sum(len(piece.samples) for piece in stream_sound(path, MediaConfig(), limits).pieces) == 2048
    else:
        with pytest.raises(MediaError, match=r"expected at most 0\.12 s of sound"):
            list(stream_sound(path, MediaConfig(), limits).pieces)
