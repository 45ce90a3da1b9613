"""configs/live.yaml gives a head that `tagf live` takes without a word about looking ahead."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from cache.settings import load_section
from pipeline.config import ExtractConfig
from pipeline.live.live_head import load_live_head, notes_on
from tagf_head.config import EvaluateConfig, TrainConfig

SETTINGS = Path(__file__).parents[3] / "configs" / "live.yaml"


def test_the_settings_are_causal(write_checkpoint, config):
    extract = load_section(SETTINGS, "extract", ExtractConfig)
    training = load_section(SETTINGS, "train", TrainConfig)
    assert load_section(SETTINGS, "evaluate", EvaluateConfig).split == "test"
    assert extract.faces.subject == "largest"
    assert extract.media.resample_fps == 25
    anchored = replace(config, audio=replace(config.audio, anchor=extract.audio.anchor))
    small = {"visual_channels": (8,), "audio_channels": (6,), "regressor_features": 8}
    head = {"name": training.head.name, "causal": training.head.causal, "reference_length": 12, **small}
    assert notes_on(load_live_head(write_checkpoint(anchored, **head))) == []
