"""extraction_report.json: what it says, and reading it again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import ExtractionError
from pipeline.run.extraction_report import (
    ClipOutcome,
    ExtractionReport,
    clips_to_retry,
    outcome_of_parts,
    read_report,
)


@pytest.fixture
def report() -> ExtractionReport:
    clips = (
        ClipOutcome(
            clip_id="a",
            status="extracted",
            num_parts=1,
            num_frames=100,
            num_face_frames=90,
            num_audio_frames=80,
            seconds=4.0,
            stage_seconds={"decode": 1.0, "faces": 3.0},
        ),
        outcome_of_parts(
            "b",
            "kept",
            [
                {"num_frames": 50, "num_face_frames": 5, "num_audio_frames": 6, "machine": "x"},
                {"num_frames": 30, "num_face_frames": 30, "num_audio_frames": None},
            ],
        ),
        ClipOutcome(clip_id="c", status="failed", failed_stage="decode", error="MediaError: cut short"),
        ClipOutcome(
            clip_id="d", status="extracted", num_parts=1, num_frames=20, stage_seconds={"decode": 0.5}
        ),
        ClipOutcome(clip_id="e", status="skipped"),
    )
    return ExtractionReport(
        store="x.zarr",
        packed=False,
        fingerprint="f",
        code_digest="c",
        workers=2,
        seconds=8.0,
        notes=("a note",),
        clips=clips,
    )


def test_report_counts_and_names_everything(tmp_path: Path, report: ExtractionReport) -> None:
    report.write(tmp_path / "new" / "report.json")
    written = json.loads((tmp_path / "new" / "report.json").read_text())
    assert written["totals"] == {
        "num_clips": 5,
        "num_extracted": 2,
        "num_kept": 1,
        "num_failed": 1,
        "num_skipped": 1,
        "num_parts": 4,
        "num_frames": 200,
        "num_face_frames": 125,
        "num_audio_frames": 86,
        "extracted_frames_per_s": 15.0,
        "stage_seconds": {"decode": 1.5, "faces": 3.0},
    }
    assert written["clips"][2]["error"] == "MediaError: cut short"
    assert written["clips"][1]["num_face_frames"] == 35
    assert [clip["frames_per_s"] for clip in written["clips"]] == [25.0, 0.0, 0.0, 0.0, 0.0]
    assert [clip.clip_id for clip in report.failures] == ["c"]
    assert written["notes"] == ["a note"]


def test_a_report_is_read_as_it_was_written(tmp_path: Path, report: ExtractionReport) -> None:
    report.write(tmp_path / "report.json")
    assert read_report(tmp_path / "report.json") == report


def test_the_failed_clips_that_still_exist_are_tried_again(tmp_path: Path, report: ExtractionReport) -> None:
    path = tmp_path / "report.json"
    report.write(path)
    assert clips_to_retry(path, ["a", "b", "c", "new"]) == {"c"}
    with pytest.raises(ExtractionError, match="found 1 that the source does not hold"):
        clips_to_retry(path, ["a", "b"])


def test_without_failures_there_is_nothing_to_try_again(tmp_path: Path, report: ExtractionReport) -> None:
    path = tmp_path / "report.json"
    healthy = tuple(clip for clip in report.clips if clip.status != "failed")
    ExtractionReport(**{**vars(report), "clips": healthy}).write(path)
    with pytest.raises(ExtractionError, match="expected failed clips to try again, found none; run without"):
        clips_to_retry(path, ["a", "b"])


def _without(content: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in content.items() if key != name}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda _: "{", "expected JSON, got "),
        (lambda _: b"\xff\xfe", "expected JSON, got "),
        (lambda _: "[]", "expected an extraction report, got other JSON"),
        (lambda _: "null", "expected an extraction report, got other JSON"),
        (lambda content: json.dumps(_without(content, "format_version")), "got other JSON"),
        (lambda content: json.dumps(content | {"format_version": 2}), "expected format 1, got 2 of another"),
        (lambda content: json.dumps(_without(content, "clips")), r"got a wrong 'clips' \(Field required"),
        (lambda content: json.dumps(content | {"workers": "many"}), "got a wrong 'workers'"),
        (
            lambda content: json.dumps(content | {"clips": [{"clip_id": "a", "status": "lost"}]}),
            r"got a wrong 'clips\.0\.status'",
        ),
    ],
)
def test_what_is_no_report_is_refused(
    tmp_path: Path, report: ExtractionReport, spoil: Any, message: str
) -> None:
    path = tmp_path / "report.json"
    report.write(path)
    spoilt = spoil(json.loads(path.read_bytes()))
    path.write_bytes(spoilt if isinstance(spoilt, bytes) else spoilt.encode())
    with pytest.raises(ExtractionError, match=message) as caught:
        read_report(path)
    assert str(path) in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_missing_report_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        ExtractionError, match=r"gone\.json'.* found no file; .* or run without --retry-failed"
    ):
        read_report(tmp_path / "gone.json")
