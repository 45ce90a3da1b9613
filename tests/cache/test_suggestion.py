"""Suggestions for names that do not exist."""

from __future__ import annotations

import dataclasses

import pytest

from cache.errors import SettingsError
from cache.settings import parse_settings, setting_paths
from cache.suggestion import closest, did_you_mean, listed


def test_the_most_alike_name_is_meant_whatever_its_case() -> None:
    assert closest("TAGF", ["concat", "tagf", "tagf_mean"]) == "tagf"
    assert closest("wedge", ["WEDGE"]) == "WEDGE"
    assert closest("visual-only", ["audio_only", "visual_only"]) == "visual_only"
    assert did_you_mean("blurr", ["Blur", "darkness"]) == "; did you mean 'Blur'?"


def test_nothing_is_guessed_of_a_word_like_none() -> None:
    assert closest("xyz", ["concat", "tagf"]) is None
    assert did_you_mean("xyz", ["concat", "tagf"]) == did_you_mean("x", []) == ""


def test_of_many_names_those_most_like_the_word_are_listed() -> None:
    names = [f"name_{letter}" for letter in "abcdefghijkl"] + ["dropout"]
    assert listed(names[:3], near="drop", at_most=3) == "name_a, name_b, name_c"
    shown = listed(names, near="drop", at_most=3)
    assert shown.startswith("dropout, ")
    assert shown.endswith(", and 10 more")
    assert shown.count(", ") == 3


Wide = dataclasses.make_dataclass(
    "Wide", [(f"setting_{letter}", int, 1) for letter in "abcdefghijklmn"], frozen=True, kw_only=True
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outer:
    wide: Wide = dataclasses.field(default_factory=Wide)  # type: ignore[valid-type]
    lr: float = 0.1


def message(mapping: dict[str, object]) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        parse_settings(Outer, mapping, where="p.yaml", section="train")
    return caught.value


def test_a_setting_of_another_part_of_the_section_is_named_with_its_whole_path() -> None:
    assert str(message({"wide": {"lr": 1}})) == (
        "p.yaml: train.wide.lr is not a setting; did you mean 'train.lr'?"
    )
    assert [*setting_paths(Outer, "train.")][-1] == "train.lr"


def test_long_lists_of_settings_are_cut_short_and_unknown_names_are_told() -> None:
    error = message({"wide": {"xyz": 1}})
    assert str(error).endswith(", and 4 more)")
    assert str(error).count("setting_") == 10
    assert error.unknown == "xyz"
    # With a suggestion nobody needs the list, nor another place for the name.
    error = message({"wide": {"seting_a": 1}})
    assert str(error) == "p.yaml: train.wide.seting_a is not a setting; did you mean 'setting_a'?"
    assert error.unknown is None
    assert message({"lr": "fast"}).unknown is None
