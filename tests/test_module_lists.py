"""dvc.yaml's code dependencies, held against the import graph."""

from __future__ import annotations

from pathlib import Path

import grimp
import pytest
import yaml

from tagf_head.training.state import _BEYOND_TRAINING

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("pipeline", "tagf_head", "cache", cache_dir=None)


@pytest.fixture(scope="module")
def stages() -> dict[str, dict]:
    return yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


def module_file(module: str) -> str:
    path = Path(*module.split("."))
    return str(path / "__init__.py") if (ROOT / path).is_dir() else f"{path}.py"


def closure(graph: grimp.ImportGraph, module: str) -> set[str]:
    """The module and all of ours that it imports, directly or not; empty files make no numbers."""
    modules = graph.find_upstream_modules(module) | {module}
    return {module_file(m) for m in modules if (ROOT / module_file(m)).stat().st_size}


@pytest.mark.parametrize(
    ("stage", "entries"),
    [
        ("corpus", ["pipeline.sample_corpus"]),
        # What makes a clip's rows, names them and writes them; not what schedules, shows or reports.
        ("extract", ["pipeline.extract", "pipeline.feature_spec", "cache.pack"]),
        ("train", ["tagf_head.training.train"]),
        ("evaluate", ["tagf_head.evaluation.evaluate"]),
        ("results", ["tagf_head.evaluation.results"]),
        ("compare", ["tagf_head.comparison.compare"]),
        ("robustness", ["tagf_head.robustness.run"]),
        ("report", ["pipeline.report.report"]),
    ],
)
def test_code_dependencies_of_a_stage_are_what_its_entries_import(graph, stages, stage, entries):
    listed = [dep for dep in stages[stage]["deps"] if dep.endswith(".py")]
    assert listed == sorted(set().union(*(closure(graph, entry) for entry in entries)))


def test_training_runs_none_of_the_code_that_its_key_leaves_out(graph):
    files = closure(graph, "tagf_head.training.train")
    assert not {Path(file).parts[1] for file in files if file.startswith("tagf_head/")} & _BEYOND_TRAINING


def test_extraction_depends_on_no_code_of_heads_command_line_corpus_or_report(stages):
    others = (
        "tagf_head/",
        "pipeline/cli/",
        "pipeline/sample_corpus/",
        "pipeline/run/",
        "pipeline/preview/",
    )
    assert not [dep for dep in stages["extract"]["deps"] if dep.startswith(others)]


def test_extraction_depends_on_decoding_faces_log_mel_and_backbones(stages):
    names = (
        "media/video",
        "media/audio",
        "media/log_mel",
        "faces/detector",
        "faces/tracks",
        "backbones/ir50",
    )
    assert {f"pipeline/{name}.py" for name in names} <= set(stages["extract"]["deps"])
