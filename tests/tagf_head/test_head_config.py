"""Settings of heads: what names settle, what contradicts them, and what is impossible."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from cache.errors import SettingsError
from cache.settings import parse_settings, to_mapping
from tagf_head.head_config import HeadConfig, ResolvedHeadConfig

NAMED = ("causal", "share_steps", "include_input", "score", "time_mixing", "targets")
DEFAULTS = (False, False, True, "learned", "none", "together")


def settled(config: HeadConfig) -> tuple[object, ...]:
    return tuple(getattr(config.resolved(), name) for name in NAMED)


@pytest.mark.parametrize("name", ["tagf", "concat", "visual_only", "audio_only", "a head of a user's"])
def test_defaults(name: str) -> None:
    assert settled(HeadConfig(name=name)) == DEFAULTS


def test_paper_has_no_input_among_the_candidates() -> None:
    assert settled(HeadConfig(name="paper")) == (False, False, False, "learned", "none", "together")


def test_released_is_settled_altogether() -> None:
    expected = (True, False, True, "channel_mean", "learned", "separate")
    assert settled(HeadConfig(name="released")) == expected


@pytest.mark.parametrize("name", ["tagf", "paper", "released"])
def test_resolved_keeps_every_other_setting(name: str) -> None:
    config = HeadConfig(name=name, visual_features=7, audio_channels=(3, 2), num_steps=3, tcn_dropout=0.3)
    resolved = config.resolved()
    assert isinstance(resolved, ResolvedHeadConfig)
    assert resolved.resolved() == resolved
    for field in dataclasses.fields(config):
        if field.name not in NAMED:
            assert getattr(resolved, field.name) == getattr(config, field.name)
    assert all(getattr(resolved, field) is not None for field in NAMED)


@pytest.mark.parametrize(
    "setting",
    [
        {"causal": True},
        {"share_steps": True},
        {"include_input": False},
        {"score": "channel_mean"},
        {"time_mixing": "learned"},
        {"targets": "separate"},
    ],
    ids=str,
)
def test_what_is_set_holds(setting: dict[str, Any]) -> None:
    (name, value), *_ = setting.items()
    assert getattr(HeadConfig(**setting).resolved(), name) == value


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("paper", {"include_input": True}),
        ("paper", {"score": "channel_mean"}),
        ("released", {"causal": False}),
        ("released", {"share_steps": True}),
        ("released", {"include_input": False}),
        ("released", {"score": "learned"}),
        ("released", {"time_mixing": "none"}),
        ("released", {"targets": "together"}),
    ],
    ids=str,
)
def test_what_contradicts_the_name_is_refused(name: str, setting: dict[str, Any]) -> None:
    (field, value), *_ = setting.items()
    with pytest.raises(ValueError, match=rf"head '{name}' has {field} .*got {str(value).lower()}; .*'tagf'"):
        HeadConfig(name=name, **setting)


def test_what_the_name_says_may_be_repeated() -> None:
    settings = dict(zip(NAMED, (True, False, True, "channel_mean", "learned", "separate"), strict=True))
    assert HeadConfig(name="released", **settings).resolved() == HeadConfig(name="released").resolved()


@pytest.mark.parametrize("target", ["valence", "arousal"])
@pytest.mark.parametrize("name", ["tagf", "released"])
def test_halves_of_separate_heads(name: str, target: str) -> None:
    half = dataclasses.replace(HeadConfig(name=name).resolved(), targets=target)
    assert half.num_outputs == 1


def test_number_of_outputs() -> None:
    assert HeadConfig().resolved().num_outputs == 2
    with pytest.raises(ValueError, match=r"one head for each target.*build_head"):
        _ = HeadConfig(name="released").resolved().num_outputs


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"visual_features": 0}, "visual_features must be at least 1, got 0"),
        ({"num_steps": 0}, "num_steps must be at least 1"),
        ({"reference_length": 0}, "reference_length must be at least 1"),
        ({"visual_channels": ()}, r"visual_channels must list .* got \[\]"),
        ({"audio_channels": (3, 0)}, r"audio_channels must list .* got \[3, 0\]"),
        ({"kernel_size": 0}, "kernel_size must be positive, got 0"),
        ({"kernel_size": 4, "causal": False}, "kernel_size must be odd where causal is false, got 4"),
        ({"tcn_dropout": 1.0}, r"tcn_dropout must lie in \[0, 1\), got 1.0"),
        ({"attention_dropout": -0.1}, r"attention_dropout must lie in \[0, 1\), got -0.1"),
        ({"num_steps": 1, "include_input": False}, "at least 2 candidates.*include_input"),
        ({"name": "paper", "num_steps": 1}, "at least 2 candidates.*num_steps to 2"),
        ({"score": "mean"}, "score must be one of learned, channel_mean, got 'mean'"),
        ({"time_mixing": "linear"}, "time_mixing must be one of none, learned"),
        ({"targets": "both"}, "targets must be one of together, separate, valence, arousal"),
    ],
    ids=str,
)
def test_impossible_settings_are_named(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        HeadConfig(**setting)
    assert "\n" not in str(caught.value)


def test_an_even_kernel_is_possible_where_causal() -> None:
    assert HeadConfig(kernel_size=4, causal=True).resolved().causal


def test_settings_survive_a_file() -> None:
    for config in (HeadConfig(), HeadConfig(name="released"), HeadConfig(score="channel_mean", causal=True)):
        assert parse_settings(HeadConfig, to_mapping(config), where="file") == config
        again = parse_settings(HeadConfig, to_mapping(config.resolved()), where="file")
        assert again.resolved() == config.resolved()


def test_a_mistake_in_a_file_is_named_with_its_key() -> None:
    with pytest.raises(SettingsError, match=r"params.yaml: train.head.*score"):
        parse_settings(HeadConfig, {"score": "mean"}, where="params.yaml", section="train.head")
