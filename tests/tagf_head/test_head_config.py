"""Settings of heads: what names settle, what contradicts them, and what is impossible."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from cache.errors import SettingsError
from cache.settings import parse_settings, to_mapping
from tagf_head.head_config import HeadConfig, ResolvedHeadConfig
from tagf_head.head_presets import DEFAULTS as DEFAULT_SETTINGS
from tagf_head.head_presets import PRESETS, preset_of

NAMED = ("causal", "share_steps", "include_input", "score", "time_mixing", "targets")
DEFAULTS = (False, False, True, "learned", "none", "together")


def settled(config: HeadConfig) -> tuple[object, ...]:
    return tuple(getattr(config.resolved(), name) for name in NAMED)


@pytest.mark.parametrize("name", [*sorted({*PRESETS} - {"paper", "released"}), "my_heads.mine:Mine"])
def test_defaults(name: str) -> None:
    assert settled(HeadConfig(name=name)) == DEFAULTS


def test_paper_has_no_input_among_the_candidates() -> None:
    assert settled(HeadConfig(name="paper")) == (False, False, False, "learned", "none", "together")


def test_released_is_settled_altogether() -> None:
    expected = (True, False, True, "channel_mean", "learned", "separate")
    assert settled(HeadConfig(name="released")) == expected


@pytest.mark.parametrize("name", [*PRESETS, "my_heads.mine:Mine"])
def test_resolved_keeps_every_other_setting(name: str) -> None:
    config = HeadConfig(name=name, visual_features=7, audio_channels=(3, 2), num_steps=3, tcn_dropout=0.3)
    resolved = config.resolved()
    assert isinstance(resolved, ResolvedHeadConfig)
    assert resolved.resolved() == resolved
    for field in dataclasses.fields(config):
        given = getattr(config, field.name)
        if given is None:
            assert getattr(resolved, field.name) is not None
        else:
            assert getattr(resolved, field.name) == given


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
        ("released", {"stream_encoder": "lstm"}),
        ("tagf_mean", {"fusion": "gate"}),
    ],
    ids=str,
)
def test_what_contradicts_the_name_is_refused(name: str, setting: dict[str, Any]) -> None:
    (field, value), *_ = setting.items()
    with pytest.raises(ValueError, match=rf"head '{name}' has {field} .*got {str(value).lower()}; .*'tagf'"):
        HeadConfig(name=name, **setting)


@pytest.mark.parametrize(
    ("name", "setting", "other"),
    [
        ("transformer", {"positions": False}, "situ_transformer"),
        ("transformer", {"sequence_encoder": "lstm"}, "situ_lstm"),
        ("situ_transformer", {"positions": True}, "transformer"),
        ("situ_lstm", {"sequence_encoder": "transformer"}, "transformer"),
        ("tagf", {"fusion": "last"}, "tagf_last"),
        ("tagf", {"fusion": "mean"}, "tagf_mean"),
        ("paper", {"fusion": "mean"}, "tagf_mean"),
        ("tagf_mean", {"fusion": "gate"}, "tagf"),
        ("tagf_last", {"fusion": "mean"}, "tagf_mean"),
    ],
    ids=str,
)
def test_the_fitting_head_is_named(name: str, setting: dict[str, Any], other: str) -> None:
    with pytest.raises(ValueError, match=rf"head '{name}' has .*; leave .* out, or take head '{other}'$"):
        HeadConfig(name=name, **setting)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_settle_settings_that_exist(name: str) -> None:
    preset = PRESETS[name]
    assert {*preset.fixed, *preset.defaults} <= {*DEFAULT_SETTINGS}
    assert not {*preset.fixed} & {*preset.defaults}
    assert preset.description
    assert preset.description == preset_of(name).description
    resolved = HeadConfig(name=name).resolved()
    for field, value in {**preset.fixed, **preset.defaults}.items():
        assert getattr(resolved, field) == value


def test_a_setting_comes_before_the_default_of_a_name() -> None:
    assert HeadConfig(name="lfan").resolved().visual_channels == (256, 256, 128, 128)
    assert HeadConfig(name="lfan", visual_channels=(9,)).resolved().visual_channels == (9,)
    assert HeadConfig(name="rjca").resolved().stream_encoder == "lstm"
    assert HeadConfig(name="rjca", stream_encoder="tcn").resolved().stream_encoder == "tcn"


def test_every_setting_that_may_be_left_out_has_a_default() -> None:
    open_settings = {each.name for each in dataclasses.fields(HeadConfig) if each.default is None}
    assert open_settings == {*DEFAULT_SETTINGS}


def test_options_are_for_heads_of_ones_own() -> None:
    assert HeadConfig(name="my_heads.mine:Mine", options={"width": 3}).resolved().options == {"width": 3}
    with pytest.raises(ValueError, match=r"head 'tagf' has none; leave them out \(got width\)"):
        HeadConfig(options={"width": 3})


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
        ({"num_steps": 1, "include_input": False}, "set include_input to true, or num_steps to 2$"),
        # Its name forbids the other remedy.
        (
            {"name": "paper", "num_steps": 1},
            "gate of head 'paper' .*at least 2 candidates.*; set num_steps to 2$",
        ),
        ({"name": "rjca", "stream_encoder": "tcn", "kernel_size": 4}, "kernel_size must be odd"),
        ({"name": "my_heads.mine:Mine", "kernel_size": 4}, "kernel_size must be odd"),
        ({"score": "mean"}, "score must be one of learned, channel_mean, got 'mean'"),
        ({"time_mixing": "linear"}, "time_mixing must be one of none, learned"),
        ({"stream_encoder": "gru"}, "stream_encoder must be one of tcn, lstm, got 'gru'"),
        ({"fusion": "sum"}, "fusion must be one of gate, mean, last, got 'sum'"),
        ({"sequence_encoder": "gru"}, "sequence_encoder must be one of transformer, lstm"),
        ({"num_attention_heads": 0}, "num_attention_heads must be at least 1, got 0"),
        ({"recurrent_features": 7}, "recurrent_features must be even, got 7"),
        ({"model_features": 9}, "model_features must be even, got 9"),
        ({"sequence_dropout": 1.0}, r"sequence_dropout must lie in \[0, 1\), got 1.0"),
        ({"regressor_dropout": -0.5}, r"regressor_dropout must lie in \[0, 1\), got -0.5"),
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


@pytest.mark.parametrize(
    "name", ["tagf_mean", "tagf_last", "jca", "rjca", "hgrjca", "concat", "my_heads.mine:Mine"]
)
def test_one_candidate_is_enough_without_the_gate_of_tagf(name: str) -> None:
    assert not HeadConfig(name=name, num_steps=1, include_input=False).resolved().include_input


@pytest.mark.parametrize("name", ["rjca", "iaca", "transformer", "situ_lstm"])
def test_an_even_kernel_is_possible_without_a_tcn(name: str) -> None:
    assert HeadConfig(name=name, kernel_size=4).kernel_size == 4
    assert HeadConfig(name="concat", stream_encoder="lstm", kernel_size=4).kernel_size == 4


def test_settings_survive_a_file() -> None:
    for config in (
        *(HeadConfig(name=name) for name in PRESETS),
        HeadConfig(score="channel_mean", causal=True),
        HeadConfig(name="my_heads.mine:Mine", options={"a": 1, "b": 0.5, "c": "x", "d": True}),
    ):
        assert parse_settings(HeadConfig, to_mapping(config), where="file") == config
        again = parse_settings(HeadConfig, to_mapping(config.resolved()), where="file")
        assert again.resolved() == config.resolved()


def test_a_mistake_in_a_file_is_named_with_its_key() -> None:
    with pytest.raises(SettingsError, match=r"params.yaml: train.head.*score"):
        parse_settings(HeadConfig, {"score": "mean"}, where="params.yaml", section="train.head")
