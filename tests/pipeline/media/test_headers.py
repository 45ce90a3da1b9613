"""Claims of headers, against files whose length is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pipeline.config import LimitsConfig, MediaConfig
from pipeline.errors import MediaError
from pipeline.media import headers as media_headers
from pipeline.media.headers import read_header

LIMITS = LimitsConfig()
PICTURES = [np.full((32, 32, 3), 10 * number, np.uint8) for number in range(20)]
SOUND = np.zeros((1, 16_000), np.float32)


@pytest.mark.parametrize(("name", "codec"), [("x.mp4", "libx264"), ("x.avi", "mpeg4"), ("x.mkv", "libx264")])
def test_frames_and_sound(write_media: Callable[..., Any], tmp_path: Path, name: str, codec: str) -> None:
    times_s = [number / 10 for number in range(20)]
    write_media(
        tmp_path / name,
        PICTURES,
        times_s,
        rate=10,
        time_base=Fraction(1, 10),
        video_codec=codec,
        samples=SOUND,
        audio_codec="mp2",
    )
    claims = read_header(tmp_path / name, MediaConfig(), LIMITS)
    # Matroska gives no number of frames; its length, and so the guess, may be off by one.
    assert claims.num_frames is not None
    assert abs(claims.num_frames - 20) <= (name == "x.mkv")
    assert (claims.num_rows, claims.has_sound) == (claims.num_frames, True)
    rows = read_header(tmp_path / name, MediaConfig(resample_fps=5), LIMITS).num_rows
    assert rows is not None
    assert abs(rows - 10) <= 1


@pytest.mark.parametrize(
    ("stream", "container_s", "num_frames", "num_rows"),
    [
        ({"frames": 98, "duration": 400, "average_rate": 25}, None, 98, 40),  # 4 s of 25 fps are no 98 frames
        ({"frames": 0, "duration": 400, "average_rate": 25}, None, 100, 40),
        ({"frames": 0, "duration": None, "average_rate": 25}, 2.0, 50, 20),
        ({"frames": 50, "duration": None, "average_rate": 25}, None, 50, 20),
        ({"frames": 50, "duration": None, "average_rate": None}, None, 50, None),
        ({"frames": 0, "duration": None, "average_rate": 25}, None, None, None),
    ],
)
def test_headers_that_leave_something_out(
    stream: dict[str, Any],
    container_s: float | None,
    num_frames: int | None,
    num_rows: int | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @contextmanager
    def open_container(path: Path, limits: LimitsConfig) -> Iterator[SimpleNamespace]:
        yield SimpleNamespace(duration=None if container_s is None else int(container_s * 1e6))

    header = SimpleNamespace(**stream, time_base=Fraction(1, 100))
    monkeypatch.setattr(media_headers, "open_container", open_container)
    monkeypatch.setattr(media_headers, "picture_stream", lambda *_: header)
    monkeypatch.setattr(media_headers, "sound_stream", lambda *_: None)
    assert read_header(Path("x"), MediaConfig(), LIMITS).num_frames == num_frames
    assert read_header(Path("x"), MediaConfig(resample_fps=10), LIMITS).num_rows == num_rows


def test_what_is_not_there(write_media: Callable[..., Any], tmp_path: Path) -> None:
    write_media(tmp_path / "silent.mp4", PICTURES, [number / 10 for number in range(20)], rate=10)
    assert not read_header(tmp_path / "silent.mp4", MediaConfig(), LIMITS).has_sound
    write_media(tmp_path / "sound.mp4", [], [], samples=SOUND)
    with pytest.raises(MediaError, match="expected a video stream, found none"):
        read_header(tmp_path / "sound.mp4", MediaConfig(), LIMITS)
