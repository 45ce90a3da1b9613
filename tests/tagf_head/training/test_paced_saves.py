"""Saves of states that take a twentieth of the time at most."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tagf_head.errors import HeadError
from tagf_head.training.paced_saves import PacedSaves
from tagf_head.training.state import TrainingStateFile


class SlowFile(TrainingStateFile):
    """A state file whose saves take two seconds of a clock of its own."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "k", folder / "run")
        self.clock_s = 0.0
        self.saved: list[Any] = []
        self.is_full = False

    def save(self, state: Any) -> None:
        self.clock_s += 2
        if self.is_full:
            raise HeadError("no room")
        self.saved.append(int(state["epoch"]))


@pytest.fixture
def file(tmp_path: Path) -> SlowFile:
    return SlowFile(tmp_path)


@pytest.mark.parametrize(("epoch_s", "expected"), [(50, [0, 1, 2, 3, 4]), (15, [0, 3])])
def test_pace(file: SlowFile, epoch_s: float, expected: list[int]) -> None:
    saves = PacedSaves(file, now_s=lambda: file.clock_s)
    for epoch in range(5):
        saves.add({"epoch": torch.tensor(epoch)})
        file.clock_s += epoch_s
    assert file.saved == expected


def test_an_interrupted_run_saves_its_last_epoch_as_it_was(file: SlowFile) -> None:
    saves = PacedSaves(file, now_s=lambda: file.clock_s)
    weights = torch.tensor(0)
    for _ in range(3):
        saves.add({"epoch": weights})
        weights += 1
    saves.catch_up()
    saves.catch_up()
    assert file.saved == [0, 2]


def test_what_was_saved_or_discarded_or_could_not_be_saved_does_not_wait(file: SlowFile) -> None:
    saves = PacedSaves(file, now_s=lambda: file.clock_s)
    for epoch in range(3):
        saves.add({"epoch": epoch})
        file.clock_s += 39
    saves.catch_up()
    assert file.saved == [0, 2]
    saves.add({"epoch": 3})
    saves.discard()
    saves.catch_up()
    assert file.saved == [0, 2]
    file.clock_s, file.is_full = 1e3, True
    with pytest.raises(HeadError, match="no room"):
        saves.add({"epoch": 4})
    file.is_full = False
    saves.catch_up()
    assert file.saved == [0, 2]
