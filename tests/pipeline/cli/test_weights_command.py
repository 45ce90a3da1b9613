"""`tagf weights`: what it prints and how it ends."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from pipeline.backbones import load_backbone
from pipeline.cli import weights as weights_command
from pipeline.errors import WeightsError
from pipeline.weights import registry as weight_registry
from pipeline.weights.registry import REGISTRY

NAME = "resnet50-imagenet-v2"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TAGF_WEIGHTS_DIR", str(tmp_path / "weights"))
    (tmp_path / "weights").mkdir()
    return tmp_path / "weights"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "mine.pth"
    torch.save(load_backbone("resnet50", "random:0").state_dict(), path)
    return path


def tagf(*words: str) -> Result:
    return CliRunner().invoke(weights_command.command, words)


def publish(monkeypatch: pytest.MonkeyPatch, **changes: object) -> None:
    """Other facts for the registered weights, as if they were what is published."""
    entry = dataclasses.replace(REGISTRY[NAME], **changes)  # type: ignore[arg-type]
    for module in (weights_command, weight_registry):
        monkeypatch.setattr(module, "REGISTRY", {NAME: entry})


def test_list_tells_source_digest_licence_and_what_is_at_hand(folder: Path) -> None:
    (folder / REGISTRY[NAME].file_name).write_bytes(b"")
    lines = tagf("list").output.splitlines()
    assert lines[0] == f"Folder: {folder}"
    for entry in REGISTRY.values():
        (start,) = [number for number, line in enumerate(lines) if line.startswith(f"{entry.name}  (")]
        block = "\n".join(lines[start : start + 6])
        assert entry.backbone in block
        assert entry.file_name in block
        assert (entry.url or "by hand") in block
        assert (entry.sha256 or "not published") in block
        assert entry.licence in block
        assert (", at hand)" in block) == (entry.name == NAME)


def test_check_of_a_registered_file(folder: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = checkpoint.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    (folder / REGISTRY[NAME].file_name).write_bytes(content)
    wrong = tagf("check", NAME)
    assert isinstance(wrong.exception, WeightsError)
    assert f"expected {REGISTRY[NAME].size_bytes} bytes" in str(wrong.exception)
    publish(monkeypatch, size_bytes=len(content), sha256=digest[:8])
    for words in ((), (NAME,)):
        assert tagf("check", *words).output == f"{NAME}: fits; sha256:{digest}, as published\n"
    publish(monkeypatch, size_bytes=None, sha256=None)
    assert "none is published: this is the file's own" in tagf("check").output
    publish(monkeypatch, size_bytes=None, sha256=None, backbone="ir50")
    other = tagf("check")
    assert isinstance(other.exception, WeightsError)
    assert "missing: input_layer.0.weight" in str(other.exception)


def test_check_of_any_file(folder: Path, checkpoint: Path) -> None:
    digest = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    result = tagf("check", str(checkpoint), "--backbone", "resnet50", "--input-size-px", "64")
    assert result.output == f"{checkpoint}: fits; sha256:{digest}\n"
    assert result.exit_code == 0
    twice = tagf("check", str(checkpoint), "nowhere.pth", "--backbone", "vggish")
    assert twice.exit_code == 1
    assert str(twice.exception).endswith("(and 1 more)")
    assert "features.0.weight" in twice.output
    assert "no such file" in twice.output


def test_nothing_at_hand_is_no_failure(folder: Path) -> None:
    result = tagf("check")
    assert result.exit_code == 0
    assert f"no registered weights in {folder}" in result.output


def test_missing_ones_are_told_with_the_remedy(folder: Path) -> None:
    result = tagf("check", "vggish-audioset")
    assert "run 'tagf weights fetch vggish-audioset'" in str(result.exception)
    by_hand = tagf("fetch", "ir50-ferplus")
    assert f"put res50_ir_0.887.pth at {folder / 'res50_ir_0.887.pth'} by hand" in str(by_hand.exception)


def test_fetch_says_what_was_there(folder: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = checkpoint.read_bytes()
    path = folder / REGISTRY[NAME].file_name
    path.write_bytes(content)
    publish(monkeypatch, size_bytes=len(content), sha256=None)
    lines = tagf("fetch", NAME).output.splitlines()
    assert lines[0] == f"{NAME}: was there already, {path}"
    assert hashlib.sha256(content).hexdigest() in lines[1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("fetch",), "Missing argument"),
        (("fetch", "vgish-audioset"), "did you mean 'vggish-audioset'?"),
        (("fetch", "x"), "registered: ir50-ferplus, "),
        (("check", "mine.pth"), "for a file, add --backbone NAME"),
    ],
)
def test_wrong_usage(folder: Path, words: tuple[str, ...], message: str) -> None:
    result = tagf(*words)
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())
