"""`tagf doctor`: a healthy machine, and what it says of a sick one."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pipeline import doctor, environment
from pipeline.cli.doctor import command
from pipeline.config import ExtractConfig
from pipeline.errors import MediaError, PipelineError
from pipeline.run import runner
from pipeline.run.extraction_report import ClipOutcome, ExtractionReport
from pipeline.weights.registry import RegisteredWeights

SECTIONS = ["versions", "ffmpeg", "devices", "work folder", "weights", "environment"]


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAGF_WORK_DIR", str(tmp_path / "work"))
    monkeypatch.setenv("TAGF_WEIGHTS_DIR", str(tmp_path / "weights"))
    # Of the machine that runs the tests, its GPU may be one that torch cannot use.
    monkeypatch.setattr(environment, "device_facts", lambda problems: {"cpu": "one"})


def test_a_healthy_machine_extracts_a_clip() -> None:
    result = CliRunner().invoke(command, ["--json", "--device", "cpu"])
    assert result.exit_code == 0, result.output
    found: Any = json.loads(result.stdout)
    assert list(found) == ["problems", *SECTIONS, "trial"]
    assert found["problems"] == []
    trial = found["trial"]
    assert (trial["rows"], trial["rows with sound"]) == (25, 25)
    assert trial["rows with a face"] > 20
    stages = sum(seconds for name, seconds in trial.items() if name.startswith("of it "))
    assert 0 < stages <= trial["extract it (s)"] + 0.1


def test_text_has_all_sections_and_no_trial_where_none_is_wanted() -> None:
    diagnosis = doctor.diagnose(ExtractConfig(), try_clip=False)
    text = diagnosis.to_text().splitlines()
    assert [line for line in text if line in SECTIONS] == SECTIONS
    assert "trial" not in text
    assert text[-1] == "No problems found."
    assert "  writable     yes" in text


def test_problems_end_in_a_failure_that_names_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "_PACKAGES", {"no-such": None, "neither": None})
    result = CliRunner().invoke(command, ["--no-clip"])
    assert isinstance(result.exception, PipelineError)
    assert str(result.exception) == (
        "2 problems found, the first: the package no-such is not installed; run 'pip install no-such'"
    )
    assert result.stdout.splitlines()[-3:] == [
        "problems",
        "  the package no-such is not installed; run 'pip install no-such'",
        "  the package neither is not installed; run 'pip install neither'",
    ]


def test_a_look_that_fails_does_not_hide_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def fall_over(problems: list[str]) -> dict[str, Any]:
        raise ImportError("libtorch\nis gone")

    monkeypatch.setattr(environment, "device_facts", fall_over)
    diagnosis = doctor.diagnose(ExtractConfig(), try_clip=False)
    assert diagnosis.problems == ("devices: ImportError: libtorch is gone",)
    assert list(diagnosis.sections) == SECTIONS
    assert diagnosis.sections["devices"] == {}


def test_weights_are_held_against_what_is_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = hashlib.sha256(b"weights").hexdigest()

    def weights(name: str, sha256: str | None) -> RegisteredWeights:
        return RegisteredWeights(
            name=name, backbone="ir50", file_name=f"{name}.pth", url=None, size_bytes=None, sha256=sha256,
            licence="", notes="",
        )  # fmt: skip

    registry = {"good": digest[:8], "unsure": None, "bad": "0" * 8, "absent": None}
    monkeypatch.setattr(
        doctor, "REGISTRY", {name: weights(name, sha256) for name, sha256 in registry.items()}
    )
    (tmp_path / "weights").mkdir()
    for name in ("good", "unsure", "bad"):
        (tmp_path / "weights" / f"{name}.pth").write_bytes(b"weights")
    diagnosis = doctor.diagnose(ExtractConfig(), try_clip=False)
    facts = dict(diagnosis.sections["weights"])
    assert facts.pop("path") == str(tmp_path / "weights")
    assert facts == {
        "good": f"found, SHA-256 {digest[:16]}, as published",
        "unsure": f"found, SHA-256 {digest[:16]}, of which none is published",
        "bad": "damaged, or another file",
        "absent": None,
    }
    assert len(diagnosis.problems) == 1
    assert "bad.pth" in diagnosis.problems[0]


def test_a_clip_that_does_not_go_through_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> ExtractionReport:
        raise MediaError("no\ndecoder")

    monkeypatch.setattr(runner, "extract_features", refuse)
    diagnosis = doctor.diagnose(ExtractConfig())
    assert diagnosis.problems == ("a drawn clip does not go through: no decoder",)
    assert {"draw and encode a clip (s)", "extract it (s)"} == diagnosis.sections["trial"].keys()


def test_a_clip_without_faces_or_sound_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    class Store:
        num_frames = 24

        @classmethod
        def open(cls, path: Path) -> Store:
            return cls()

    def extract(*_: object) -> ExtractionReport:
        clip = ClipOutcome(clip_id="x", status="extracted", num_frames=24, stage_seconds={"decode": 1.0})
        return ExtractionReport(
            store="",
            packed=True,
            fingerprint="",
            code_digest="",
            workers=1,
            seconds=1,
            notes=(),
            clips=(clip,),
        )

    monkeypatch.setattr(runner, "extract_features", extract)
    monkeypatch.setattr("cache.store.FeatureStore", Store)
    diagnosis = doctor.diagnose(ExtractConfig())
    found = [problem.split(";")[0] for problem in diagnosis.problems]
    assert found == [
        "of a drawn clip: expected 25 rows, got 24",
        "of a drawn clip: expected faces, found none",
        "of a drawn clip: expected sound, heard none",
    ]
    assert diagnosis.sections["trial"]["of it decode (s)"] == 1.0
