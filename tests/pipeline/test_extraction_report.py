"""extraction_report.json."""

from __future__ import annotations

import json
from pathlib import Path

from pipeline.extraction_report import ClipOutcome, ExtractionReport, outcome_of_part


def test_report_counts_and_names_everything(tmp_path: Path) -> None:
    clips = (
        ClipOutcome(
            clip_id="a",
            status="extracted",
            num_frames=100,
            num_face_frames=90,
            num_audio_frames=80,
            seconds=4.0,
            stage_seconds={"decode": 1.0, "faces": 3.0},
        ),
        outcome_of_part(
            "b", "kept", {"num_frames": 50, "num_face_frames": 5, "num_audio_frames": 6, "machine": "x"}
        ),
        ClipOutcome(clip_id="c", status="failed", failed_stage="decode", error="MediaError: cut short"),
        ClipOutcome(clip_id="d", status="extracted", num_frames=20, stage_seconds={"decode": 0.5}),
    )
    report = ExtractionReport(
        store="x.zarr",
        packed=False,
        fingerprint="f",
        code_digest="c",
        workers=2,
        seconds=8.0,
        notes=("a note",),
        clips=clips,
    )
    report.write(tmp_path / "new" / "report.json")
    written = json.loads((tmp_path / "new" / "report.json").read_text())
    assert written["totals"] == {
        "num_clips": 4,
        "num_extracted": 2,
        "num_kept": 1,
        "num_failed": 1,
        "num_frames": 170,
        "num_face_frames": 95,
        "num_audio_frames": 86,
        "extracted_frames_per_s": 15.0,
        "stage_seconds": {"decode": 1.5, "faces": 3.0},
    }
    assert written["clips"][2]["error"] == "MediaError: cut short"
    assert written["clips"][1]["num_face_frames"] == 5
    assert [clip.clip_id for clip in report.failures] == ["c"]
    assert written["notes"] == ["a note"]
