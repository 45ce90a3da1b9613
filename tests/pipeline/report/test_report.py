"""What a report shows of whatever lies in a folder."""

from __future__ import annotations

import base64
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from pipeline.cli.report import command
from pipeline.report.errors import ReportError
from pipeline.report.report import write_report
from pipeline.report.report_content import ReportSources, gather
from tagf_head.data.clip_groups import ClipGroups
from tagf_head.errors import HeadError
from tagf_head.evaluation.gate_weights import GateWeights, write_gates
from tagf_head.evaluation.predictions import Predictions, write_predictions


def data_of(page: Path) -> dict:
    return json.loads(re.search(r'id="report-data">(.*?)</script>', page.read_text()).group(1))


def numbers(packed: dict) -> np.ndarray:
    steps = np.frombuffer(base64.b64decode(packed["i16"]), "<i2").astype(float)
    return np.where(steps == -32768, np.nan, steps * packed["step"])


def test_traces_of_a_short_clip_are_every_row_with_label_deviation_and_gates(run, tmp_path):
    write_report(ReportSources(folder=run.folder, annotations=run.annotations), tmp_path / "r.html")
    data = data_of(tmp_path / "r.html")
    assert data["names"] == ["calm", "joy/left", "sad"]
    traces, rows, label = data["traces"]["1"], run.rows("joy/left"), run.labels["joy/left"]
    assert traces["complete"]
    assert traces["frame_s"] == pytest.approx(0.04)
    for column, target in enumerate(("valence", "arousal")):
        found = traces[target]
        np.testing.assert_allclose(
            numbers(found["predicted"]), run.predictions.values[rows, column], atol=6e-5
        )
        np.testing.assert_allclose(numbers(found["sd"]), run.predictions.deviation[rows, column], atol=6e-5)
        true = np.where(label[:, column] > -5, label[:, column], np.nan)
        np.testing.assert_allclose(numbers(found["true"]), true, atol=6e-5)
    gate = traces["gates"]["gates"][1]
    assert (gate["name"], gate["candidates"]) == ("audio", ["H0", "H1", "H2"])
    np.testing.assert_allclose(
        np.stack([numbers(each) for each in gate["weights"]], axis=1),
        run.gates["audio"].weights[rows],
        atol=6e-5,
    )


@pytest.mark.parametrize(
    ("names", "shown", "missing"),
    [
        (["training_log.csv"], ["ccc-chart"], ["tagf evaluate", "tagf robustness", "tagf compare"]),
        (["config.yaml"], ["fingerprint"], ["tagf train", "tagf evaluate"]),
        (["metrics.json"], ["CCC of arousal"], ["tagf train", "--clip-metrics"]),
        (["clip_metrics.csv"], ["joy/left"], ["--predictions"]),
        (["predictions.parquet"], ['id="traces"'], ["--annotations LABELS", "--gates"]),
    ],
)
def test_a_folder_with_one_file_is_shown_and_the_page_says_what_makes_the_rest(
    run, tmp_path, names, shown, missing
):
    folder = tmp_path / "one"
    folder.mkdir()
    for name in names:
        shutil.copy(run.folder / name, folder / name)
    write_report(ReportSources(folder=folder), tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    markup = page[: page.index('id="report-data"')]
    for text in (*shown, *missing):
        assert text in markup


def test_random_weights_are_said_plainly_and_no_warning_stands_without_them(run, tmp_path):
    shutil.copytree(run.folder, tmp_path / "run")
    write_report(ReportSources(folder=tmp_path / "run"), tmp_path / "r.html")
    assert "say nothing about real media" in (tmp_path / "r.html").read_text()
    metrics = json.loads((run.folder / "metrics.json").read_text()) | {"random_weights": False}
    (tmp_path / "run" / "metrics.json").write_text(json.dumps(metrics))
    write_report(ReportSources(folder=tmp_path / "run"), tmp_path / "r.html")
    assert "say nothing about real media" not in (tmp_path / "r.html").read_text()


def test_a_checkpoint_that_was_not_evaluated_is_named(run, tmp_path):
    shutil.copytree(run.folder, tmp_path / "run")
    (tmp_path / "run" / "best.safetensors").write_bytes(b"other weights")
    metrics = json.loads((run.folder / "metrics.json").read_text()) | {"checkpoints_sha256": ["ab" * 32]}
    (tmp_path / "run" / "metrics.json").write_text(json.dumps(metrics))
    assert "trained again since" in gather(ReportSources(folder=tmp_path / "run")).notes[0]


def test_fifty_long_clips_stay_below_8_mb_and_keep_their_peaks(tmp_path):
    num_clips, size = 50, 2_500
    rng = np.random.default_rng(0)
    total = num_clips * size
    values = np.clip(np.cumsum(rng.normal(0, 0.05, (total, 2)), axis=0) % 2 - 1, -1, 1).astype(np.float32)
    values[7 * size + 1321, 0] = 1.5
    clip_ids = tuple(f"clip {i}" for i in range(num_clips))
    predictions = Predictions(
        clip_ids=clip_ids,
        row_size=np.full(num_clips, size),
        frame=np.tile(np.arange(size), num_clips),
        time_s=np.tile(np.arange(size) / 25, num_clips),
        values=values,
        face_found=rng.random(total) > 0.01,
        groups=ClipGroups(unit="clip", group=clip_ids),
        deviation=np.abs(values) / 3,
    )
    run = tmp_path / "run"
    run.mkdir()
    write_predictions(run / "predictions.parquet", predictions)
    weights = rng.dirichlet((1, 1, 1), total)
    gate = GateWeights(candidates=("H0", "H1", "H2"), weights=weights, entropy=1.0)
    write_gates(run / "gates.parquet", predictions, {"visual": gate, "audio": gate})
    write_report(ReportSources(folder=run), tmp_path / "r.html")
    assert (tmp_path / "r.html").stat().st_size < 8e6
    shown = data_of(tmp_path / "r.html")["traces"]["7"]["valence"]["predicted"]
    assert numbers(shown).max() == pytest.approx(1.5, abs=1e-4)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("nothing", "expected a run"),
        ("gates", "those of other predictions"),
        ("metrics", "metrics.json: expected valence"),
        ("log", r"training_log\.csv.*expected a number as train_loss, got 'much'"),
        ("config", "config.yaml cannot be read as YAML"),
        ("comparison", r"tagf compare.*got no comparison\.csv"),
        ("labels", "got none for any of 3, such as 'calm'"),
    ],
)
def test_a_mistake_is_one_line_and_the_old_page_stays(run, tmp_path, what, message):
    folder = tmp_path / "run"
    shutil.copytree(run.folder, folder)
    more = {}
    if what == "nothing":
        folder = tmp_path / "empty"
        folder.mkdir()
    elif what == "gates":
        found = GateWeights(candidates=("H0",), weights=np.ones((95, 1)), entropy=0.0)
        other = run.predictions
        short = Predictions(
            clip_ids=("calm",),
            row_size=np.array([95]),
            frame=other.frame[:95],
            time_s=other.time_s[:95],
            values=other.values[:95],
            face_found=other.face_found[:95],
            groups=ClipGroups(unit="clip", group=("calm",)),
        )
        write_gates(folder / "gates.parquet", short, {"visual": found})
    elif what == "metrics":
        (folder / "metrics.json").write_text("{}")
    elif what == "log":
        text = (folder / "training_log.csv").read_text()
        (folder / "training_log.csv").write_text(text.replace("0.75", "much"))
    elif what == "config":
        (folder / "config.yaml").write_text("a: [")
    elif what == "comparison":
        more["comparison"] = tmp_path
    elif what == "labels":
        (tmp_path / "labels" / "Test_Set").mkdir(parents=True)
        (tmp_path / "labels" / "Test_Set" / "someone.txt").write_text("valence,arousal\n0.1,0.2\n")
        more["annotations"] = tmp_path / "labels"
    out = tmp_path / "r.html"
    out.write_text("the old page")
    with pytest.raises((ReportError, HeadError), match=message) as error:
        write_report(ReportSources(folder=folder, **more), out)
    assert "\n" not in str(error.value)
    assert out.read_text() == "the old page"


