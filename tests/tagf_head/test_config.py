"""Settings of training and evaluation: the paper's defaults, and values that are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from cache.settings import load_section, parse_settings, to_mapping
from tagf_head.config import AugmentConfig, EvaluateConfig, HeadConfig, LabelConfig, TrainConfig

ROOT = Path(__file__).parents[2]


def test_defaults_are_the_papers() -> None:
    """Section 4 of arXiv 2507.02080."""
    config = TrainConfig()
    assert (config.lr, config.min_lr, config.weight_decay) == (1e-5, 1e-8, 1e-3)
    assert (config.batch_size, config.window, config.stride) == (6, 300, 200)
    assert (config.max_epochs, config.early_stop_patience) == (100, 10)
    assert (config.plateau_patience, config.plateau_factor) == (5, 0.1)
    assert config.augment == AugmentConfig(
        drop_visual=0, drop_audio=0, shift_audio_frames=0, noise=0, mixup=0
    )


@pytest.mark.parametrize(
    "config",
    [
        TrainConfig(),
        TrainConfig(
            gradient_clip=1.0,
            precision="bfloat16",
            compile=True,
            rows_memory_gb=0.5,
            labels=LabelConfig(gold_standard="ewe", delay_s=-0.4),
            augment=AugmentConfig(
                drop_visual=0.25, drop_audio=0.75, shift_audio_frames=2, noise=0.1, mixup=1
            ),
            head=HeadConfig(name="paper", targets="separate"),
        ),
    ],
)
def test_settings_survive_a_file(config: TrainConfig) -> None:
    text = yaml.safe_dump(to_mapping(config))
    assert parse_settings(TrainConfig, yaml.safe_load(text), where="params.yaml") == config


@pytest.mark.parametrize("name", ["params.yaml", "configs/aff-wild2.yaml"])
def test_the_settings_that_come_with_the_project_are_valid(name: str) -> None:
    assert load_section(ROOT / name, "train", TrainConfig).max_epochs > 0
    load_section(ROOT / name, "evaluate", EvaluateConfig)


@pytest.mark.parametrize(
    ("cls", "settings", "message"),
    [
        (TrainConfig, {"window": 0}, "window must be at least 1, got 0"),
        (TrainConfig, {"batch_size": 0}, "batch_size must be at least 1"),
        (TrainConfig, {"max_epochs": 0}, "max_epochs must be at least 1"),
        (TrainConfig, {"early_stop_patience": 0}, "early_stop_patience must be at least 1"),
        (TrainConfig, {"stride": 0}, r"stride must lie in 1\.\.window \(300\)"),
        (TrainConfig, {"stride": 301}, r"stride must lie in 1\.\.window \(300\)"),
        (TrainConfig, {"min_lr": 0.0}, "0 < min_lr <= lr must hold"),
        (TrainConfig, {"min_lr": 1e-4}, "got min_lr 0.0001 and lr 1e-05"),
        (TrainConfig, {"plateau_factor": 1.0}, "plateau_factor must lie between 0 and 1"),
        (TrainConfig, {"weight_decay": -1e-3}, "weight_decay must not be negative"),
        (TrainConfig, {"weight_decay": float("nan")}, "weight_decay must not be negative"),
        (TrainConfig, {"warmup_epochs": -1}, "warmup_epochs must not be negative"),
        (TrainConfig, {"plateau_patience": -1}, "plateau_patience must not be negative"),
        (TrainConfig, {"seed": -1}, "seed must not be negative"),
        (TrainConfig, {"seed": 2**63}, r"seed must be below 2\*\*63, got 9223372036854775808"),
        (TrainConfig, {"gradient_clip": 0.0}, "gradient_clip must be positive, or null for none, got 0.0"),
        (TrainConfig, {"gradient_clip": float("nan")}, "gradient_clip must be positive"),
        (TrainConfig, {"rows_memory_gb": -1.0}, "rows_memory_gb must not be negative"),
        (TrainConfig, {"head": HeadConfig(targets="valence")}, "head.targets 'valence' is one half of"),
        (
            TrainConfig,
            {"head": HeadConfig(name="released"), "window": 100, "stride": 100},
            "window 100 and reference_length 300; set both to the same",
        ),
        (LabelConfig, {"delay_s": 61.0}, r"delay_s must lie within 60\.0 seconds of 0, got 61\.0"),
        (LabelConfig, {"delay_s": -61.0}, "delay_s must lie within"),
        (LabelConfig, {"delay_s": float("nan")}, "delay_s must lie within"),
        (AugmentConfig, {"drop_visual": 1.5}, r"drop_visual must lie in \[0, 1\], got 1\.5"),
        (AugmentConfig, {"drop_audio": -0.1}, r"drop_audio must lie in \[0, 1\]"),
        (
            AugmentConfig,
            {"drop_visual": 0.6, "drop_audio": 0.6},
            r"must not exceed 1, got 0\.6 \+ 0\.6",
        ),
        (AugmentConfig, {"noise": -1.0}, "noise must not be negative"),
        (AugmentConfig, {"noise": float("nan")}, "noise must not be negative"),
        (AugmentConfig, {"mixup": -1.0}, "mixup must not be negative"),
        (AugmentConfig, {"shift_audio_frames": -1}, "shift_audio_frames must not be negative"),
        (EvaluateConfig, {"folds": 1}, "folds must be at least 2, or null for the official split, got 1"),
        (EvaluateConfig, {"rows_memory_gb": -0.5}, "rows_memory_gb must not be negative, got -0.5"),
        (EvaluateConfig, {"batch_size": 0}, "batch_size must be at least 1"),
        (EvaluateConfig, {"trace_clips": -1}, "trace_clips must not be negative"),
    ],
)
def test_impossible_settings_are_named(cls: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cls(**settings)
