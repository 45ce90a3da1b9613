"""Small files that swell, opened in a process of their own, whose memory and time are measured."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

# Decodes a file's pictures and sound; says how that ended, and what it took beyond the imports.
DECODE = """
import json, sys, time
from pathlib import Path
from pipeline.media.audio import stream_sound
from pipeline.errors import MediaError
from pipeline.media.video import decode_video


def peak_kb():
    # Not getrusage: a process that was forked off a large one is never smaller than that there.
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])


before_kb, begin_s, said = peak_kb(), time.process_time(), []
for read in (lambda: decode_video(Path(sys.argv[1])), lambda: stream_sound(Path(sys.argv[1])).pieces):
    try:
        said.append(str(sum(1 for _ in read())))
    except MediaError as error:
        said.append(str(error))
print(json.dumps({"said": said, "mb": (peak_kb() - before_kb) / 1024, "s": time.process_time() - begin_s}))
"""


def decoded_alone(path: Path) -> tuple[list[str], float]:
    """What is said of pictures and of sound, and the MiB they took; five seconds of a core at most."""
    done = subprocess.run(
        [sys.executable, "-c", DECODE, str(path)], capture_output=True, text=True, timeout=600, check=True
    )
    answer = json.loads(done.stdout)
    assert answer["s"] < 5
    return answer["said"], answer["mb"]


@pytest.fixture
def tiny(tmp_path: Path, write_media: Callable[..., None]) -> Callable[..., bytearray]:
    def encode(**written: Any) -> bytearray:
        path = tmp_path / "tiny.mp4"
        pictures = [np.full((48, 64, 3), 20 * k, np.uint8) for k in range(10)]
        options = {"video_codec": "mpeg4", "time_base": Fraction(1, 25)}
        write_media(path, pictures, [k / 25 for k in range(10)], **options, **written)
        return bytearray(path.read_bytes())

    return encode


def test_a_table_of_millions_of_samples_is_not_built(tmp_path: Path, tiny: Callable[..., bytearray]) -> None:
    """By itself FFmpeg takes 2.8 GB for this file of 2 kB, before it can be asked what it found."""
    content, num_samples = tiny(), 80_000_000
    struct.pack_into(">II", content, content.index(b"stsz") + 8, 1, num_samples)  # each of one byte
    struct.pack_into(">II", content, content.index(b"stsc") + 16, num_samples, 1)  # all in one chunk
    struct.pack_into(">I", content, content.index(b"stts") + 12, num_samples)
    path = tmp_path / "table.mp4"
    path.write_bytes(content)
    (said, _), mb = decoded_alone(path)
    assert "expected at most 2000000 frames, found a header that claims 80000000" in said
    assert mb < 200


def test_a_fragment_of_millions_of_samples_is_not_built(
    tmp_path: Path, tiny: Callable[..., bytearray]
) -> None:
    content = tiny(container_options={"movflags": "frag_keyframe+empty_moov+default_base_moof"})
    # Sizes and durations of the samples are left to the defaults, so that none takes a byte of the file.
    struct.pack_into(">II", content, content.index(b"trun") + 4, 0x000001, 80_000_000)
    path = tmp_path / "fragment.mp4"
    path.write_bytes(content)
    (said, _), mb = decoded_alone(path)
    assert "Cannot allocate memory" in said
    assert mb < 200


@pytest.mark.parametrize("header_px", [(16_000, 16_000), (64, 48)])
def test_a_giant_picture_is_refused_from_the_start_and_in_the_middle(
    tmp_path: Path, header_px: tuple[int, int]
) -> None:
    """Black and white, 62 kB: 768 MB as RGB. Where the header says something else, the decoder finds out."""
    path = tmp_path / "giant.mov"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("png", rate=25)
        stream.width, stream.height = header_px
        stream.pix_fmt = "monob"
        for number, size in enumerate([(64, 48), (16_000, 16_000)] if header_px == (64, 48) else [header_px]):
            packet = av.Packet(png(*size))
            packet.stream, packet.time_base = stream, Fraction(1, 25)
            packet.pts = packet.dts = number
            container.mux(packet)
    assert path.stat().st_size < 100_000
    (said, _), mb = decoded_alone(path)
    assert "raise extract.limits.picture_px if its pictures exceed it" in said
    assert mb < 200


def png(width: int, height: int) -> bytes:
    """A black picture of one bit per pixel."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    lines = zlib.compress(bytes((width // 8 + 1) * height), 6)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", lines) + chunk(b"IEND", b"")


ALLOCATE = """
import av, sys
from pipeline.media.memory import limit_allocations

limit_allocations(int(sys.argv[1]))
try:
    av.VideoFrame(12_000, 12_000, "gray")
    print("144 MB")
except MemoryError:
    print("refused")
"""


@pytest.mark.parametrize(
    ("picture_px", "said"), [(28_000_000, "refused"), (29_000_000, "144 MB"), (1, "refused")]
)
def test_one_allocation_takes_no_more_than_a_picture_of_the_allowed_size(picture_px: int, said: str) -> None:
    command = [sys.executable, "-c", ALLOCATE, str(picture_px)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=True)
    assert done.stdout.strip() == said