def test_predictions_without_labels_are_shown_with_their_videos_and_failures(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    video = tmp_path / "a #1?.mp4"
    video.write_bytes(b"a video")
    lines = ["clip_id,frame,time_s,valence,arousal,face_found"]
    lines += [f"talk,{i},{i / 25},{0.5 - i / 50},0.25,{i % 2 == 0}" for i in range(20)]
    (folder / "talk.csv").write_text("\n".join(lines) + "\n")
    clip = {"clip_id": "talk", "file": "talk.csv", "media": str(video), "status": "predicted", "error": None}
    clip |= {"num_frames": 20, "num_face_frames": 10, "seconds": 1.0}
    failed = {**clip, "clip_id": "dud", "file": None, "status": "failed", "error": "it hung"}
    record = {"format": "tagf-prediction-1", "tagf": "0.1.0", "checkpoints": [], "random_weights": True}
    (folder / "prediction.json").write_text(json.dumps({**record, "clips": [clip, failed]}))
    content = write_report(ReportSources(folder=folder), tmp_path / "pages" / "r.html")
    assert [row.error for row in content.rows] == [None, "it hung"]
    page, data = (tmp_path / "pages" / "r.html").read_text(), data_of(tmp_path / "pages" / "r.html")
    assert data["videos"] == {"0": {"url": "../a%20%231%3F.mp4", "offset": 0.0}}
    assert "it hung" in page
    assert "&#39;self&#39; file:" in page
    assert "say nothing about real media" in page
    assert data["traces"]["0"]["valence"]["true"] is None
    write_report(ReportSources(folder=folder), tmp_path / "r.html", videos="none")
    assert data_of(tmp_path / "r.html")["videos"] == {}
    # A video that cannot be carried is a note, and the page is made.
    content = write_report(ReportSources(folder=folder), tmp_path / "r.html", videos="embed")
    assert "A video is not on this page" in content.notes[0]


def test_clips_that_failed_in_stage_one_are_listed(run, tmp_path):
    clip = {"clip_id": "dark", "status": "failed", "error": "no video stream"}
    kept = {"clip_id": "calm", "status": "kept"}
    report = {
        "format_version": 1,
        "store": "s",
        "packed": True,
        "fingerprint": "f",
        "code_digest": "c",
        "workers": 1,
        "seconds": 1.0,
        "notes": [],
        "clips": [kept, clip],
    }
    (tmp_path / "extraction_report.json").write_text(json.dumps(report))
    found = gather(ReportSources(folder=run.folder, extraction=tmp_path / "extraction_report.json"))
    assert [(row.clip_id, row.error) for row in found.rows[-1:]] == [("dark", "no video stream")]


def test_the_command_writes_the_page_and_says_what_is_in_it(run, tmp_path):
    out = tmp_path / "r.html"
    done = CliRunner().invoke(
        command, [str(run.folder), "--out", str(out), "--annotations", str(run.annotations), "--clips", "2"]
    )
    assert done.exit_code == 0, done.output
    assert "3 clips, 2 with traces" in done.output
    assert "Traces of 2 of 3 clips are on this page" in done.output
    assert "random weights" in done.output
    assert len(data_of(out)["traces"]) == 2
