"""The `extract` section out of a checkpoint's spec: every setting comes back, weights by their digest."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cache.errors import SettingsError
from cache.settings import to_mapping
from cache.spec import FeatureSpec
from pipeline.config import AudioConfig, ExtractConfig, FaceConfig, MediaConfig, StreamConfig, VisualConfig
from pipeline.errors import ExtractionError, WeightsError
from pipeline.feature_spec import LIBRARIES, feature_spec, library_version
from pipeline.prediction.extract_settings import extract_settings, library_note
from tagf_head.checkpoint import CheckpointInfo
from tagf_head.config import TrainConfig
from tagf_head.errors import CheckpointError


@pytest.fixture(scope="module", autouse=True)
def importable() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parents[1]))
        yield


def info_of(spec: FeatureSpec) -> CheckpointInfo:
    return CheckpointInfo(
        train=TrainConfig(),
        spec=spec,
        features_digest="",
        annotations_digest="",
        versions={},
        key="",
        best_epoch=1,
        validation_ccc={},
        trained_on=(),
    )


def settings_of(spec: FeatureSpec, params: Path | None = None, **weights: str) -> ExtractConfig:
    return extract_settings(info_of(spec), params=params, weights=weights, where="x.safetensors")


def changed(spec: FeatureSpec, **settings: Any) -> FeatureSpec:
    dotted = {name.replace("__", "."): value for name, value in settings.items()}
    return FeatureSpec(streams=spec.streams, settings={**spec.settings, **dotted})


@pytest.mark.parametrize(
    "config",
    [
        ExtractConfig(),
        ExtractConfig(
            visual=VisualConfig(backbone="resnet50", weights="random:7", views=("flip",)),
            audio=AudioConfig(anchor="end", final_relu=True),
            faces=FaceConfig(
                subject="longest", detect_every=3, min_probability=0.85, align="box", margin=0.1
            ),
            media=MediaConfig(resample_fps=29.97, video_stream=1),
            precision="bfloat16",
        ),
        ExtractConfig(visual=VisualConfig(input_size_px=112)),
        ExtractConfig(
            visual=VisualConfig(backbone="tiny_backbones:TinyFaces", weights="anything"),
            audio=AudioConfig(backbone="tiny_backbones:TinyMel", weights="random:2/x"),
            streams={"more": StreamConfig(backbone="tiny_backbones:Trouble")},
        ),
    ],
)
def test_every_setting_comes_back(config: ExtractConfig) -> None:
    spec = feature_spec(config)
    found = settings_of(spec)
    # The usual size of the faces is named in the spec, whether it was asked for or not.
    side = config.visual.input_size_px or spec.settings["visual.input_size_px"]
    visual = dataclasses.replace(config.visual, input_size_px=side)
    assert found == dataclasses.replace(config, visual=visual, streams={})
    assert settings_of(FeatureSpec.from_json(spec.to_json())) == found


def test_a_backbone_of_another_source_is_refused_before_any_of_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "trap.py").write_text("from pathlib import Path\nPath(__file__).with_name('ran').touch()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    spec = changed(
        feature_spec(ExtractConfig()),
        audio__backbone="trap:Trap",
        audio__backbone_source="sha256:" + "0" * 64,
        audio__weights="",
    )
    with pytest.raises(ExtractionError, match=r"audio backbone 'trap:Trap'.*trap\.py.*nothing was run"):
        settings_of(spec)
    with pytest.raises(ExtractionError, match="'nowhere_at_all:Trap' is not here"):
        settings_of(changed(spec, audio__backbone="nowhere_at_all:Trap"))
    assert not (tmp_path / "ran").exists()


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that takes the place of published weights, by its digest and not by its name."""
    monkeypatch.setenv("TAGF_WEIGHTS_DIR", str(tmp_path / "weights"))
    path = tmp_path / "mine.pth"
    path.write_bytes(b"weights")
    return path


