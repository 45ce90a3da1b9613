"""The log of a run for machines."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from cache.errors import StorageError
from pipeline.errors import ExtractionError
from pipeline.run.extraction_report import ClipOutcome, ExtractionReport
from pipeline.run.json_log import JsonLog

CLIP = ClipOutcome(
    clip_id="ä\ud800",
    status="extracted",
    num_parts=1,
    num_frames=10,
    num_face_frames=9,
    num_audio_frames=8,
    seconds=1.23456,
    stage_seconds={"decode": 0.98765},
)
FAILED = ClipOutcome(clip_id="b", status="failed", failed_stage="decode", error="MediaError: x", seconds=2)
REPORT = ExtractionReport(
    store="s.zarr",
    packed=False,
    fingerprint="f",
    code_digest="c",
    workers=1,
    seconds=4.5678,
    notes=(),
    clips=(CLIP, FAILED),
)


def run_into(error: BaseException, path: Path, *, ended: bool = False) -> None:
    with JsonLog(path) as log:
        log.run_started({})
        if ended:
            log.run_ended(REPORT)
        raise error


def note(path: Path) -> None:
    with JsonLog(path) as log:
        log.note("x")


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_events_are_lines_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "new" / "log.jsonl"
    with JsonLog(path) as log:
        log.run_started({"num_clips": 2, "layout": "videos"})
        assert len(lines(path)) == 1  # each line is there at once
        log.note("a note")
        log.clip(CLIP)
        log.clip(FAILED)
        log.run_ended(REPORT)
    written = lines(path)
    for line in written:
        assert datetime.fromisoformat(line.pop("time")).utcoffset() is not None
    assert written == [
        {"event": "run_started", "num_clips": 2, "layout": "videos"},
        {"event": "note", "note": "a note"},
        {
            "event": "clip",
            "clip": "ä\ud800",
            "status": "extracted",
            "frames": 10,
            "face_frames": 9,
            "audio_frames": 8,
            "seconds": 1.235,
            "stage_seconds": {"decode": 0.988},
        },
        {
            "event": "clip",
            "clip": "b",
            "status": "failed",
            "frames": 0,
            "face_frames": 0,
            "audio_frames": 0,
            "seconds": 2,
            "stage_seconds": {},
            "failed_stage": "decode",
            "error": "MediaError: x",
        },
        {
            "event": "run_ended",
            "status": "failed",
            "store": "s.zarr",
            "seconds": 4.568,
            "frames": 10,
            "num_extracted": 1,
            "num_kept": 0,
            "num_failed": 1,
            "num_skipped": 0,
        },
    ]


def test_a_run_that_ends_in_an_error_says_so(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with pytest.raises(ExtractionError):
        run_into(ExtractionError("two\n lines"), path)
    with pytest.raises(KeyboardInterrupt):
        run_into(KeyboardInterrupt(), path)
    assert [(line["event"], line.get("error")) for line in lines(path)] == [
        ("run_started", None),
        ("run_ended", "two lines"),
        ("run_started", None),
        ("run_ended", "KeyboardInterrupt"),
    ]


def test_a_run_ends_once(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with pytest.raises(ExtractionError):
        run_into(ExtractionError("too many failures"), path, ended=True)
    assert [line["event"] for line in lines(path)] == ["run_started", "run_ended"]


def test_a_complete_run_and_no_log(tmp_path: Path) -> None:
    complete = ExtractionReport(**{**vars(REPORT), "packed": True})
    with JsonLog(tmp_path / "log.jsonl") as log:
        log.run_ended(complete)
    assert lines(tmp_path / "log.jsonl")[0]["status"] == "complete"
    with JsonLog(None) as silent:
        silent.clip(CLIP)
        silent.run_ended(complete)
    assert [path.name for path in tmp_path.iterdir()] == ["log.jsonl"]


def test_a_log_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file" / "log.jsonl", Path("/dev/full")):
        with pytest.raises(StorageError, match=r"log '.*' cannot be written: .*; free the disk or name"):
            note(path)
