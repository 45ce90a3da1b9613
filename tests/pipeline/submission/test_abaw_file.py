"""Submissions, held against plain Python over the template's lines."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.submission.abaw_file import write_abaw
from pipeline.submission.errors import SubmissionError
from pipeline.submission.file_check import check_submission
from pipeline.submission.template import stream_locations, stream_runs

HEADER = "image_location,valence,arousal"


def put_template(path: Path, rows: dict[str, int] | list[str], *, end: str = "\n", rest: str = ",,") -> Path:
    names = (
        rows
        if isinstance(rows, list)
        else [f"{v}/{n:05d}.jpg" for v, m in rows.items() for n in range(1, m + 1)]
    )
    path.write_bytes(end.join([HEADER, *(name + rest for name in names), ""]).encode())
    return path


def predicted(clip_id: str, frames: list[int], values: list[tuple[float, float]]) -> Any:
    return clip_id, np.array(frames, np.int64), np.array(values, np.float32)


def nearest(known: dict[int, tuple[float, float]], frame: int) -> tuple[float, float]:
    return known[min(known, key=lambda other: (abs(other - frame), other))]


def test_long_videos_are_written_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    template = put_template(tmp_path / "t.txt", {"a": 7, "b": 4})
    clips = [predicted(clip, [0, 3], [(0.1, 0.2), (0.3, 0.4)]) for clip in ("a", "b")]
    write_abaw(template, clips, tmp_path / "whole.txt")
    monkeypatch.setattr("pipeline.submission.template._RUN_ROWS", 3)
    assert [len(run.frame) for run in stream_runs(template)] == [3, 3, 1, 3, 1]
    report = write_abaw(template, clips, tmp_path / "pieces.txt")
    assert (tmp_path / "pieces.txt").read_bytes() == (tmp_path / "whole.txt").read_bytes()
    assert report.num_filled == {"a": 5, "b": 2}


def test_rows_order_and_number_are_the_templates(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    template = put_template(
        tmp_path / "t.txt", {"video59_right": 40, "10-60-1280x720": 7, "video59_left": 25}
    )
    known: dict[str, dict[int, tuple[float, float]]] = {}
    blocks = []
    for clip_id in ("video59_left", "other", "10-60-1280x720", "video59_right"):
        frames = np.sort(rng.choice(60, 20, replace=False))
        values = rng.uniform(-1.2, 1.2, (20, 2)).astype(np.float32)
        known[clip_id] = dict(zip(frames.tolist(), map(tuple, values.tolist()), strict=True))
        # Blocks of a clip need not come in order, nor one after the other.
        blocks += [(clip_id, frames[9:], values[9:]), (clip_id, frames[:9], values[:9])]
    order = rng.permutation(len(blocks))
    report = write_abaw(template, [blocks[place] for place in order], tmp_path / "s.txt")

    lines = (tmp_path / "s.txt").read_bytes().decode().split("\n")
    assert lines[0] == HEADER
    assert lines[-1] == ""
    asked = template.read_text().splitlines()[1:]
    assert [line.split(",")[0] for line in lines[1:-1]] == [line.removesuffix(",,") for line in asked]
    filled, clipped = dict.fromkeys(known, 0), 0
    for line in lines[1:-1]:
        location, *cells = line.split(",")
        video, image = location.split("/")
        frame = int(image[:5]) - 1
        expected = nearest(known[video], frame)
        assert [float(cell) for cell in cells] == pytest.approx(
            [max(-1.0, min(1.0, value)) for value in expected], abs=5.1e-7
        )
        filled[video] += frame not in known[video]
        clipped += any(abs(value) > 1 for value in expected)
    assert dict(report.num_filled) == {video: num for video, num in filled.items() if num}
    assert (report.num_clipped, report.num_rows, report.num_videos) == (clipped, 72, 3)
    assert report.unlisted == ("other",)
    assert check_submission(tmp_path / "s.txt", template).problems == ()
    for words in ("72 rows of 3 videos", f"{clipped} rows had values outside", "left out: other"):
        assert words in report.message
    assert f"video59_right ({filled['video59_right']})" in report.message


def test_ties_repeated_frames_and_what_is_no_number(tmp_path: Path) -> None:
    template = put_template(tmp_path / "t.txt", {"a": 7})
    frames, values = [1, 3, 3, 5], [(0.1, 0.1), (0.2, -0.2), (0.4, -0.4), (math.nan, 0.5)]
    report = write_abaw(template, [predicted("a", frames, values)], tmp_path / "s.txt")
    lines = (tmp_path / "s.txt").read_text().splitlines()[1:]
    # Frame 2 lies between 1 and 3; frame 3 has two rows; frame 5 has no valence.
    assert [line.partition(",")[2] for line in lines] == ["0.100000,0.100000"] * 3 + [
        "0.300000,-0.300000"
    ] * 4
    assert report.num_filled == {"a": 5}
    write_abaw(template, [predicted("a", [0], [(-1e-9, 2)])], tmp_path / "s.txt")
    assert (tmp_path / "s.txt").read_text().splitlines()[1] == "a/00001.jpg,0.000000,1.000000"


def test_rows_of_a_video_need_not_be_together_nor_complete(tmp_path: Path) -> None:
    names = ["b/00003.jpg", "a/00002.jpg", "b/00001.jpg", "a/123456.jpg"]
    template = put_template(tmp_path / "t.txt", names)
    clips = [predicted("a", [1, 123455], [(0.1, 0), (0.2, 0)]), predicted("b", [0, 2], [(0.3, 0), (0.4, 0)])]
    report = write_abaw(template, clips, tmp_path / "s.txt")
    lines = (tmp_path / "s.txt").read_text().splitlines()[1:]
    assert lines == [
        f"{name},{value:.6f},0.000000" for name, value in zip(names, (0.4, 0.1, 0.3, 0.2), strict=True)
    ]
    assert not report.num_filled
    assert report.message == f"{tmp_path / 's.txt'}: 4 rows of 2 videos"


@pytest.mark.parametrize(
    ("end", "rest", "header"),
    [
        ("\n", ",,", HEADER),
        ("\r\n", ",0.5,-5", HEADER),
        ("\n", "", "image_location"),
        ("\n", ",", "\ufeffimage_location, Valence, Arousal"),
        ("\n\n", " , , ", f"\n{HEADER}"),
    ],
)
def test_forms_of_sample_files(tmp_path: Path, end: str, rest: str, header: str) -> None:
    (tmp_path / "t.txt").write_bytes(
        end.join([header, f"a b.c/00001.jpg{rest}", f"x/00010.jpg{rest}"]).encode()
    )
    found = [(text, *location[:2]) for _, text, location in stream_locations(tmp_path / "t.txt")]
    assert found == [("a b.c/00001.jpg", "a b.c", 0), ("x/00010.jpg", "x", 9)]
    write_abaw(
        tmp_path / "t.txt", [predicted(v, [0], [(0.5, 0)]) for v in ("a b.c", "x")], tmp_path / "s.txt"
    )
    assert (tmp_path / "s.txt").read_bytes().count(b"\r") == 0
    assert check_submission(tmp_path / "s.txt", tmp_path / "t.txt").problems == ()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected rows like 'VIDEO/00001.jpg,,', got none"),
        (HEADER.encode(), "expected rows like"),
        (b"image_location,Neutral,Anger\na/00001.jpg,,\n", r"line 1: expected the header .* got .*Neutral"),
        (f"{HEADER}\na/00001.png,,\n".encode(), "line 2: expected an image like 'VIDEO/00001.jpg'"),
        (f"{HEADER}\na/00000.jpg,,\n".encode(), "line 2: expected an image"),
        (f"{HEADER}\na/00001.jpg\nb\xe9/00001.jpg".encode("latin-1"), "line 3: expected text in UTF-8.*0xe9"),
    ],
)
def test_what_is_no_sample_file(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "t.txt").write_bytes(content)
    with pytest.raises(SubmissionError, match=message):
        write_abaw(tmp_path / "t.txt", [], tmp_path / "s.txt")
    with pytest.raises(SubmissionError, match=r"nowhere\.txt' cannot be read"):
        write_abaw(tmp_path / "nowhere.txt", [], tmp_path / "s.txt")


def test_videos_without_predictions_are_named_and_nothing_is_written(tmp_path: Path) -> None:
    template = put_template(tmp_path / "t.txt", {"x": 2, "y": 2, "z": 1})
    (tmp_path / "s.txt").write_text("kept")
    some = predicted("x", [0], [(0, 0)])
    nothing = predicted("y", [0], [(math.nan, 0)])
    with pytest.raises(SubmissionError, match="2 of its 3 videos have no prediction: 'y', 'z'; predict them"):
        write_abaw(template, [some, nothing], tmp_path / "s.txt")
    with pytest.raises(SubmissionError, match="the prediction of 'z' failed, of 'z': no video stream; mend"):
        write_abaw(template, [some], tmp_path / "s.txt", failures={"z": "no video\nstream", "w": "?"})
    with pytest.raises(SubmissionError, match="like 'batch1/Y' for 'y': predict with '--layout aff-wild2'"):
        write_abaw(template, [some, predicted("batch1/Y", [0], [(0, 0)])], tmp_path / "s.txt")
    with pytest.raises(SubmissionError, match="frames counted from 0, got -1"):
        write_abaw(template, [predicted("x", [-1], [(0, 0)])], tmp_path / "s.txt")
    assert (tmp_path / "s.txt").read_text() == "kept"
    assert {path.name for path in tmp_path.iterdir()} == {"s.txt", "t.txt"}
