"""Cameras: what the program is asked for, and what is made of its pipe.

A program of the test's stands in for `ffmpeg`, so that no camera is needed; where the real one is installed,
it plays a generated picture, too.
"""

from __future__ import annotations

import shutil
import signal
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.config import LimitsConfig
from pipeline.errors import MediaError
from pipeline.live.capture import Capture, CaptureInput, camera_input
from pipeline.live.live_source import LiveFrame

FFMPEG = shutil.which("ffmpeg")
PICTURES = CaptureInput(name="test", video=("-f", "v4l2", "-i", "/dev/video9"))
INPUT = replace(PICTURES, audio=("-f", "alsa", "-i", "mic"))
# 12 grey pictures at 25 per second, from an hour on the clock on, and a second of sound at 48 kHz.
PROGRAM = """#!{python}
import sys, time
from fractions import Fraction
from pathlib import Path
import av
import numpy as np
hears = "alsa" in sys.argv
Path({arguments!r} + hears * "-sound").write_text("\\n".join(sys.argv[1:]))
{before}
with av.open(sys.stdout.buffer, "w", format="nut") as out:
    if hears:
        sound = out.add_stream("pcm_s16le", rate=48000, layout="stereo")
    else:
        video = out.add_stream("rawvideo", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "rgb24"
        video.codec_context.time_base = Fraction(1, 1000)
    for number in range(12):
        if not hears:
            picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 20 * number, np.uint8), "rgb24")
            picture.pts, picture.time_base = 3600_000 + 40 * number, Fraction(1, 1000)
            out.mux(video.encode(picture))
            continue
        samples = np.full((1, 2 * 1920), 1000 * (number + 1), np.int16)
        block = av.AudioFrame.from_ndarray(samples, "s16", "stereo")
        block.sample_rate, block.time_base = 48000, Fraction(1, 48000)
        block.pts = 3600 * 48000 + 1920 * number
        out.mux(sound.encode(block))
{after}
"""


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Puts a program in `ffmpeg`'s place; gives the arguments that it was called with."""

    def put(before: str = "", after: str = "") -> Path:
        folder, arguments = tmp_path / "bin", tmp_path / "arguments"
        folder.mkdir()
        script = folder / "ffmpeg"
        script.write_text(
            PROGRAM.format(python=sys.executable, arguments=str(arguments), before=before, after=after)
        )
        script.chmod(0o755)
        monkeypatch.setenv("PATH", str(folder))
        return arguments

    return put


def taken(source: Capture) -> list[LiveFrame]:
    """The frames that arrive, each taken before the next is offered; all of the sound is waited for."""
    source.slot._keep_all = True
    source.start()
    frames = []
    try:
        while (frame := source.slot.take()) is not None:
            frames.append(frame)
        for thread in source._threads:
            thread.join()
    finally:
        source.close()
    return frames


def test_pictures_and_sound_share_a_timeline_that_begins_with_the_first_picture(program):
    arguments = program()
    source = Capture(INPUT, LimitsConfig())
    frames = taken(source)
    assert [frame.rgb[0, 0, 0] for frame in frames] == [20 * number for number in range(12)]
    np.testing.assert_allclose([frame.time_s for frame in frames], np.arange(12) / 25, atol=1e-6)
    assert frames[0].rgb.shape == (48, 64, 3)
    assert source.num_frames == 12
    assert source.rate_hz == pytest.approx(25)
    sound = source.sound_until(0.4)
    assert 0.35 <= sound.stop_s <= 0.48
    # The level rises by 1000 / 2**15 every 40 ms.
    level = np.concatenate([piece.samples for piece in sound._pieces])
    assert level[int(0.1 * 16_000)] == pytest.approx(3000 / 2**15, abs=1e-3)
    for path, device in ((arguments, "/dev/video9"), (Path(f"{arguments}-sound"), "mic")):
        words = path.read_text().split("\n")
        assert words[-1] == "pipe:1"
        assert "-copyts" in words
        assert words[words.index("-i") + 1] == device


