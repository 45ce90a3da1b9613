"""What a configuration names, loaded: streams, sizes, devices, precision."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.config import AudioConfig, ExtractConfig, StreamConfig, VisualConfig
from pipeline.errors import ExtractionError
from pipeline.input_blocks import ExampleBlock, FaceBlock
from pipeline.models import load_models, resolve_device


def test_streams_of_a_configuration() -> None:
    config = ExtractConfig(
        visual=VisualConfig(backbone="resnet50", views=("center", "top_left", "flip")),
        streams={"large": StreamConfig(backbone="inception_resnet_v1", weights="random:0")},
        batch_size=16,
    )
    models = load_models(config)
    facts = {
        name: (mapper.takes, mapper.num_features, mapper.views, mapper.crop_size_px)
        for name, mapper in models.embedders.items()
    }
    assert facts == {
        "visual": ("faces", 2048, ("center", "top_left", "flip"), 48),
        "audio": ("log_mel", 128, None, None),
        "large": ("faces", 512, None, 160),
    }
    assert models.clip_streams == {}
    assert models.detector.detect([np.zeros((60, 60, 3), np.uint8)]) == [()]


def test_input_size_reaches_the_backbone() -> None:
    config = ExtractConfig(
        visual=VisualConfig(backbone="resnet50", input_size_px=64, views=("center",)), batch_size=16
    )
    visual = load_models(config).embedders["visual"]
    assert visual.crop_size_px == 64
    crops = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    (rows,) = visual.map([FaceBlock(crops=crops)])
    assert rows.shape == (1, 1, 2048)
    with pytest.raises(ValueError, match="input_size_px of resnet50 must be at least 32, got 31"):
        load_models(ExtractConfig(visual=VisualConfig(backbone="resnet50", input_size_px=31)))


def test_final_relu_is_vggishs_and_a_setting() -> None:
    grid = np.random.default_rng(0).normal(-2, 2, (96, 64)).astype(np.float32)
    block = ExampleBlock(grid=grid, first_rows=np.array([0]))
    rows = {}
    for final_relu in (False, True):
        config = ExtractConfig(
            visual=VisualConfig(backbone="resnet50"),
            audio=AudioConfig(final_relu=final_relu),
            batch_size=16,
        )
        (rows[final_relu],) = load_models(config).embedders["audio"].map([block])
    assert (rows[False] < 0).any()
    np.testing.assert_array_equal(rows[True], rows[False].clip(min=0))
    with pytest.raises(ExtractionError, match=r"audio\.final_relu is for vggish, got backbone 'mine:Own'"):
        load_models(ExtractConfig(audio=AudioConfig(backbone="mine:Own", final_relu=True)))


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_short_precisions_are_refused_on_the_cpu(precision: str) -> None:
    config = ExtractConfig(precision=precision)  # type: ignore[arg-type]
    with pytest.raises(ExtractionError, match=f"precision '{precision}' is for GPUs: .*--device cuda"):
        load_models(config, "cpu")


def test_devices() -> None:
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(ExtractionError, match="device 'gpu' is not known; give auto, cpu, cuda or cuda:N"):
        resolve_device("gpu")
    with pytest.raises(ExtractionError, match=r"device 'cuda:99': expected a device of this machine"):
        resolve_device("cuda:99")
