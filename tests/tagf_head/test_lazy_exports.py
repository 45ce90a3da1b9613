"""`import tagf_head` is light, its names resolve, and the examples in the docstrings hold."""

from __future__ import annotations

import doctest
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import tagf_head
from tagf_head.errors import AnnotationError, CheckpointError, HeadError, TrainingError, UnknownHeadError

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "module", ["tagf_head", "tagf_head.config", "tagf_head.errors", "tagf_head.evaluation.metrics"]
)
def test_import_does_not_load_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize("name", tagf_head.__all__)
def test_exported_names_resolve(name: str) -> None:
    assert name in dir(tagf_head)
    assert getattr(tagf_head, name).__name__ == name


def test_other_names_are_refused() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'build_heads'"):
        _ = tagf_head.build_heads


@pytest.mark.parametrize("error", [AnnotationError, CheckpointError, TrainingError, UnknownHeadError])
def test_errors_are_one_family(error: type[Exception]) -> None:
    assert issubclass(error, HeadError)
    assert issubclass(error, ValueError)


@pytest.mark.parametrize("module", ["ccc", "evaluation.gate_weights", "evaluation.metrics", "layers.tcn"])
def test_examples_in_docstrings(module: str) -> None:
    result = doctest.testmod(importlib.import_module(f"tagf_head.{module}"))
    assert result.attempted > 0
    assert result.failed == 0