def test_pictures_wait_for_no_microphone(program):
    # The microphone is silent for as long as the test lasts.
    program(before="if hears: time.sleep(600)")
    source = Capture(INPUT, LimitsConfig())
    source.slot._keep_all = True
    source.start()
    frames = [source.slot.take() for _ in range(12)]
    assert [frame.index for frame in frames] == list(range(12))
    assert source.sound_until(0.1).ending_at(0.1) is None
    source.close()
    assert not any(thread.is_alive() for thread in source._threads)
    assert all(each._process.poll() is not None for each in source._programs)


def test_a_microphone_that_ends_badly_is_named(program):
    program(before="if hears: sys.exit('no such card')", after="time.sleep(600)")
    source = Capture(INPUT, LimitsConfig())
    with pytest.raises(MediaError, match=r"microphone of camera 'test'.*no such card"):
        taken(source)


def test_what_cannot_be_read_ends_the_capture_though_the_program_goes_on(program, monkeypatch):
    monkeypatch.setattr("pipeline.live.device_program._SECONDS_TO_END", 0.05)
    program(before="import os; os.write(1, b'no film'); os.close(1); time.sleep(600)")
    with pytest.raises(MediaError, match=r"camera 'test'.*exit code -9.*InvalidDataError"):
        taken(Capture(PICTURES, LimitsConfig()))


def test_an_error_that_nobody_expects_ends_the_capture(program, monkeypatch):
    program()

    def broken(*arguments: object) -> None:
        raise AssertionError("a mistake")

    monkeypatch.setattr("pipeline.live.capture.rising_time", broken)
    with pytest.raises(AssertionError, match="a mistake"):
        taken(Capture(PICTURES, LimitsConfig()))


def test_a_camera_that_ends_badly_is_named_with_what_the_program_said(program):
    program(before="sys.exit('Device or resource busy')")
    with pytest.raises(MediaError, match=r"camera 'test'.*exit code 1.*Device or resource busy"):
        taken(Capture(PICTURES, LimitsConfig()))


def test_frames_before_a_failure_are_not_lost(program):
    program(after="sys.exit('unplugged')")
    source = Capture(PICTURES, LimitsConfig())
    with pytest.raises(MediaError, match="unplugged"):
        taken(source)
    assert source.num_frames == 12


def test_a_program_that_goes_on_is_ended(program):
    program(after="sys.stdout.flush(); time.sleep(600)")
    source = Capture(PICTURES, LimitsConfig(), every=5)
    source.start()
    assert source.slot.take() is not None
    source.close()
    assert source._programs[0]._process.poll() == -signal.SIGTERM
    assert not source._threads[0].is_alive()


def test_pictures_beyond_the_limit_are_refused(program):
    program()
    with pytest.raises(MediaError, match=r"at most 3000 pixels, found 64 by 48.*picture_px"):
        taken(Capture(PICTURES, LimitsConfig(picture_px=3000)))


def test_without_the_program_the_remedy_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MediaError, match=r"'ffmpeg'.*apt install ffmpeg"):
        Capture(INPUT, LimitsConfig())


def test_a_camera_is_a_device_of_this_machine(tmp_path):
    device = tmp_path / "camera"
    device.touch()
    found = camera_input(str(device), "hw:1")
    assert found.video == ("-f", "v4l2", "-timestamps", "abs", "-i", str(device))
    assert found.audio == ("-f", "alsa", "-i", "hw:1")
    assert camera_input(str(device), None).audio is None
    with pytest.raises(MediaError, match=r"/dev/video77.*--camera"):
        camera_input("77", None)


def test_the_real_program_is_understood():
    if FFMPEG is None:  # the stand-in above has shown the rest
        return
    inputs = CaptureInput(
        name="generated",
        video=("-f", "lavfi", "-i", "testsrc=size=64x48:rate=25:duration=0.4"),
        audio=("-f", "lavfi", "-i", "sine=sample_rate=44100:duration=0.4"),
    )
    source = Capture(inputs, LimitsConfig())
    frames = taken(source)
    np.testing.assert_allclose([frame.time_s for frame in frames], np.arange(10) / 25, atol=1e-3)
    assert np.ptp(frames[0].rgb) > 200
    assert source.sound_until(0.3).ending_at(0.3) is not None
