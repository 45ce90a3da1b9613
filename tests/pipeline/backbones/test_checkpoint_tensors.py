"""Checkpoint files that wrap, prefix, lack or add tensors, on a backbone of one layer."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from pipeline.backbones.backbone import Backbone
from pipeline.backbones.checkpoint_tensors import load_tensors, read_checkpoint
from pipeline.errors import WeightsError


class Small(Backbone):
    def __init__(self) -> None:
        super().__init__()
        self.num_features, self.input_shape = 2, (3, 1, 1)
        self.model = nn.Linear(3, 2)  # a name that is also a known prefix
        self.norm = nn.BatchNorm1d(2)


def tensors_of(value: float) -> dict[str, torch.Tensor]:
    return {
        "model.weight": torch.full((2, 3), value),
        "model.bias": torch.full((2,), value),
        "norm.weight": torch.full((2,), value),
        "norm.bias": torch.full((2,), value),
        "norm.running_mean": torch.full((2,), value),
        "norm.running_var": torch.full((2,), value),
        "norm.num_batches_tracked": torch.tensor(3),
    }


@pytest.mark.parametrize("prefix", ["", "backbone.", "module.", "module.backbone.", "model.module."])
def test_prefixes_are_stripped(prefix: str) -> None:
    backbone = Small()
    load_tensors(backbone, {prefix + name: value for name, value in tensors_of(4.0).items()}, where="x.pth")
    assert all(torch.equal(value, tensors_of(4.0)[name]) for name, value in backbone.state_dict().items())


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model_state_dict", "model"])
def test_wrapped_state_is_found(tmp_path: Path, wrapper: str | None) -> None:
    tensors = tensors_of(2.0)
    torch.save(tensors if wrapper is None else {wrapper: tensors, "epoch": 3}, tmp_path / "x.pth")
    assert read_checkpoint(tmp_path / "x.pth").keys() == tensors.keys()


def test_safetensors_without_counters_load(tmp_path: Path) -> None:
    tensors = tensors_of(2.0)
    del tensors["norm.num_batches_tracked"]
    save_file(tensors, tmp_path / "x.safetensors")
    backbone = Small()
    load_tensors(backbone, read_checkpoint(tmp_path / "x.safetensors"), where="x")
    assert backbone.norm.running_mean.tolist() == [2.0, 2.0]
    assert backbone.norm.num_batches_tracked == 0


def test_heads_on_top_are_left_out_and_others_are_not() -> None:
    tensors = tensors_of(1.0) | {"logits.weight": torch.zeros(8, 2)}
    load_tensors(Small(), tensors, where="x.pth", extra_heads=("logits.",))
    with pytest.raises(WeightsError, match=r"x\.pth: .* got 8, with 1 unexpected: logits\.weight; give"):
        load_tensors(Small(), tensors, where="x.pth", extra_heads=("fc.",))


def test_missing_unexpected_and_misshaped_tensors_are_all_named() -> None:
    tensors = tensors_of(1.0) | {"backbone.extra": torch.zeros(1), "norm.bias": torch.zeros(5)}
    del tensors["model.bias"]
    with pytest.raises(WeightsError) as caught:
        load_tensors(Small(), tensors, where="x.pth")
    message = str(caught.value)
    assert "1 missing: model.bias" in message
    assert "1 unexpected: backbone.extra" in message
    assert "1 of another shape: norm.bias (expected (2,), got (5,))" in message
    assert "\n" not in message


def test_a_tensor_given_twice_is_refused() -> None:
    tensors = tensors_of(1.0) | {"module.norm.bias": torch.zeros(2)}
    with pytest.raises(WeightsError, match=r"got 'norm\.bias' twice, the second as 'module\.norm\.bias'"):
        load_tensors(Small(), tensors, where="x.pth")


class Malicious:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("executed"),))


def test_code_in_a_pickle_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"weight": Malicious()}, tmp_path / "x.pth")
    (tmp_path / "y.pth").write_bytes(pickle.dumps(Malicious(), protocol=2))
    for name in ("x.pth", "y.pth"):
        with pytest.raises(WeightsError, match=f"{name}: expected a checkpoint of tensors alone"):
            read_checkpoint(tmp_path / name)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("name", ["x.pth", "x.pt", "x.safetensors"])
@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"PK\x03\x04 cut short"])
def test_damaged_files_are_named_on_one_line(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=name) as caught:
        read_checkpoint(tmp_path / name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [[1, 2], {}, {"lr": 0.1}, {"state_dict": {"a": [1]}}])
def test_other_things_than_tensors_are_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(WeightsError, match="expected a mapping of names to tensors, got"):
        read_checkpoint(tmp_path / "x.pth")
