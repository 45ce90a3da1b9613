"""Copies of media under a condition, looked at with PyAV and ffprobe."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.degradation import degrade_clips, read_condition
from pipeline.degradation.degraded_picture import PictureDegradation
from pipeline.degradation.errors import DegradationError
from pipeline.degradation.face_places import FacePlaces
from pipeline.media.audio import stream_sound
from pipeline.media.video import decode_video

# Of AAC in a transport stream, before each packet.
_ADTS_BYTES = 7
MEDIA = {
    "a/face": "face.mp4",
    "late": "late.mkv",
    "d": "d.avi",
    "e": "e.webm",
    "f": "f.ts",
    "s": "silent.mp4",
}


def copies(corpus: Any, out: Path, name: str, clips: list[str], **options: Any) -> list[Path]:
    table = degrade_clips(
        corpus.store,
        corpus.source,
        "manifest",
        clips,
        read_condition(name),
        out,
        corpus.config,
        work_dir=corpus.work,
        **options,
    )
    lines = table.read_text().splitlines()
    assert [line.split(",")[0] for line in lines[1:]] == clips
    return [out / line.split(",")[1] for line in lines[1:]]


def packets(path: Path, kind: str) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(**{kind: 0}) if packet.size]


def decoded(path: Path) -> list[bytes]:
    """Pictures as the decoder puts them out."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray().tobytes() for frame in container.decode(video=0)]


def times(path: Path) -> list[float]:
    """Presentation times of the pictures, by PyAV alone."""
    with av.open(str(path)) as container:
        return sorted(frame.time for frame in container.decode(video=0))


def samples(path: Path) -> NDArray[np.float64]:
    """The sound as floats at its own rate, by PyAV alone, (n,)."""
    with av.open(str(path)) as container:
        blocks = [frame.to_ndarray() for frame in container.decode(audio=0)]
    return np.concatenate(blocks, axis=1).astype(np.float64).mean(axis=0)


@pytest.mark.parametrize("name", ["white_noise=7", "blur=5"])
def test_frames_keep_their_times_and_the_other_stream_its_packets(
    corpus: Any, tmp_path: Path, name: str
) -> None:
    other = "video" if name.startswith("white") else "audio"
    for clip, copy in zip(MEDIA, copies(corpus, tmp_path, name, [*MEDIA]), strict=True):
        original = corpus.source.parent / MEDIA[clip]
        # AVI keeps no presentation times; these are rows that a store has.
        before = corpus.clean[clip].time_s if original.suffix == ".avi" else times(original)
        np.testing.assert_allclose(times(copy), before, rtol=0, atol=1e-9)
        if clip == "s" and other == "audio":
            continue
        expected = packets(original, other)
        if original.suffix == ".ts":  # the same in another framing
            if other == "video":
                assert decoded(copy) == decoded(original)
                continue
            expected = [packet[_ADTS_BYTES:] for packet in expected]
        assert packets(copy, other) == expected
        if shutil.which("ffprobe"):
            asked = ["-count_frames", "-select_streams", "v:0", "-show_entries", "stream=nb_read_frames"]
            said = subprocess.run(
                ["ffprobe", "-v", "error", *asked, "-of", "json", copy], check=True, capture_output=True
            )
            assert json.loads(said.stdout)["streams"][0]["nb_read_frames"] == str(len(before))


@pytest.mark.parametrize("ratio_db", [15, -3])
@pytest.mark.parametrize("family", ["white_noise", "speech_noise"])
def test_decoded_samples_have_the_ratio(corpus: Any, tmp_path: Path, family: str, ratio_db: int) -> None:
    clips = ["a/face", "late"]
    for clip, copy in zip(clips, copies(corpus, tmp_path, f"{family}={ratio_db}", clips), strict=True):
        clean = stream_sound(corpus.source.parent / MEDIA[clip])
        before = np.concatenate([piece.samples for piece in clean.pieces]).astype(np.float64)
        noise = samples(copy) - before
        measured_db = 10 * np.log10(np.sum(before**2) / np.sum(noise**2))
        assert measured_db == pytest.approx(ratio_db, abs=0.1)
        assert stream_sound(copy).start_s == pytest.approx(clean.start_s, abs=1e-4)


@pytest.mark.parametrize("name", ["occlusion_lower=40", "darkness=2"])
def test_pictures_are_written_without_loss(corpus: Any, tmp_path: Path, name: str) -> None:
    (copy,) = copies(corpus, tmp_path, name, ["a/face"])
    rows = corpus.clean["a/face"]
    places = FacePlaces(rows.source_frame, rows.face_found, rows.face_box)
    pictures = PictureDegradation(read_condition(name), "a/face", 0)
    originals = decode_video(corpus.source.parent / "face.mp4")
    with av.open(str(copy)) as container:
        for before, after in zip(originals, container.decode(video=0), strict=True):
            expected = pictures.apply(
                before.rgb,
                index=before.index,
                box=places.at(before.index),
                face_width_px=places.width_px,
            )
            assert np.array_equal(after.to_ndarray(format="rgb24"), expected)


def test_pictures_stay_upright_and_square(corpus: Any, tmp_path: Path) -> None:
    # c is rotated, the pixels of f are twice as wide as high.
    noisy = dict(zip("cf", copies(corpus, tmp_path / "sound", "white_noise=0", ["c", "f"]), strict=True))
    dark = copies(corpus, tmp_path / "pictures", "darkness=0", ["f"])[0]
    for path, shape in ((noisy["c"], (64, 48, 3)), (noisy["f"], (48, 128, 3)), (dark, (48, 128, 3))):
        assert {frame.rgb.shape for frame in decode_video(path)} == {shape}


def test_cropped_faces_need_no_copies(corpus: Any, tmp_path: Path) -> None:
    with pytest.raises(DegradationError, match="clip 'c': its faces come cropped"):
        copies(corpus, tmp_path, "blur=4", ["c"])
    assert not [*tmp_path.iterdir()]
