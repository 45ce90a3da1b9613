"""A report opens from a file: no errors, no requests, and everything that its run holds, much or little."""

from __future__ import annotations

import http.server
import json
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from report_page import ReportPage, write_report
from watched_page import WatchedPage

from tagf_head.evaluation.predictions import read_predictions

pytestmark = pytest.mark.browser

SECTIONS = ("summary", "training", "clips", "clip", "gates", "robustness", "comparison", "provenance")


def assert_complete(report: ReportPage) -> None:
    """All sections are there and say something."""
    for name in SECTIONS:
        section = report.page.locator(f"section#{name}")
        assert section.count() == 1, name
        assert len(section.inner_text()) > 20, name
    assert report.page.title()


@pytest.mark.parametrize("kind", ["linked", "embedded"])
def test_a_run(open_report, request, kind, made_up):
    report = open_report(request.getfixturevalue(kind))
    assert_complete(report)
    assert sorted(report.clip_ids()) == sorted(made_up.times_s)
    # A clip is shown at once, with both charts and the plane.
    assert report.chosen() in made_up.times_s
    for chart in ("traces", "gate-map"):
        assert report.area(chart)["width"] > 300
    assert report.page.locator("#circumplex .path").count() == 1
    metrics = json.loads((made_up.run / "metrics.json").read_text())
    summary = report.page.inner_text("#summary").replace("\N{MINUS SIGN}", "-")
    for value in (metrics["mean_ccc"], metrics["valence"]["ccc"], metrics["arousal"]["ccc_high"]):
        assert f"{value:.3f}" in summary
    assert "random weights" in summary.lower()
    report.page.locator("#provenance summary", has_text="Features").click()
    assert "random:0/1" in report.page.inner_text("#provenance")


def test_every_clip_can_be_shown(open_report, embedded):
    report = open_report(embedded)
    for clip_id in report.clip_ids():
        report.choose(clip_id)
        assert clip_id in report.page.inner_text("#clip")
        assert report.area("traces")["width"] > 300


@pytest.mark.parametrize(
    "kept",
    [
        ("config.yaml",),
        ("metrics.json",),
        ("training_log.csv",),
        ("predictions.parquet",),
        ("best.safetensors", "training_log.csv", "config.yaml"),
        ("metrics.json", "clip_metrics.csv"),
    ],
    ids=lambda kept: "+".join(kept),
)
def test_a_run_that_holds_little_says_what_makes_the_rest(open_page, made_up, tmp_path, kept):
    run = tmp_path / "run"
    run.mkdir()
    for name in kept:
        shutil.copy(made_up.run / name, run)
    report = ReportPage(open_page(write_report(run, tmp_path / "report.html")))
    assert_complete(report)
    for _ in range(3):
        report.page.click("#theme")
    for section, file in (("training", "training_log.csv"), ("clips", "predictions.parquet")):
        text = report.page.inner_text(f"#{section}")
        has_it = file in kept or (section == "clips" and "clip_metrics.csv" in kept)
        assert ("tagf " in text) != has_it, section


def write_prediction_folder(folder: Path, run: Path, media: Path) -> Path:
    """A folder as `tagf predict --columns faces,gates,deviation` writes it, with a clip that failed."""
    folder.mkdir()
    predictions = read_predictions(run / "predictions.parquet")
    gates = pd.read_parquet(run / "gates.parquet")
    starts = np.cumsum(predictions.row_size) - predictions.row_size
    clips = []
    for clip_id, start, size in zip(predictions.clip_ids, starts, predictions.row_size, strict=True):
        rows = slice(start, start + size)
        table = pd.DataFrame({"clip_id": clip_id, "frame": predictions.frame[rows]})
        table["time_s"] = predictions.time_s[rows]
        table[["valence", "arousal"]] = predictions.values[rows]
        table["face_found"] = predictions.face_found[rows]
        for column, name in enumerate(("face_x", "face_y", "face_width", "face_height", "face_score")):
            table[name] = 10.0 * column
        for name in gates.columns[3:]:
            table[name] = gates[name].to_numpy()[rows]
        table[["valence_sd", "arousal_sd"]] = predictions.deviation[rows]
        table.to_csv(folder / f"{clip_id}.csv", index=False)
        found = [path for path in media.iterdir() if path.stem == clip_id]
        clips.append(
            {
                "clip_id": clip_id,
                "file": f"{clip_id}.csv",
                "media": str(found[0]) if found else None,
                "status": "predicted",
                "error": None,
                "num_frames": int(size),
                "num_face_frames": int(predictions.face_found[rows].sum()),
                "seconds": 1.5,
            }
        )
    failed = {"clip_id": "broken", "file": None, "media": str(media / "broken.mp4"), "status": "failed"}
    clips.append(failed | {"error": "no video stream", "num_frames": 0, "num_face_frames": 0, "seconds": 0.1})
    record = {
        "format": "tagf-prediction-1",
        "tagf": "0.1.0",
        "checkpoints": [{"path": "best.safetensors", "sha256": 64 * "a", "head": "tagf"}],
        "random_weights": True,
        "extract": {"visual.backbone": "ir50", "visual.weights": "random:0/v1"},
        "smoothing": None,
        "device": "cpu",
        "columns": [*table.columns],
        "file_format": "csv",
        "versions": {"torch": "2.11.0"},
        "clips": clips,
    }
    (folder / "prediction.json").write_text(json.dumps(record))
    return folder


