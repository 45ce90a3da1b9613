"""The state of an interrupted run: found by the same run alone, whole or not at all."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from tagf_head import training_state
from tagf_head.training_state import TrainingStateFile, sources_digest, training_key


def key(training, **changes: Any) -> str:
    facts: dict[str, Any] = {
        "config": training,
        "features_digest": "f" * 64,
        "annotations_digest": "a" * 64,
        "clip_ids": ("t1", "v1"),
        "device": torch.device("cpu"),
    }
    return training_key(**{**facts, **changes})


def test_key_changes_with_all_that_changes_numbers(training, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [
        key(training),
        key(dataclasses.replace(training, seed=1)),
        key(dataclasses.replace(training, head=dataclasses.replace(training.head, tcn_dropout=0.2))),
        key(training, features_digest="0" * 64),
        key(training, annotations_digest="0" * 64),
        key(training, clip_ids=("v1", "t1")),
        key(training, device=torch.device("cuda", 0)),
    ]
    monkeypatch.setattr(training_state, "sources_digest", lambda: "other code")
    keys.append(key(training))
    monkeypatch.undo()
    monkeypatch.setattr(torch, "__version__", "9.9")
    keys.append(key(training))
    assert len(set(keys)) == len(keys)
    monkeypatch.undo()
    assert key(training) == keys[0]


def test_sources_digest_reads_every_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digests = [sources_digest()]
    (tmp_path / "heads").mkdir()
    for name, content in (("a.py", "1"), ("heads/b.py", "2"), ("heads/b.py", "3"), ("heads/c.py", "")):
        (tmp_path / name).write_text(content)
        monkeypatch.setattr(training_state, "__file__", str(tmp_path / "training_state.py"))
        sources_digest.cache_clear()
        digests.append(sources_digest())
    monkeypatch.undo()
    sources_digest.cache_clear()
    assert len(set(digests)) == len(digests)
    assert sources_digest() == digests[0]


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    file = TrainingStateFile(tmp_path, "k")
    assert file.load() is None
    state = {"tensor": torch.arange(3), "number": 0.1, "list": [{"a": None}], "infinity": -float("inf")}
    file.save({"tensor": torch.zeros(1)})
    file.save(state)
    loaded = file.load()
    assert loaded is not None
    assert torch.equal(loaded.pop("tensor"), state.pop("tensor"))
    assert loaded == state
    assert TrainingStateFile(tmp_path, "other").load() is None
    file.discard()
    assert file.load() is None


def test_no_damaged_state_is_loaded(tmp_path: Path) -> None:
    file = TrainingStateFile(tmp_path, "k")
    file.save({"tensor": torch.arange(30)})
    content = file.path.read_bytes()
    for position in range(0, len(content), 7):
        damaged = bytearray(content)
        damaged[position] ^= 1
        file.path.write_bytes(damaged)
        assert file.load() is None, position
    for length in (0, 5, 32, len(content) - 1):
        file.path.write_bytes(content[:length])
        assert file.load() is None, length
    file.path.write_bytes(content)
    assert file.load() is not None


class Payload:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.write_text, (Path("/nonexistent/payload-ran"), ""))


def test_code_in_a_state_is_not_run(tmp_path: Path) -> None:
    file = TrainingStateFile(tmp_path, "k")
    file.save({"payload": Payload()})
    with pytest.raises(Exception, match="Weights only load failed"):
        file.load()
