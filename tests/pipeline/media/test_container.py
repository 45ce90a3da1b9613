"""What may be opened as media, and what is said where it may not."""

from __future__ import annotations

import http.server
import struct
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.errors import MediaError
from pipeline.media import container as container_module
from pipeline.media.container import CONTAINERS, decode, open_container, picture_stream, sound_stream
from pipeline.media.video import decode_video

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


def test_camcorder_tapes_open(tmp_path, write_media):
    path = tmp_path / "tape.dv"
    picture = np.full((576, 720, 3), 90, np.uint8)
    write_media(
        path,
        [picture] * 3,
        [0, 0.04, 0.08],
        video_codec="dvvideo",
        time_base=Fraction(1, 25),
        samples=np.zeros((2, 5760), np.float32),
        audio_codec="pcm_s16le",
    )
    with open_container(path) as container:
        assert container.format.name == "dv"
        assert sound_stream(container) is not None
    assert [frame.rgb.shape[0] for frame in decode_video(path)] == [576] * 3


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
        assert picture_stream(container, 0) is None
        assert sound_stream(container) is not None


@pytest.fixture
def server() -> Iterator[http.server.ThreadingHTTPServer]:
    """A server on loopback that notes in `asked` what it is asked for."""

    class Notebook(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.server.asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Notebook) as notebook:
        notebook.asked = []
        thread = threading.Thread(target=notebook.serve_forever)
        thread.start()
        yield notebook
        notebook.shutdown()
        thread.join()


def test_no_socket_is_opened_even_by_a_container_that_would(tmp_path, monkeypatch, server):
    playlist = tmp_path / "clip.m3u8"
    address = f"http://127.0.0.1:{server.server_port}/part.ts"
    playlist.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{address}\n#EXT-X-ENDLIST\n")
    with pytest.raises(MediaError), open_container(playlist):
        pass
    monkeypatch.setattr(container_module, "CONTAINERS", (*CONTAINERS, "hls"))
    with pytest.raises(MediaError), open_container(playlist):
        pass
    assert server.asked == []
    with pytest.raises(av.FFmpegError):  # FFmpeg by itself does ask
        av.open(str(playlist), container_options={"protocol_whitelist": "file,http,tcp"})
    assert server.asked == ["/part.ts"]


def test_an_mp4_whose_pictures_are_said_to_be_in_another_file_does_not_open_it(tmp_path, write_media):
    other, clip = tmp_path / "other.mov", tmp_path / "clip.mov"
    for path in (other, clip):
        write_media(path, [GREY] * 3, [0, 0.04, 0.08], video_codec="mjpeg", pixel_format="yuvj420p")
    clip.write_bytes(referring_to(other, clip.read_bytes()))
    options = {"enable_drefs": "1", "use_absolute_path": "1"}
    with av.open(str(clip), container_options=options) as container:  # FFmpeg can be told to
        assert len(list(container.decode(video=0))) == 3
    assert list(decode_video(clip)) == []


def referring_to(other: Path, content: bytes) -> bytes:
    """A QuickTime file, its media emptied, whose one data reference is a Macintosh alias of another file."""
    path = ("V" + str(other).replace("/", ":")).encode()
    path += b"\0" * (len(path) % 2)
    alias = bytearray(150)
    alias[10:12] = b"\x01V"  # the volume's name
    struct.pack_into(">hh", alias, 130 - 8 + 8 - 8, 0, 0)
    alias = bytes(alias[: 10 + 28 + 12 + 64 + 16 + 4 + 16])
    alias += struct.pack(">HH", 2, len(path)) + path + struct.pack(">HH", 0xFFFF, 0)
    entry = struct.pack(">I4sI", 12 + len(alias), b"alis", 0) + alias
    at = content.index(b"dref") + 12
    (old_size,) = struct.unpack_from(">I", content, at)
    changed = bytearray(content[:at] + entry + content[at + old_size :])
    for box in (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"):
        place = content.index(box) - 4
        (size,) = struct.unpack_from(">I", changed, place)
        struct.pack_into(">I", changed, place, size + len(entry) - old_size)
    media = content.index(b"mdat")
    (size,) = struct.unpack_from(">I", content, media - 4)
    changed[media + 4 : media - 4 + size] = bytes(size - 8)
    return bytes(changed)


def test_a_stream_that_turns_up_late_is_no_end_of_the_file_for_the_others(tmp_path, write_media):
    """What PyAV does at the end of such a file, an index error, is acted here: it depends on stray memory."""
    path = tmp_path / "clip.mkv"
    write_media(path, [GREY] * 5, [k / 25 for k in range(5)])

    class Stumbling:
        def __init__(self, container: av.container.InputContainer) -> None:
            self._container = container

        def demux(self, stream: av.VideoStream) -> Iterator[av.Packet]:
            yield from self._container.demux(stream)
            raise IndexError("list index out of range")

    with open_container(path) as container:
        stream = picture_stream(container)
        assert len(list(decode(Stumbling(container), stream))) == 5


@pytest.mark.parametrize(
    "error",
    [
        ZeroDivisionError("by zero"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
        OverflowError("too large"),
        MemoryError(),
    ],
)
def test_what_a_damaged_file_makes_pyav_raise_is_the_files_fault(tmp_path, write_media, error):
    path = tmp_path / "clip.mkv"
    write_media(path, [GREY] * 3, [0, 0.04, 0.08])
    said = r"clip\.mkv': expected an undamaged file .*, got from FFmpeg: .*\w"
    with pytest.raises(MediaError, match=said), open_container(path):
        raise error


class FakePacket:
    """A packet of two frames, or one that does not decode."""

    def __init__(self, *, size: int = 10, decodes: bool = True, is_corrupt: bool = False) -> None:
        self.size, self.is_corrupt, self._decodes = size, is_corrupt, decodes

    def decode(self) -> list[str]:
        if not self._decodes:
            raise av.InvalidDataError(0, "Invalid data found when processing input")
        return ["frame"] * 2 * (self.size > 0)


class FakeContainer:
    def __init__(self, *packets: FakePacket) -> None:
        self._packets = packets

    def demux(self, stream: None) -> Iterator[FakePacket]:
        yield from self._packets


def test_half_a_packet_ends_a_file_and_is_damage_elsewhere():
    whole, half, flush = FakePacket(), FakePacket(decodes=False, is_corrupt=True), FakePacket(size=0)
    assert len(list(decode(FakeContainer(whole, whole, flush), None))) == 4
    assert len(list(decode(FakeContainer(whole, half, flush), None))) == 2
    # What FFmpeg takes to be corrupt may decode.
    assert len(list(decode(FakeContainer(FakePacket(is_corrupt=True), whole, flush), None))) == 4
    for packets in [(whole, half, whole, flush), (whole, FakePacket(decodes=False), flush)]:
        with pytest.raises(av.InvalidDataError):
            list(decode(FakeContainer(*packets), None))