def test_a_folder_of_predictions_without_labels(open_page, made_up, tmp_path):
    folder = write_prediction_folder(tmp_path / "predicted", made_up.run, made_up.media)
    page = write_report(folder, tmp_path / "report.html")
    report = ReportPage(open_page(page, files=made_up.videos))
    assert_complete(report)
    assert sorted(report.clip_ids()) == sorted([*made_up.times_s, "broken"])
    assert "no video stream" in report.page.inner_text("#clips")
    assert "random weights" in report.page.inner_text("#summary").lower()
    assert "CCC" not in report.page.inner_text("#clips-table")
    report.choose("walk")
    report.wait_for_video()
    seconds = report.click_chart("traces", 0.4)
    assert abs(report.frame_on_screen() - seconds * 25) <= 1.5
    report.choose("broken")
    assert "no video stream" in report.page.inner_text("#clip")
    assert report.page.inner_text("#clip-title") == "broken"
    for selector in ("#clip-video", "#traces", "#gate-map"):
        assert not report.page.is_visible(selector), "no other clip's picture beside its name"
    report.choose("talk")
    report.wait_for_video()
    seconds = report.click_chart("gate-map", 0.6)
    assert abs(report.frame_on_screen() - seconds * 25) <= 1.5


def test_a_linked_video_that_has_gone_is_named(browser, made_up, tmp_path):
    media = tmp_path / "media"
    shutil.copytree(made_up.media, media)
    page = write_report(made_up.run, tmp_path / "report.html", "--media", media)
    (media / "walk.mp4").unlink()
    watched = WatchedPage(browser, page, files=sorted([*media.iterdir(), media / "walk.mp4"]))
    report = ReportPage(watched)
    report.choose("walk")
    watched.wait_until("!document.querySelector('#video-absent').hidden", what="a word about the video")
    assert "walk.mp4" in report.page.inner_text("#clip")
    seconds = report.click_chart("traces", 0.5)
    assert report.cursor_s() == pytest.approx(seconds, abs=0.05)
    problems = [problem for problem in watched.close() if "ERR_FILE_NOT_FOUND" not in problem]
    assert not problems


def test_it_opens_without_videos_wherever_it_is_taken(open_page, made_up, tmp_path):
    page = write_report(made_up.run, tmp_path / "a b" / "répört #1%.html", "--videos", "none")
    assert_complete(ReportPage(open_page(page)))


@pytest.fixture
def served(made_up) -> Iterator[str]:
    """The folder of the reports behind a web server on this machine."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

    folder = str(made_up.run.parent.parent)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_it_works_behind_a_web_server(open_page, served, linked, embedded, made_up):
    folder = made_up.run.parent.parent
    for page in (linked, embedded):
        url = f"{served}/{page.relative_to(folder)}"
        urls = [f"{served}/media/{video.name.replace(' ', '%20')}" for video in made_up.videos]
        report = ReportPage(open_page(page, url=url, urls=urls))
        assert_complete(report)
        report.choose("walk")
        report.wait_for_video()
        assert report.frame_on_screen() == 0


def test_without_scripts_the_numbers_can_be_read(open_page, linked):
    watched = open_page(linked, java_script_enabled=False)
    assert "JavaScript" in watched.page.locator("body").inner_text()
    assert watched.page.locator("#clips-table tbody tr").count() == 7
    assert "random weights" in watched.page.locator("#summary").inner_text().lower()


def test_fifty_long_clips_stay_below_eight_megabytes(open_page, fifty_clips):
    assert fifty_clips.stat().st_size < 8_000_000
    report = ReportPage(open_page(fifty_clips))
    assert_complete(report)
    assert len(report.clip_ids()) == 50
    report.choose("clip 37")
    # 5,400 frames at 25 per second.
    area = report.area("traces")
    assert report.seconds_at("traces", area["x"] + area["width"]) == pytest.approx(216, abs=1)
