"""The README's Python does what it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

README = Path(__file__).resolve().parents[2] / "README.md"


def test_examples_run_one_after_another(corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data/corpus").mkdir(parents=True)
    (tmp_path / "data/features.zarr").symlink_to(corpus.store)
    (tmp_path / "data/corpus/annotations").symlink_to(corpus.annotations)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TAGF_WORK_DIR", str(tmp_path / "work"))
    blocks = re.findall(
        r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    names: dict[str, object] = {}
    for block in blocks:
        if "import Predictor" in block:  # reads media; tests/pipeline/cli/test_docs_commands.py runs it
            continue
        exec(compile(block, str(README), "exec"), names)
    found, clip, result = names["found"], names["clip"], names["result"]
    assert found.prediction.shape == (1, len(clip), 2)
    assert found.gates["visual"].shape == (1, len(clip), 3)
    assert len(result.history) == 10
    assert (tmp_path / "runs/notebook/best.safetensors").is_file()