def test_weights_are_found_by_their_digest(weights: Path, tmp_path: Path) -> None:
    spec = feature_spec(ExtractConfig(visual=VisualConfig(weights=str(weights))))
    digest = hashlib.sha256(b"weights").hexdigest()
    with pytest.raises(WeightsError, match=rf"x.safetensors: the visual weights .*{digest[:12]}.* --weights"):
        settings_of(spec)
    assert settings_of(spec, visual=str(weights)).visual.weights == str(weights)
    # The one registered file of ir50 has no published digest: its own is looked at.
    registered = tmp_path / "weights" / "res50_ir_0.887.pth"
    registered.parent.mkdir()
    registered.write_bytes(b"others")
    with pytest.raises(WeightsError, match="not at hand"):
        settings_of(spec)
    registered.write_bytes(b"weights")
    assert settings_of(spec).visual.weights == "ir50-ferplus"


def test_published_weights_that_are_not_at_hand_are_named(weights: Path) -> None:
    sha256 = "281cebca8662831adb987a874bdcb36e73f5b1c6dc5ee5878f305e985625d99b"
    backbone = VisualConfig(backbone="inception_resnet_v1")
    spec = changed(feature_spec(ExtractConfig(visual=backbone)), visual__weights=f"sha256:{sha256}")
    with pytest.raises(WeightsError, match="they are inception-vggface2: run 'tagf weights fetch"):
        settings_of(spec)


def test_a_setting_that_differs_is_an_error(weights: Path, tmp_path: Path) -> None:
    config = ExtractConfig(faces=FaceConfig(detect_every=3))
    spec = feature_spec(config)

    def params(config: ExtractConfig) -> Path:
        path = tmp_path / "params.yaml"
        path.write_text(yaml.safe_dump({"extract": to_mapping(config)}))
        return path

    # What does not change the rows that heads read may differ.
    given = dataclasses.replace(
        config,
        visual=VisualConfig(views=("flip", "center")),
        batch_size=48,
        streams={"m": StreamConfig(backbone="ir50")},
    )
    assert settings_of(spec, params(given)) == dataclasses.replace(given, streams={})
    mirrored = dataclasses.replace(config, visual=VisualConfig(views=("flip",)))
    with pytest.raises(ExtractionError, match=r"visual.views: \['center'\] in training, \['flip'\] now"):
        settings_of(spec, params(mirrored))
    with pytest.raises(
        ExtractionError,
        match=r"x.safetensors: .* audio.anchor: 'center' in training, 'end' now \(and 1 more\); give",
    ):
        settings_of(spec, params(ExtractConfig(audio=AudioConfig(anchor="end"))))
    with pytest.raises(ExtractionError, match=r"visual.weights: 'random:0/v1' in training, 'sha256:.*' now"):
        settings_of(spec, visual=str(weights))
    with pytest.raises(WeightsError, match="weights of stream 'text': heads read visual and audio"):
        settings_of(spec, text="x.pth")
    with pytest.raises(SettingsError, match="faces"):
        settings_of(changed(spec, faces__later=1))
    with pytest.raises(ExtractionError, match=r"storage.dtype: 'bfloat16' in training, 'float16' now"):
        settings_of(changed(spec, storage__dtype="bfloat16"))
    # Random weights of another scheme, and a backbone of one's own whose source was changed.
    with pytest.raises(ExtractionError, match=r"'random:0/v0' in training, 'random:0/v1' now"):
        settings_of(changed(spec, audio__weights="random:0/v0"))
    own = feature_spec(ExtractConfig(visual=VisualConfig(backbone="tiny_backbones:TinyFaces", weights="")))
    with pytest.raises(ExtractionError, match=r"visual.backbone_source: '0' in training"):
        settings_of(changed(own, visual__backbone_source="0"))


def test_features_of_another_program_cannot_be_made() -> None:
    spec = changed(feature_spec(ExtractConfig()), imported__from="openface")
    with pytest.raises(
        CheckpointError, match=r"another program made \(imported.from: 'openface'\).*--features"
    ):
        settings_of(spec)


def test_another_version_of_a_library_is_a_note() -> None:
    spec = feature_spec(ExtractConfig())
    assert library_note(spec, where="x") is None
    library = LIBRARIES[0]
    older = changed(spec, **{f"library__{library}": "0.1"})
    assert settings_of(older) == settings_of(spec)
    expected = f"x: its features were made with {library} 0.1 (here {library_version(library)}); predictions"
    note = library_note(older, where="x")
    assert note is not None
    assert note.startswith(expected)
