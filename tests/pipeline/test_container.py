"""What may be opened as media, and what is said where it may not."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.container import CONTAINERS, open_container, picture_stream, sound_stream
from pipeline.errors import MediaError

GREY = np.full((48, 64, 3), 90, np.uint8)


def test_every_listed_container_is_one_of_ffmpegs():
    known = {name for group in av.formats_available for name in group.split(",")}
    assert set(CONTAINERS) <= known


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi", "ts", "flv"])
def test_the_usual_containers_open(tmp_path, write_media, suffix):
    path = tmp_path / f"clip.{suffix}"
    write_media(path, [GREY] * 40, [frame / 25 for frame in range(40)])
    with open_container(path) as container:
        assert picture_stream(container) is not None
        assert sound_stream(container) is None


@pytest.mark.parametrize("content", [b"", b"\0" * 4096, b"no video at all\n" * 100])
def test_what_is_no_media_is_refused_on_one_line_with_its_name(tmp_path, content):
    path = tmp_path / "clip\nof two lines.mp4"
    path.write_bytes(content)
    described = r"^'.*clip\\nof two lines\.mp4': expected .* got .*; .*$"
    with pytest.raises(MediaError, match=described) as caught, open_container(path):
        pass
    assert "\n" not in str(caught.value)


def test_a_script_that_names_another_file_is_refused(tmp_path, write_media):
    write_media(tmp_path / "other.mp4", [GREY] * 3, [0, 0.04, 0.08])
    script = tmp_path / "clip.mp4"
    script.write_text("ffconcat version 1.0\nfile 'other.mp4'\n")
    with av.open(str(script)) as container:  # FFmpeg by itself does open it
        assert container.format.name == "concat"
    with pytest.raises(MediaError, match=r"clip\.mp4"), open_container(script):
        pass


def test_missing_files_folders_and_cut_names_are_refused(tmp_path, write_media):
    write_media(tmp_path / "clip", [GREY] * 3, [0, 0.04, 0.08], container_format="mp4")
    for path, found in [
        (tmp_path / "none.mp4", "found no file"),
        (tmp_path, "found a folder"),
        (tmp_path / "clip\0.mp4", "found no file"),  # to C, this is the name of the file above
    ]:
        with pytest.raises(MediaError, match=found), open_container(path):
            pass


@pytest.mark.parametrize("name", ["a:b?c#d %41.mp4", "caf\udce9.mp4", "concat:clip.mp4", "-i.mp4"])
def test_names_with_marks_of_urls_and_of_other_encodings_open(tmp_path, write_media, monkeypatch, name):
    write_media(tmp_path / "written.mp4", [GREY] * 3, [0, 0.04, 0.08])
    monkeypatch.chdir(tmp_path)  # a relative name begins with what could be a protocol
    path = Path("written.mp4").rename(name)
    with open_container(path) as container:
        assert picture_stream(container) is not None


def test_a_cover_picture_is_no_video(tmp_path):
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as container:
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 48, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        sound = container.add_stream("aac", rate=48_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 48_000
        container.mux(sound.encode(frame))
        container.mux(sound.encode())
        container.mux(cover.encode(av.VideoFrame.from_ndarray(GREY, "rgb24")))
        container.mux(cover.encode())
    with open_container(path) as container:
        assert len(container.streams.video) == 1
        assert picture_stream(container) is None
        assert sound_stream(container) is not None
