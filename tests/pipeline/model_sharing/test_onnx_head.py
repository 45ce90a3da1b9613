"""Heads as ONNX: what onnxruntime makes of them is what PyTorch makes of them, and a card's example runs."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir
import onnxruntime
import pyarrow.parquet as pq
import pytest
import torch
from huggingface_hub import ModelCard

from pipeline.model_sharing import onnx_head as module
from pipeline.model_sharing.export import export_model
from pipeline.model_sharing.onnx_head import onnx_head
from tagf_head.checkpoint import Checkpoint
from tagf_head.config import HeadConfig, TrainConfig
from tagf_head.errors import HeadError
from tagf_head.heads import build_head


@pytest.fixture(scope="module")
def checkpoint(make_info) -> Callable[..., Checkpoint]:
    """Makes a tiny, untrained head; by default the one that is translated fastest."""

    def make(**settings) -> Checkpoint:
        tiny = {"visual_features": 16, "audio_features": 8, "audio_channels": (6,), "regressor_features": 8}
        head = HeadConfig(**{"name": "audio_only"} | tiny | settings)
        torch.manual_seed(2)
        train = TrainConfig(head=head, window=10, stride=6)
        return Checkpoint(head=build_head(head).eval(), info=dataclasses.replace(make_info(), train=train))

    return make


def test_the_cards_example_gives_the_predictions_of_evaluate(run, tmp_path: Path) -> None:
    """The whole way: export, then the card's own code in a process that cannot import PyTorch."""
    exported = export_model(run.folder, tmp_path / "out", onnx=True)
    assert exported.onnx_difference is not None
    assert exported.onnx_difference < 1e-6
    model = onnx.load(tmp_path / "out" / "model.onnx")
    onnx.checker.check_model(model)
    assert "onnx" in ModelCard.load(tmp_path / "out" / "README.md").data.tags
    # Nothing of this machine, such as the files from which a node comes.
    content = (tmp_path / "out" / "model.onnx").read_bytes()
    for name in (b".py", b"stack_trace", str(Path.cwd()).encode()):
        assert name not in content
    (metadata,) = (json.loads(each.value) for each in model.metadata_props if each.key == "tagf")
    assert (metadata["window"], metadata["stride"], metadata["num_frames"]) == (10, 6, None)
    assert metadata["gates"] == {f"gate_{each}": ["H0", "H1"] for each in ("visual", "audio")}
    assert metadata["random_weights"] is True
    assert [each.name for each in model.graph.output] == [
        *("prediction", "deviation", "gate_visual", "gate_audio")
    ]

    (tmp_path / "out" / "data").mkdir()
    (tmp_path / "out" / "data" / "features.zarr").symlink_to(run.store)
    card = (tmp_path / "out" / "README.md").read_text()
    (example,) = (each for each in card.split("```python\n")[1:] if "import onnxruntime" in each)
    script = (
        "import sys\nsys.modules['torch'] = None\n"
        + example.partition("```")[0]
        + "\nclips = {each: store[each] for each in store.clip_ids}"
        + "\nfound = {name: predict(session, each.visual[0], each.audio) for name, each in clips.items()}"
        + "\nnp.savez('found.npz', **found)\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path / "out", check=True, capture_output=True)
    rows = pq.read_table(run.folder / "predictions.parquet").to_pydict()
    found = np.load(tmp_path / "out" / "found.npz")
    assert set(found.files) == {*rows["clip_id"]}
    for clip_id in found.files:
        expected = [
            (v, a)
            for c, v, a in zip(rows["clip_id"], rows["valence"], rows["arousal"], strict=True)
            if c == clip_id
        ]
        np.testing.assert_allclose(found[clip_id], expected, atol=1e-6)


@pytest.mark.parametrize("num_frames", [1, 4, 23])
def test_lstms_run_over_any_number_of_frames(lstm_model, num_frames: int) -> None:
    lstm, content = lstm_model
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == ["batch", "frames", 3]
    rows = torch.randn(2, num_frames, 3, generator=torch.Generator().manual_seed(num_frames))
    with torch.no_grad():
        expected, _ = lstm(rows)
    (found,) = session.run(None, {"rows": rows.numpy()})
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-6)


@pytest.fixture(scope="module")
def lstm_model() -> tuple[torch.nn.LSTM, bytes]:
    """An LSTM and its translation; whole heads with some are in tests/soak/onnx_campaign.py."""
    torch.manual_seed(0)
    lstm = torch.nn.LSTM(3, 4, batch_first=True)
    assert module._is_plain(lstm)
    axes = {0: torch.export.Dim("batch", min=1), 1: torch.export.Dim("frames", min=1)}
    program = torch.onnx.export(
        _States(module._OnnxLstm(lstm)).eval(),
        (torch.zeros(3, 10, 3),),
        dynamo=True,
        dynamic_shapes=(axes,),
        input_names=["rows"],
        opset_version=module._OPSET,
        verbose=False,
    )
    assert program is not None
    return lstm, program.model_proto.SerializeToString()


class _States(torch.nn.Module):
    """Of what an LSTM gives, its states alone."""

    def __init__(self, lstm: torch.nn.Module) -> None:
        super().__init__()
        self.lstm = lstm

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.lstm(rows)[0]


def test_other_numbers_than_pytorchs_are_refused(checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    class Session:
        def __init__(self, content: bytes, providers: list[str]) -> None:
            pass

        def run(self, outputs: list[str], rows: dict[str, np.ndarray]) -> list[np.ndarray]:
            shape = rows["visual"].shape[:2]
            return [np.full((*shape, 2), 0.5, np.float32)] * len(outputs)

    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    monkeypatch.setattr(module, "_translated", lambda *arguments: _constant_program())
    with pytest.raises(
        HeadError, match=r"head 'audio_only' as ONNX gives other numbers than PyTorch \(by 0\.\d+"
    ):
        onnx_head(checkpoint(), description={})


def _constant_program() -> torch.onnx.ONNXProgram:
    """A program whose answers do not matter."""
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["visual"], ["prediction"])],
        "g",
        [value("visual", onnx.TensorProto.FLOAT, ["batch", "frames", 16])],
        [value("prediction", onnx.TensorProto.FLOAT, ["batch", "frames", 16])],
    )
    return torch.onnx.ONNXProgram(onnx_ir.from_proto(onnx.helper.make_model(graph)), None)


def test_a_head_that_cannot_be_translated_is_named(checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    def translated(*arguments: object) -> None:
        raise NotImplementedError("no such\noperator")

    monkeypatch.setattr(module, "_translated", translated)
    reason = r"\(NotImplementedError: no such operator\); share it without --onnx"
    with pytest.raises(HeadError, match=rf"head 'audio_only' cannot be written as ONNX {reason}"):
        onnx_head(checkpoint(), description={})


def test_without_onnxruntime(checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(HeadError, match=r"--onnx takes onnxruntime, .*pip install 'tagf\[onnx\]'"):
        onnx_head(checkpoint(), description={})
