"""`import pipeline` is light, and its names resolve."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import pipeline

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("module", ["pipeline", "pipeline.run.runner", "pipeline.manifest"])
def test_import_does_not_load_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize("name", pipeline.__all__)
def test_exported_names_resolve(name: str) -> None:
    assert name in dir(pipeline)
    assert getattr(pipeline, name).__name__ == name


def test_other_names_are_refused() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'extract_feature'"):
        _ = pipeline.extract_feature
