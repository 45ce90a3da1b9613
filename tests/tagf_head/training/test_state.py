"""The state of an interrupted run: found by the same run alone, whole or not at all."""

from __future__ import annotations

import dataclasses
import os
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from tagf_head.data.folds import Fold
from tagf_head.training import state as training_state
from tagf_head.training.state import TrainingStateFile, sources_digest, training_key


def key(training, **changes: Any) -> str:
    facts: dict[str, Any] = {
        "config": training,
        "features_digest": "f" * 64,
        "annotations_digest": "a" * 64,
        "train_clips": ("t1", "t2"),
        "validation_clips": ("v1",),
        "fold": None,
        "device": torch.device("cpu"),
        "num_processes": 1,
    }
    return training_key(**{**facts, **changes})


def test_key_changes_with_all_that_changes_numbers(training, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [
        key(training),
        key(dataclasses.replace(training, seed=1)),
        key(dataclasses.replace(training, head=dataclasses.replace(training.head, tcn_dropout=0.2))),
        key(training, features_digest="0" * 64),
        key(training, annotations_digest="0" * 64),
        key(training, train_clips=("t2", "t1")),
        key(training, train_clips=("t1",), validation_clips=("t2", "v1")),
        key(training, fold=Fold(index=0, num_folds=6)),
        key(training, fold=Fold(index=0, num_folds=5)),
        key(training, num_processes=2),
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
    # Where the rows lie changes no number.
    assert key(dataclasses.replace(training, rows_memory_gb=1.0)) == keys[0]


def test_sources_digest_reads_every_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digests = [sources_digest()]
    (tmp_path / "heads").mkdir()
    for name, content in (("a.py", "1"), ("heads/b.py", "2"), ("heads/b.py", "3"), ("heads/c.py", "")):
        (tmp_path / name).write_text(content)
        monkeypatch.setattr(training_state, "__file__", str(tmp_path / "training" / "state.py"))
        sources_digest.cache_clear()
        digests.append(sources_digest())
    assert len(set(digests)) == len(digests)
    # What reads finished runs makes them no others.
    (tmp_path / "comparison").mkdir()
    (tmp_path / "comparison" / "table.py").write_text("4")
    sources_digest.cache_clear()
    assert sources_digest() == digests[-1]
    monkeypatch.undo()
    sources_digest.cache_clear()
    assert sources_digest() == digests[0]


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    file = TrainingStateFile(tmp_path, "k", tmp_path / "run")
    assert file.load() is None
    state = {"tensor": torch.arange(3), "number": 0.1, "list": [{"a": None}], "infinity": -float("inf")}
    file.save({"tensor": torch.zeros(1)})
    file.save(state)
    loaded = file.load()
    assert loaded is not None
    assert torch.equal(loaded.pop("tensor"), state.pop("tensor"))
    assert loaded == state
    for key, out in (("other", "run"), ("k", "run2")):
        other = TrainingStateFile(tmp_path, key, tmp_path / out)
        assert other.load() is None
        other.discard()
    # However the folder is named.
    assert TrainingStateFile(tmp_path, "k", tmp_path / "a/../run").load() is not None
    file.discard()
    assert file.load() is None


def test_no_damaged_state_is_loaded(tmp_path: Path) -> None:
    file = TrainingStateFile(tmp_path, "k", tmp_path / "run")
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


def put(folder: Path, name: str, age_days: float, size_bytes: int = 0) -> Path:
    """A state of another run."""
    path = folder / "training" / name
    path.parent.mkdir(exist_ok=True)
    with path.open("wb") as file:
        file.truncate(size_bytes)
    written_s = time.time() - age_days * 24 * 3600
    os.utime(path, (written_s, written_s))
    return path


def test_states_that_nobody_goes_on_with_are_removed(tmp_path: Path) -> None:
    old = put(tmp_path, "old.pt", 31)
    young = [put(tmp_path, f"{age}.pt", age) for age in (29, 2, 0)]
    other = put(tmp_path, "notes.txt", 100)
    file = TrainingStateFile(tmp_path, "k", tmp_path / "run")
    own = put(tmp_path, file.path.name, 100)
    assert file.load() is None
    assert old.exists()  # only who writes cleans up
    file.save({"epoch": 1})
    assert not old.exists()
    assert all(path.exists() for path in (*young, other, own))
    # Once per run.
    old = put(tmp_path, "old.pt", 31)
    file.save({"epoch": 2})
    assert old.exists()
    TrainingStateFile(tmp_path, "k2", tmp_path / "run").save({"epoch": 1})
    assert not old.exists()


def test_states_beyond_a_few_gigabytes_are_removed_from_the_oldest_on(tmp_path: Path) -> None:
    # Sparse files: nothing is written.
    ages = (20, 10, 5, 0.5)
    states = [put(tmp_path, f"{age}.pt", age, 1_500_000_000) for age in ages]
    TrainingStateFile(tmp_path, "k", tmp_path / "run").save({"epoch": 1})
    assert [path.exists() for path in states] == [False, False, True, True]
    # A state of today may be another run's that goes on.
    today = [put(tmp_path, f"today-{index}.pt", 0.1, 1_500_000_000) for index in range(4)]
    TrainingStateFile(tmp_path, "k", tmp_path / "run").save({"epoch": 1})
    assert [path.exists() for path in (*states[2:], *today)] == [False, True, True, True, True, True]


class Payload:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.write_text, (Path("/nonexistent/payload-ran"), ""))


def test_code_in_a_state_is_not_run(tmp_path: Path) -> None:
    file = TrainingStateFile(tmp_path, "k", tmp_path / "run")
    file.save({"payload": Payload()})
    with pytest.raises(Exception, match="Weights only load failed"):
        file.load()
