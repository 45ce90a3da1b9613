"""The feature spec: every setting that changes the numbers changes the fingerprint, and no other does."""

from __future__ import annotations

import dataclasses
import os
from importlib.metadata import version
from pathlib import Path

import pytest

from pipeline.config import AudioConfig, ExtractConfig, FaceConfig, VisualConfig
from pipeline.feature_spec import feature_spec

DEFAULT = ExtractConfig()


@pytest.mark.parametrize(
    "changed",
    [
        ExtractConfig(visual=VisualConfig(backbone="resnet50")),
        ExtractConfig(visual=VisualConfig(weights="random:1")),
        ExtractConfig(visual=VisualConfig(views=("center",))),
        ExtractConfig(visual=VisualConfig(views=("flip", "center"))),
        ExtractConfig(audio=AudioConfig(weights="random:1")),
        ExtractConfig(audio=AudioConfig(anchor="end")),
        ExtractConfig(faces=FaceConfig(detect_every=4)),
        ExtractConfig(faces=FaceConfig(min_probability=0.8)),
        ExtractConfig(faces=FaceConfig(min_size_px=20)),
        ExtractConfig(faces=FaceConfig(align="box")),
        ExtractConfig(faces=FaceConfig(margin=0.1)),
    ],
)
def test_settings_of_the_numbers_change_the_fingerprint(changed: ExtractConfig) -> None:
    assert feature_spec(changed).fingerprint != feature_spec(DEFAULT).fingerprint
    assert feature_spec(changed).differences(feature_spec(DEFAULT))


def test_batch_size_does_not() -> None:
    assert feature_spec(ExtractConfig(batch_size=64)) == feature_spec(DEFAULT)


def test_every_leaf_of_the_configuration_but_the_batch_size_is_a_setting() -> None:
    def leaves(instance: object, prefix: str = "") -> list[str]:
        names = []
        for field in dataclasses.fields(instance):
            value = getattr(instance, field.name)
            nested = dataclasses.is_dataclass(value)
            names += leaves(value, f"{prefix}{field.name}.") if nested else [prefix + field.name]
        return names

    settings = feature_spec(DEFAULT).settings
    assert set(leaves(DEFAULT)) - {"batch_size"} == {
        name for name in settings if not name.startswith(("library.", "storage."))
    }
    assert settings["library.torch"] == version("torch").split("+")[0]
    assert settings["storage.dtype"] == "float16"


def test_streams() -> None:
    spec = feature_spec(ExtractConfig(visual=VisualConfig(backbone="resnet50", views=("flip",))))
    assert [(s.name, s.num_features, s.views) for s in spec.streams] == [
        ("visual", 2048, ("flip",)),
        ("audio", 128, None),
    ]


def test_checkpoints_count_by_content_and_not_by_place(tmp_path: Path) -> None:
    def fingerprint(name: str, content: bytes) -> str:
        (tmp_path / name).write_bytes(content)
        return feature_spec(ExtractConfig(audio=AudioConfig(weights=os.fspath(tmp_path / name)))).fingerprint

    assert fingerprint("a.pth", b"1") == fingerprint("b.pt", b"1") != fingerprint("a.pth", b"2")
