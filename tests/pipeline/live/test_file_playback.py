"""A file at its own pace, by a clock that the test turns."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from pipeline.config import LimitsConfig, MediaConfig
from pipeline.errors import MediaError
from pipeline.live.file_playback import FilePlayback
from pipeline.media.video import decode_video

MEDIA, LIMITS = MediaConfig(), LimitsConfig()


def taken(source: FilePlayback) -> list:
    source.start()
    frames = []
    while (frame := source.slot.take()) is not None:
        frames.append(frame)
    source.close()
    return frames


def test_every_frame_as_fast_as_possible(clip):
    source = FilePlayback(clip, MEDIA, LIMITS, at_own_pace=False)
    for live, frame in zip(taken(source), decode_video(clip), strict=True):
        assert (live.index, live.time_s) == (frame.index, frame.time_s)
        np.testing.assert_array_equal(live.rgb, frame.rgb)
    assert source.num_frames == 18
    assert source.rate_hz == pytest.approx(25)


def test_frames_arrive_when_they_are_due_even_if_decoding_is_late(clip):
    late = itertools.count(100.0, 5.0)  # five seconds between any two looks at the clock
    source = FilePlayback(clip, MEDIA, LIMITS, now=lambda: next(late))
    frames = taken(source)
    assert frames[-1].index == 17
    assert source.slot.num_missed == 18 - len(frames)
    assert [frame.arrived_s for frame in frames] == pytest.approx([100 + frame.time_s for frame in frames])


def test_frames_between_are_passed_over(clip):
    source = FilePlayback(clip, MEDIA, LIMITS, every=7, at_own_pace=False)
    assert [frame.index for frame in taken(source)] == [0, 7, 14]
    assert source.num_frames == 18
    assert source.slot.num_missed == 0


def test_rows_at_a_rate_of_their_own_are_left_to_the_reader(clip):
    source = FilePlayback(clip, MediaConfig(resample_fps=5), LIMITS, at_own_pace=False)
    assert len(taken(source)) == 18


def test_what_is_no_media_file_is_named(tmp_path):
    (tmp_path / "notes.txt").write_text("no film")
    with pytest.raises(MediaError, match=r"notes\.txt"):
        FilePlayback(tmp_path / "notes.txt", MEDIA, LIMITS)
    with pytest.raises(MediaError, match=r"none\.mp4"):
        FilePlayback(tmp_path / "none.mp4", MEDIA, LIMITS)


def test_a_file_without_pictures_fails_when_it_is_played(tmp_path, write_media):
    write_media(tmp_path / "x.mkv", [], [], samples=np.zeros((1, 4800), np.float32), audio_codec="pcm_s16le")
    source = FilePlayback(tmp_path / "x.mkv", MEDIA, LIMITS)
    with pytest.raises(MediaError, match="video stream"):
        taken(source)
    source.close()
