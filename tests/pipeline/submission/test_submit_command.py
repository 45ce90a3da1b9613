"""`tagf submit`, from predictions as they lie there to a file that passes the check."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from pipeline.cli.submit import command
from pipeline.config import CorpusConfig
from pipeline.layouts.aff_wild2 import read_aff_wild2
from pipeline.media.video import decode_video
from pipeline.sample_corpus.corpus import write_sample_corpus
from pipeline.submission.errors import SubmissionError
from pipeline.submission.prediction_source import find_predictions
from tagf_head.data.clip_groups import ClipGroups
from tagf_head.evaluation.predictions import Predictions, write_predictions

CLIPS = {"b_left": 5, "a": 3, "b_right": 4}
HEADER = "image_location,valence,arousal"


@pytest.fixture
def template(tmp_path: Path) -> Path:
    path = tmp_path / "template.txt"
    names = [f"{clip}/{number + 1:05d}.jpg" for clip in sorted(CLIPS) for number in range(CLIPS[clip])]
    path.write_text("\n".join([HEADER, *(f"{name},," for name in names), ""]))
    return path


def submit(*words: str | Path) -> Result:
    return CliRunner().invoke(command, [str(word) for word in words])


def values_of(clip: str, num: int) -> np.ndarray:
    rng = np.random.default_rng(len(clip) + num)
    return rng.uniform(-1, 1, (num, 2)).astype(np.float32)


def put_table(path: Path, columns: dict[str, Any]) -> None:
    if path.suffix == ".parquet":
        pq.write_table(pa.table(columns), path, row_group_size=2)
        return
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def put_folder(folder: Path, style: str, suffix: str) -> None:
    folder.mkdir()
    clips = []
    for number, (clip, num) in enumerate(CLIPS.items()):
        valence, arousal = values_of(clip, num).T
        frame = np.arange(num)
        name = f"file{number}{suffix}"
        if style == "openface":
            columns = {"frame": frame + 1, "timestamp": frame / 25, "success": frame * 0 + 1}
            columns |= {"valence": valence, "arousal": arousal}
        elif style == "py-feat":
            columns = {"FaceScore": frame / 9, "valence": valence, "arousal": arousal, "frame": frame}
        else:
            columns = {"clip_id": [clip] * num, "frame": frame, "valence": valence, "arousal": arousal}
        put_table(folder / name, columns)
        clips.append({"clip_id": clip, "file": name, "status": "predicted", "error": None})
    (folder / "prediction.json").write_text(json.dumps({"format": "tagf-prediction-1", "clips": clips}))


def assert_is_of_all(path: Path) -> None:
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == sum(CLIPS.values())
    for row in rows:
        clip, _, image = row["image_location"].partition("/")
        expected = values_of(clip, CLIPS[clip])[int(image.removesuffix(".jpg")) - 1]
        assert [float(row["valence"]), float(row["arousal"])] == pytest.approx(expected.tolist(), abs=6e-7)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("style", ["tagf", "openface", "py-feat"])
def test_from_the_folder_of_a_prediction(tmp_path: Path, template: Path, style: str, suffix: str) -> None:
    put_folder(tmp_path / "predicted", style, suffix)
    result = submit("write", tmp_path / "predicted", "--template", template, "--out", tmp_path / "s.txt")
    assert result.exit_code == 0, result.exception
    assert result.output == f"{tmp_path / 's.txt'}: 12 rows of 3 videos\n"
    assert_is_of_all(tmp_path / "s.txt")


@pytest.mark.parametrize("place", ["run", "run/predictions.parquet"])
def test_from_the_predictions_of_an_evaluation(tmp_path: Path, template: Path, place: str) -> None:
    (tmp_path / "run").mkdir()
    num_rows = sum(CLIPS.values())
    predictions = Predictions(
        clip_ids=tuple(CLIPS),
        row_size=np.array([*CLIPS.values()]),
        frame=np.concatenate([np.arange(num) for num in CLIPS.values()]),
        time_s=np.arange(num_rows) / 25,
        values=np.concatenate([values_of(clip, num) for clip, num in CLIPS.items()]),
        face_found=np.ones(num_rows, np.bool_),
        groups=ClipGroups(unit="clip", group=tuple(CLIPS)),
    )
    write_predictions(tmp_path / "run" / "predictions.parquet", predictions)
    result = submit("write", tmp_path / place, "--template", template, "--out", tmp_path / "s.txt")
    assert result.exit_code == 0, result.exception
    assert_is_of_all(tmp_path / "s.txt")


def test_failed_clips_and_what_are_no_predictions(tmp_path: Path, template: Path) -> None:
    put_folder(tmp_path / "predicted", "tagf", ".csv")
    record = json.loads((tmp_path / "predicted" / "prediction.json").read_text())
    record["clips"][1] |= {"status": "failed", "error": "a.mp4: no video stream", "file": None}
    (tmp_path / "predicted" / "prediction.json").write_text(json.dumps(record))
    result = submit("write", tmp_path / "predicted", "--template", template, "--out", tmp_path / "s.txt")
    assert result.exit_code == 1
    assert "the prediction of 'a' failed, of 'a': a.mp4: no video stream; mend" in str(result.exception)
    # A record leads out of its folder to no file.
    record["clips"][0]["file"] = "../../outside.csv"
    (tmp_path / "predicted" / "prediction.json").write_text(json.dumps(record))
    (path,) = {path.parent for _, path in find_predictions(tmp_path / "predicted").tables}
    assert path == tmp_path / "predicted"
    for content, message in (
        ("{", "prediction.json cannot be read"),
        ('{"clips": [{"clip_id": "a"}]}', r"prediction.json cannot be read \(KeyError: 'status'\)"),
    ):
        (tmp_path / "predicted" / "prediction.json").write_text(content)
        with pytest.raises(SubmissionError, match=message):
            find_predictions(tmp_path / "predicted")
    (tmp_path / "empty").mkdir()
    (tmp_path / "other.csv").write_text("clip_id,frame,valence\na,0,0.5\n")
    (tmp_path / "damaged.parquet").write_text("no Parquet")
    for name, message in (
        ("nowhere", "nothing is there"),
        ("empty", "expected prediction.json or predictions.parquet in it, got neither"),
        ("other.csv", "got no arousal among clip_id, frame, valence"),
        ("damaged.parquet", "cannot be read"),
    ):
        result = submit("write", tmp_path / name, "--template", template, "--out", tmp_path / "s.txt")
        assert result.exit_code == 1
        assert isinstance(result.exception, SubmissionError)
        assert message in str(result.exception)
    assert not (tmp_path / "s.txt").exists()


def test_the_check_ends_in_one_line_and_an_exit_code(tmp_path: Path, template: Path) -> None:
    put_folder(tmp_path / "predicted", "tagf", ".csv")
    submit("write", tmp_path / "predicted", "--template", template, "--out", tmp_path / "s.txt")
    result = submit("check", tmp_path / "s.txt", "--template", template)
    assert (result.exit_code, result.output) == (
        0,
        f"{tmp_path / 's.txt'}: 12 rows of 3 videos, as the template asks for\n",
    )
    lines = (tmp_path / "s.txt").read_text().splitlines()
    changed = [*lines[:3], *lines[4:-1], lines[-1].rpartition(",")[0] + ",7"]
    (tmp_path / "s.txt").write_text("\n".join([*changed, ""]))
    words = [sys.executable, "-c", "from pipeline.cli import main; main()", "submit", "check"]
    ended = subprocess.run(
        [*words, tmp_path / "s.txt", "--template", template], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert len(ended.stdout.splitlines()) == 2
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"tagf: error: submission '{tmp_path / 's.txt'}' is not what the template asks")
    assert "2 kinds of mistakes, named above" in line
    constant = [lines[0], *(line.split(",")[0] + ",0,0" for line in lines[1:])]
    (tmp_path / "s.txt").write_text("\n".join([*constant, ""]))
    result = submit("check", tmp_path / "s.txt", "--template", template)
    assert result.exit_code == 0
    assert "warning: valence is 0 in all 12 rows: are these predictions?" in result.output


def test_the_sample_corpus_in_the_layout_of_aff_wild2(tmp_path: Path) -> None:
    """Real media under the challenge's names, counted by the organisers with a frame more or less."""
    write_sample_corpus(
        tmp_path / "corpus", CorpusConfig(clips=4, seconds=1, fps=5), workers=1, progress=False
    )
    source = tmp_path / "aff-wild2"
    names = ["video59", "10-60-1280x720", "7", "24-30-1920x1080-2"]
    (source / "batch1").mkdir(parents=True)
    for name, path in zip(names, sorted((tmp_path / "corpus" / "videos").iterdir()), strict=True):
        path.rename(source / "batch1" / f"{name}.mp4")
    # Two people in one video, told by their cropped faces.
    for side in ("left", "right"):
        (source / "cropped_aligned" / f"video59_{side}").mkdir(parents=True)
        (source / "cropped_aligned" / f"video59_{side}" / "00001.jpg").write_bytes(b"")
    clips = {clip.clip_id: clip.media for clip in read_aff_wild2(source).clips}
    assert sorted(clips) == sorted([*names, "video59_left", "video59_right"])
    frames = {clip_id: [frame.index for frame in decode_video(media)] for clip_id, media in clips.items()}
    rng = np.random.default_rng(0)
    put_table(
        tmp_path / "p.parquet",
        {
            "clip_id": [clip_id for clip_id, of_clip in frames.items() for _ in of_clip],
            "frame": [frame for of_clip in frames.values() for frame in of_clip],
            "valence": rng.normal(0, 0.7, sum(map(len, frames.values()))),
            "arousal": rng.normal(0, 0.3, sum(map(len, frames.values()))),
        },
    )
    test_set = {"video59_right": 1, "7": -1, "video59_left": 0, "24-30-1920x1080-2": 2}
    lines = [
        f"{video}/{number:05d}.jpg,,"
        for video, more in test_set.items()
        for number in range(1, len(frames[video]) + more + 1)
    ]
    (tmp_path / "template.txt").write_text("\n".join([HEADER, *lines, ""]))
    options = ["--template", tmp_path / "template.txt"]
    result = submit("write", tmp_path / "p.parquet", *options, "--out", tmp_path / "s.txt")
    assert result.exit_code == 0, result.exception
    assert f"{len(lines)} rows of 4 videos" in result.output
    assert "3 rows of 2 videos have no prediction and got that of the nearest frame" in result.output
    assert "24-30-1920x1080-2 (2), video59_right (1)" in result.output
    assert "2 predicted clips are not in the template and were left out: 10-60" in result.output
    checked = submit("check", tmp_path / "s.txt", *options)
    assert (checked.exit_code, "warning" in checked.output) == (0, False)
