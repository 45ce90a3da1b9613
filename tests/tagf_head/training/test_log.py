"""Records of epochs: the line that is shown, the CSV file, and TensorBoard's events."""

from __future__ import annotations

import csv
import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest

from tagf_head.errors import TrainingError
from tagf_head.training.log import EpochRecord, TensorBoardLog, log_bytes, read_log


def record(epoch: int, **entropy: float) -> EpochRecord:
    return EpochRecord(
        epoch=epoch,
        train_loss=1.23456,
        lr=1e-5 / 3,
        validation_ccc_valence=0.1,
        validation_ccc_arousal=-0.25,
        validation_ccc_mean=-0.075,
        gate_entropy=entropy,
    )


def test_line() -> None:
    line = record(3, visual=1.0986, audio=0.5).line(30, 123.44, is_best=True)
    assert line == (
        "epoch 3/30  loss 1.2346  CCC valence +0.100  arousal -0.250  mean -0.075  lr 3.3e-06  "
        "123.4 windows/s  gate entropy visual 1.099  audio 0.500  best"
    )
    assert record(3).line(30, 5.0, is_best=False).endswith("5.0 windows/s")


def test_likelihoods_have_columns_where_there_are_some() -> None:
    uncertain = dataclasses.replace(record(1, visual=0.5), train_nll=-0.25, validation_nll=1.5)
    line = uncertain.line(30, 5.0, is_best=True)
    assert line.endswith("5.0 windows/s  NLL -0.250  validation +1.500  gate entropy visual 0.500  best")
    header, row = csv.reader(log_bytes([uncertain]).decode().splitlines())
    plain = log_bytes([record(1, visual=0.5)]).decode().splitlines()[0].split(",")
    assert header == [*plain[:-1], "train_nll", "validation_nll", "gate_entropy_visual"]
    assert row[-3:] == ["-0.25", "1.5", "0.5"]
    assert read_log(log_bytes([uncertain])) == (uncertain,)


def test_heads_with_and_without_gates_have_the_same_columns() -> None:
    header, *rows = csv.reader(log_bytes([record(1), record(2)]).decode().splitlines())
    assert header[-2:] == ["gate_entropy_visual", "gate_entropy_audio"]
    assert [row[-2:] for row in rows] == [["", ""], ["", ""]]
    gated = log_bytes([record(1, visual=1.0, audio=0.25)])
    assert gated.decode().splitlines()[0].split(",") == header
    assert gated.decode().splitlines()[1].endswith(",1.0,0.25")


@pytest.mark.parametrize("entropy", [{}, {"visual": 1.0, "audio": 1 / 3}, {"valence_visual": 0.1}])
def test_what_was_written_is_read(entropy: dict[str, float]) -> None:
    history = (record(1, **entropy), record(2, **entropy))
    assert read_log(log_bytes(history)) == history


@pytest.mark.parametrize("content", [b"a,b\n1,2\n", b"epoch\n1\n", b"epoch,train_loss\nx,y\n", b"\xff\xfe"])
def test_no_log_is_told(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_log(content)


def test_events_of_an_earlier_run_are_replaced_when_there_are_new_ones(tmp_path: Path) -> None:
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    for history in ([record(1), record(2)], [record(1, visual=0.5)]):
        board = TensorBoardLog(tmp_path)
        board.close()
        before = sorted(tmp_path.iterdir())
        board = TensorBoardLog(tmp_path)
        assert sorted(tmp_path.iterdir()) == before
        board.add(history)
        board.close()
    (tmp_path / "notes.txt").touch()
    events = event_accumulator.EventAccumulator(str(tmp_path)).Reload()
    assert "gate_entropy_visual" in events.Tags()["scalars"]
    (event,) = events.Scalars("train_loss")
    assert (event.step, event.value) == (1, np.float32(1.23456))


def test_without_tensorboard_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(TrainingError, match=r"pip install 'tagf\[tensorboard\]'"):
        TensorBoardLog(tmp_path)
