"""Checkpoints: what is saved is loaded, in the same bytes; clear words for files that are none."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from cache import FeatureSpec, StreamSpec
from tagf_head.checkpoint import (
    CheckpointInfo,
    RunInfo,
    clip_digests,
    has_random_weights,
    load_checkpoint,
    save_checkpoint,
)
from tagf_head.data.folds import Fold
from tagf_head.errors import CheckpointError
from tagf_head.heads import build_head


def spec(**settings: str | int) -> FeatureSpec:
    return FeatureSpec(
        streams=(
            StreamSpec(name="visual", num_features=16, views=("center",)),
            StreamSpec(name="audio", num_features=8),
        ),
        settings=settings,
    )


@pytest.fixture
def info(training) -> CheckpointInfo:
    head = dataclasses.replace(training.head, visual_features=16, audio_features=8)
    return CheckpointInfo(
        train=dataclasses.replace(training, head=head, lr=1e-5),
        spec=spec(**{"visual.weights": "0123", "audio.anchor": "end"}),
        features_digest="f" * 64,
        annotations_digest="a" * 64,
        fold=Fold(index=2, num_folds=6),
        num_processes=2,
        key="k" * 64,
        best_epoch=3,
        validation_ccc={"valence": 0.25, "arousal": 0.5, "mean": 0.375},
        trained_on=clip_digests(["bo/1", "anna/1"]),
        versions={"torch": "2.11.0"},
    )


@pytest.mark.parametrize("share_steps", [False, True])
def test_round_trip(tmp_path: Path, info: CheckpointInfo, share_steps: bool) -> None:
    head_config = dataclasses.replace(info.train.head, share_steps=share_steps)
    info = dataclasses.replace(info, train=dataclasses.replace(info.train, head=head_config))
    torch.manual_seed(1)
    head = build_head(head_config)
    save_checkpoint(tmp_path / "best.safetensors", head.state_dict(), info)
    torch.manual_seed(2)
    loaded = load_checkpoint(tmp_path / "best.safetensors")
    assert loaded.info == info
    assert not loaded.head.training
    inputs = (torch.randn(2, 9, 16), torch.randn(2, 9, 8), torch.ones(2, 9, dtype=torch.bool))
    assert torch.equal(loaded.head(*inputs), head.eval()(*inputs))


def test_float64_weights_stay_float64(tmp_path: Path, info: CheckpointInfo) -> None:
    info = dataclasses.replace(info, train=dataclasses.replace(info.train, precision="float64"))
    head = build_head(info.train.head).double()
    save_checkpoint(tmp_path / "best.safetensors", head.state_dict(), info)
    loaded = load_checkpoint(tmp_path / "best.safetensors").head
    for name, tensor in head.state_dict().items():
        assert loaded.state_dict()[name].dtype is torch.float64
        assert torch.equal(loaded.state_dict()[name], tensor)


def test_what_a_run_trains_with_is_read_from_what_came_of_it(info: CheckpointInfo) -> None:
    found = RunInfo.from_mapping(json.loads(json.dumps(info.to_mapping())), where="config.yaml")
    assert type(found) is RunInfo
    for field in dataclasses.fields(found):
        assert getattr(found, field.name) == getattr(info, field.name)
    without = dataclasses.replace(info, fold=None)
    assert CheckpointInfo.from_mapping(without.to_mapping(), where="config.yaml") == without


def test_same_content_gives_the_same_bytes(tmp_path: Path, info: CheckpointInfo) -> None:
    torch.manual_seed(1)
    state = build_head(info.train.head).state_dict()
    for name in ("a", "b"):
        save_checkpoint(tmp_path / name, dict(sorted(state.items(), reverse=name == "b")), info)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    # A second process has other hash seeds.
    script = (
        "import sys\nfrom pathlib import Path\n"
        "from tagf_head.checkpoint import load_checkpoint, save_checkpoint\n"
        "found = load_checkpoint(Path(sys.argv[1]))\n"
        "save_checkpoint(Path(sys.argv[2]), found.head.state_dict(), found.info)\n"
    )
    subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "a"), str(tmp_path / "c")],
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert (tmp_path / "c").read_bytes() == (tmp_path / "a").read_bytes()


def test_tensors_with_two_names(tmp_path: Path, info: CheckpointInfo) -> None:
    # As in a head whose recursion steps are one module listed twice.
    shared = torch.arange(6.0).reshape(2, 3)
    save_checkpoint(tmp_path / "best.safetensors", {"a": shared, "b": shared, "c": shared.T}, info)
    tensors = load_file(tmp_path / "best.safetensors")
    assert torch.equal(tensors["a"], shared)
    assert torch.equal(tensors["b"], shared)
    assert torch.equal(tensors["c"], shared.T)


def test_metadata_tells_the_features(tmp_path: Path, info: CheckpointInfo) -> None:
    save_checkpoint(tmp_path / "best.safetensors", build_head(info.train.head).state_dict(), info)
    with safe_open(tmp_path / "best.safetensors", framework="np") as file:
        description = json.loads(file.metadata()["tagf"])
    assert description["features"]["fingerprint"] == info.spec.fingerprint
    assert description["features"]["spec"]["settings"]["audio.anchor"] == "end"
    assert description["train"]["lr"] == 1e-5


def test_files_that_are_no_checkpoint(tmp_path: Path, info: CheckpointInfo) -> None:
    with pytest.raises(CheckpointError, match=r"no checkpoint at .*none"):
        load_checkpoint(tmp_path / "none")
    (tmp_path / "text").write_text("no tensors in here")
    with pytest.raises(CheckpointError, match=r"text is no safetensors file, or a damaged one"):
        load_checkpoint(tmp_path / "text")
    save_file({"weight": torch.zeros(1)}, tmp_path / "foreign")
    with pytest.raises(CheckpointError, match="foreign holds tensors but no description"):
        load_checkpoint(tmp_path / "foreign")


def test_a_truncated_checkpoint(tmp_path: Path, info: CheckpointInfo) -> None:
    path = tmp_path / "best.safetensors"
    save_checkpoint(path, build_head(info.train.head).state_dict(), info)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "tagf-head-0"}, "expected a checkpoint of format 'tagf-head-4', got 'tagf-head-0'"),
        ({"train": {"window": -1}}, "description is damaged"),
        ({"features": {}}, "description is damaged"),
        ({"fold": {"index": 6, "num_folds": 6}}, "description is damaged"),
        ({"num_processes": None}, "description is damaged"),
        ({"best_epoch": "third"}, "description is damaged"),
        ({"best_epoch": float("inf")}, "description is damaged"),
    ],
)
def test_descriptions_of_another_kind(
    tmp_path: Path, info: CheckpointInfo, change: dict, message: str
) -> None:
    description = json.dumps(info.to_mapping() | change)
    save_file({"weight": torch.zeros(1)}, tmp_path / "best.safetensors", metadata={"tagf": description})
    with pytest.raises(CheckpointError, match=message) as caught:
        load_checkpoint(tmp_path / "best.safetensors")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("description", "message"),
    [
        ("{", r"description is no JSON \(Expecting property name"),
        ("", "description is no JSON"),
        ("[" * 100_000, "description is no JSON"),
        ("[1]", "expected a JSON object as the checkpoint's description, got list"),
        ("null", "got NoneType; train again"),
    ],
)
def test_descriptions_that_are_no_mapping(tmp_path: Path, description: str, message: str) -> None:
    path = tmp_path / "best.safetensors"
    save_file({"weight": torch.zeros(1)}, path, metadata={"tagf": description})
    with pytest.raises(CheckpointError, match=message) as caught:
        load_checkpoint(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_weights_of_another_head(tmp_path: Path, info: CheckpointInfo) -> None:
    other = build_head(dataclasses.replace(info.train.head, name="concat")).state_dict()
    save_checkpoint(tmp_path / "best.safetensors", other, info)
    with pytest.raises(CheckpointError, match="does not fit its own head 'tagf'") as caught:
        load_checkpoint(tmp_path / "best.safetensors")
    assert "\n" not in str(caught.value)


def test_clips_that_were_trained_on_are_known_by_digest(tmp_path: Path, info: CheckpointInfo) -> None:
    save_checkpoint(tmp_path / "best.safetensors", build_head(info.train.head).state_dict(), info)
    assert b"anna" not in (tmp_path / "best.safetensors").read_bytes()
    found = load_checkpoint(tmp_path / "best.safetensors").info
    assert found.trained_on == tuple(sorted(found.trained_on))
    assert found.seen(["anna/1", "anna/2", "bo/1", "bo"]) == ["anna/1", "bo/1"]


def test_random_weights_are_told() -> None:
    assert has_random_weights(spec(**{"visual.weights": "ab12", "audio.weights": "random:0/1"}))
    assert not has_random_weights(spec(**{"visual.weights": "ab12", "audio.weights": "cd34", "seed": 1}))
