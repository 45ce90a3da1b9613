"""The table of public weights, the folder they lie in, and names in settings."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from pathlib import Path
from types import MappingProxyType

import pytest

from pipeline.backbones import BACKBONES, load_backbone
from pipeline.errors import WeightsError
from pipeline.weights import registry as weight_registry
from pipeline.weights import source as weights
from pipeline.weights.registry import REGISTRY, verify_file, weights_dir, weights_path
from pipeline.weights.source import CHECKPOINT_SUFFIXES, parse_weights


@pytest.mark.parametrize("entry", REGISTRY.values(), ids=REGISTRY.keys())
def test_entries_are_complete_and_agree_with_themselves(entry: weight_registry.RegisteredWeights) -> None:
    assert entry.backbone in BACKBONES
    assert Path(entry.file_name).suffix in CHECKPOINT_SUFFIXES
    assert Path(entry.name).suffix == "", "a name is no path"
    assert entry.licence
    assert entry.notes
    if entry.url is not None:
        assert entry.url.startswith("https://")
        assert entry.url.endswith(f"/{entry.file_name}")
    if entry.sha256 is not None:
        assert re.fullmatch("[0-9a-f]{8,64}", entry.sha256)
        # PyTorch's convention: the first 8 digits of the digest are part of the file's name.
        in_name = re.search(r"-([0-9a-f]{8})\.pth$", entry.file_name)
        assert in_name is None or entry.sha256.startswith(in_name[1])


def test_every_backbone_has_weights() -> None:
    assert {entry.backbone for entry in REGISTRY.values()} == set(BACKBONES)


def test_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.delenv("TAGF_WEIGHTS_DIR", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert weights_dir() == Path("/home/someone/.cache/tagf/weights")
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert weights_dir() == Path("/caches/tagf/weights")
    monkeypatch.setenv("TAGF_WEIGHTS_DIR", "~/nets")
    assert weights_dir() == Path("/home/someone/nets")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> weight_registry.RegisteredWeights:
    """One registered file of three bytes, which is no checkpoint."""
    entry = dataclasses.replace(
        REGISTRY["vggish-audioset"],
        name="small",
        size_bytes=3,
        # FIPS 180-2's first example
        sha256="ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    )
    monkeypatch.setenv("TAGF_WEIGHTS_DIR", str(tmp_path))
    monkeypatch.setattr(weights, "REGISTRY", MappingProxyType({"small": entry}))
    return entry


def test_missing_weights_name_both_ways_to_get_them(small: weight_registry.RegisteredWeights) -> None:
    with pytest.raises(WeightsError) as caught:
        parse_weights("small")
    message = str(caught.value)
    assert "tagf weights fetch small" in message
    assert str(small.url) in message
    assert str(weights_path(small)) in message
    by_hand = dataclasses.replace(small, url=None)
    assert "fetch" not in weight_registry.how_to_get(by_hand).replace("cannot be fetched", "")


def test_name_stands_for_the_file_there(small: weight_registry.RegisteredWeights) -> None:
    weights_path(small).write_bytes(b"abc")
    source = parse_weights("small")
    assert source.path == weights_path(small)
    assert source.digest() == f"sha256:{hashlib.sha256(b'abc').hexdigest()}"


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"abcd", "expected 3 bytes, .* got 4;"), (b"abd", "SHA-256")],
)
def test_other_content_is_refused_before_it_is_parsed(
    small: weight_registry.RegisteredWeights, content: bytes, message: str
) -> None:
    weights_path(small).write_bytes(content)
    with pytest.raises(WeightsError, match=message):
        verify_file(small, weights_path(small))
    with pytest.raises(WeightsError, match=message):
        load_backbone("vggish", "small")
    weights_path(small).write_bytes(b"abc")
    with pytest.raises(WeightsError, match="expected a checkpoint of tensors"):
        load_backbone("vggish", "small")


def test_weights_of_another_backbone_are_refused_by_name(small: weight_registry.RegisteredWeights) -> None:
    weights_path(small).write_bytes(b"abc")
    with pytest.raises(WeightsError, match="weights 'small': expected weights of ir50, got those of vggish"):
        load_backbone("ir50", "small")
