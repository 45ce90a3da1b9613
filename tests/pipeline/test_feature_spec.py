"""The feature spec: every setting that changes the numbers changes the fingerprint, and no other does."""

from __future__ import annotations

import dataclasses
import os
from importlib.metadata import version
from pathlib import Path

import pytest

from pipeline.config import (
    AudioConfig,
    ExtractConfig,
    FaceConfig,
    LimitsConfig,
    MediaConfig,
    StreamConfig,
    VisualConfig,
)
from pipeline.errors import ExtractionError, WeightsError
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
        ExtractConfig(faces=FaceConfig(subject="longest")),
        ExtractConfig(faces=FaceConfig(min_track_s=2.0)),
        ExtractConfig(visual=VisualConfig(input_size_px=112)),
        ExtractConfig(audio=AudioConfig(final_relu=True)),
        ExtractConfig(media=MediaConfig(resample_fps=25)),
        ExtractConfig(media=MediaConfig(video_stream=0)),
        ExtractConfig(media=MediaConfig(audio_stream=1)),
        ExtractConfig(precision="float16"),
        ExtractConfig(streams={"scene": StreamConfig(backbone="resnet50", weights="random:0")}),
    ],
)
def test_settings_of_the_numbers_change_the_fingerprint(changed: ExtractConfig) -> None:
    assert feature_spec(changed).fingerprint != feature_spec(DEFAULT).fingerprint
    assert feature_spec(changed).differences(feature_spec(DEFAULT))


@pytest.mark.parametrize(
    "changed",
    [
        ExtractConfig(batch_size=64),
        ExtractConfig(limits=LimitsConfig(clip_timeout_s=1.0, frames=3)),
        ExtractConfig(visual=VisualConfig(input_size_px=40)),  # the usual one, asked for
    ],
)
def test_what_leaves_the_numbers_alone_does_not(changed: ExtractConfig) -> None:
    assert feature_spec(changed) == feature_spec(DEFAULT)


def test_every_other_leaf_of_the_configuration_is_a_setting() -> None:
    def leaves(instance: object, prefix: str = "") -> list[str]:
        names = []
        for field in dataclasses.fields(instance):
            value = getattr(instance, field.name)
            nested = dataclasses.is_dataclass(value)
            names += leaves(value, f"{prefix}{field.name}.") if nested else [prefix + field.name]
        return names

    settings = feature_spec(DEFAULT).settings
    expected = {name for name in leaves(DEFAULT) if not name.startswith("limits.")}
    assert expected - {"batch_size", "streams"} == {
        name for name in settings if not name.startswith(("library.", "storage."))
    }
    assert settings["library.torch"] == version("torch").split("+")[0]
    assert settings["storage.dtype"] == "float16"
    assert settings["media.resample_fps"] == "none"
    assert settings["visual.input_size_px"] == 40


def test_further_streams_stand_beside_the_two() -> None:
    scene = StreamConfig(backbone="resnet50", weights="random:7")
    spec = feature_spec(ExtractConfig(streams={"scene": scene}))
    assert [(s.name, s.num_features, s.views) for s in spec.streams][2:] == [("scene", 2048, None)]
    assert spec.settings["streams.scene.backbone"] == "resnet50"
    # Stage two tells random weights by this prefix.
    assert spec.settings["streams.scene.weights"] == "random:7/v1"


def test_settings_that_do_not_go_together_are_refused() -> None:
    with pytest.raises(ExtractionError, match=r"visual\.views: 'top_left' is cut"):
        feature_spec(ExtractConfig(visual=VisualConfig(input_size_px=112, views=("center", "top_left"))))
    with pytest.raises(ExtractionError, match=r"audio\.backbone: expected .* takes log_mel or waveform"):
        feature_spec(ExtractConfig(audio=AudioConfig(backbone="ir50")))
    with pytest.raises(WeightsError, match="backbone 'ir51' is not known; did you mean 'ir50'"):
        feature_spec(ExtractConfig(streams={"scene": StreamConfig(backbone="ir51", weights="random:0")}))


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
