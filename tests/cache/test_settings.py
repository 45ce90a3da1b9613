"""Settings: what is converted, and that every mistake is named by its key on one line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cache.errors import SettingsError
from cache.settings import load_section, parse_settings, to_mapping


@dataclass(frozen=True, kw_only=True)
class Face:
    every: int = 5
    share: float = 0.9
    align: Literal["similarity", "box"] = "similarity"

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"every must be at least 1, got {self.every}")
        if self.share > 1:
            raise ValueError(f"a share above 1 makes no sense,\ngot {self.share}")


@dataclass(frozen=True, kw_only=True)
class Tree:
    face: Face = field(default_factory=Face)
    faces: tuple[Face, ...] = ()
    rate: float = 0.1
    widths: tuple[int, ...] = (3, 4)
    pair: tuple[float, str] = (1.0, "a")
    seed: int | None = None
    maybe: int | bool = 0
    strict: bool = False
    name: str = "x"
    named: Mapping[str, Face] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Required:
    size: int


def test_left_out_settings_keep_their_defaults() -> None:
    assert parse_settings(Tree, {"face": {"every": 2}, "rate": 3}, where="p") == Tree(
        face=Face(every=2), rate=3.0
    )


def test_yaml_floats_without_a_dot_are_numbers() -> None:
    mapping = yaml.safe_load("rate: 1e-4")
    assert mapping == {"rate": "1e-4"}  # YAML 1.1: the reason for the conversion
    assert parse_settings(Tree, mapping, where="p").rate == 1e-4


def test_lists_become_tuples_and_types_are_exact() -> None:
    tree = parse_settings(
        Tree, {"widths": [1, 2, 3], "rate": 1, "seed": "7", "faces": [{"every": 9}]}, where="p"
    )
    assert tree.widths == (1, 2, 3)
    assert type(tree.rate) is float
    assert tree.seed == 7
    assert tree.faces == (Face(every=9),)
    assert parse_settings(Tree, {"maybe": True, "seed": None}, where="p").maybe is True


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"rat": 1}, "p: s.rat is not a setting; did you mean 'rate'? (settings: face, faces, rate, "),
        ({"face": {"evry": 1}}, "p: s.face.evry is not a setting; did you mean 'every'? (settings: every, "),
        ({"every": 1}, "p: s.every is not a setting; did you mean 's.face.every'? (settings: face, "),
        ({"faces": [{}, {"zz": 1}]}, "p: s.faces.1.zz is not a setting (settings: every, share, align)"),
        (
            {"named": {"mine": {"evry": 1}}},
            "p: s.named.mine.evry is not a setting; did you mean 'every'? (settings: every, share, align)",
        ),
        ({"named": {"mine": {"share": True}}}, "p: s.named.mine.share: expected a number, got True"),
        ({"named": {"mine": {"every": 0}}}, "p: s.named.mine.every must be at least 1, got 0"),
        ({"named": {"mine": 3}}, "p: s.named.mine: expected a mapping of settings, got 3"),
        ({3: 1}, "p: s.3 is not a setting (settings: "),
        ({"rate": "fast"}, "p: s.rate: expected a number, got 'fast'"),
        ({"rate": True}, "p: s.rate: expected a number, got True"),
        ({"rate": float("nan")}, "p: s.rate: expected a finite number, got nan"),
        ({"rate": "inf"}, "p: s.rate: expected a finite number, got 'inf'"),
        ({"rate": 10**400}, "p: s.rate: expected a finite number, got 1000"),
        ({"seed": False}, "p: s.seed: expected an integer, got False"),
        ({"widths": [1, True]}, "p: s.widths.1: expected an integer, got True"),
        ({"widths": [1, "b"]}, "p: s.widths.1: expected an integer, got 'b'"),
        ({"widths": 5}, "p: s.widths: expected a list, got 5"),
        ({"pair": [True, "a"]}, "p: s.pair.0: expected a number, got True"),
        (
            {"face": {"align": "boxx"}},
            "p: s.face.align: expected 'similarity' or 'box', got 'boxx'; did you mean 'box'?",
        ),
        ({"face": {"every": 2.5}}, "p: s.face.every: expected an integer, got 2.5"),
        ({"face": 3}, "p: s.face: expected a mapping of settings, got 3"),
        ({"face": None}, "p: s.face: expected a mapping of settings, got nothing"),
        ({"face": {"every": 0}}, "p: s.face.every must be at least 1, got 0"),
        ({"face": {"share": 2}}, "p: s.face: a share above 1 makes no sense, got 2.0"),
        ({"name": 5}, "p: s.name: expected a string, got 5"),
        ({"strict": "perhaps"}, "p: s.strict: expected a boolean"),
        (
            {"rate": "a", "face": {"every": "b"}},
            "p: s.face.every: expected an integer, got 'b' (and 1 more: s.rate)",
        ),
    ],
)
def test_mistakes_are_named_by_their_full_key_on_one_line(mapping: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_settings(Tree, mapping, where="p", section="s")
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_section_may_be_left_out() -> None:
    with pytest.raises(SettingsError, match=r"^config.yaml: face.every must be at least 1, got -1$"):
        parse_settings(Tree, {"face": {"every": -1}}, where="config.yaml")


def test_a_setting_without_default_is_asked_for() -> None:
    with pytest.raises(SettingsError, match=r"^p: s.size is missing$"):
        parse_settings(Required, {}, where="p", section="s")


trees = st.builds(
    Tree,
    face=st.builds(
        Face, every=st.integers(1, 9), share=st.floats(-5, 1), align=st.sampled_from(["similarity", "box"])
    ),
    faces=st.lists(st.builds(Face, every=st.integers(1, 9)), max_size=2).map(tuple),
    rate=st.floats(allow_nan=False, allow_infinity=False),
    widths=st.lists(st.integers(-(2**60), 2**60)).map(tuple),
    pair=st.tuples(st.floats(-1e9, 1e9), st.text()),
    seed=st.none() | st.integers(-9, 9),
    strict=st.booleans(),
    named=st.dictionaries(st.sampled_from("abc"), st.builds(Face, every=st.integers(1, 9))),
    name=st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"])),
)


@given(trees)
def test_to_mapping_is_inverted_by_way_of_json_and_yaml(tree: Tree) -> None:
    mapping = to_mapping(tree)
    assert parse_settings(Tree, json.loads(json.dumps(mapping)), where="p") == tree
    assert parse_settings(Tree, yaml.safe_load(yaml.safe_dump(mapping)), where="p") == tree


def test_to_mapping_wants_an_instance() -> None:
    with pytest.raises(TypeError, match="instance of a dataclass"):
        to_mapping(Tree)


def test_load_section_reads_its_section_alone(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("tree:\n  rate: 2e-3\nother: {nonsense: 1}\n")
    assert load_section(path, "tree", Tree) == Tree(rate=0.002)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tre: {}", r"section 'tree' is missing; is 'tre' misspelt\? \(sections: tre\)"),
        ("[1, 2]", r"expected a mapping of sections, got \[1, 2\]"),
        ("", "expected a mapping of sections, got nothing"),
        ("tree:", "tree: expected a mapping of settings, got nothing"),
        ("tree: [1]", r"tree: expected a mapping of settings, got \[1\]"),
        ("tree: {a: [}", "not valid YAML: .*line 1"),
        ("tree: !!python/object/apply:os.getcwd []", "not valid YAML"),
        ("tree:\n  rate: 1\n  rate: 2", "not valid YAML: key 'rate' is given twice .*line 3"),
        ("tree: {lr: 1}", r"params.yaml: tree.lr is not a setting"),
    ],
)
def test_load_section_names_the_file_and_the_mistake(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=rf"params\.yaml: .*{message}|{message}") as caught:
        load_section(path, "tree", Tree)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_section_with_a_default_may_be_missing_but_not_misspelt(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("other: {nonsense: 1}\n")
    assert load_section(path, "tree", Tree, default=Tree(rate=0.5)) == Tree(rate=0.5)
    path.write_text("treee: {rate: 1}\n")
    with pytest.raises(SettingsError, match=r"section 'tree' is missing; is 'treee' misspelt\?"):
        load_section(path, "tree", Tree, default=Tree(rate=0.5))


def test_load_section_without_a_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"params.yaml: cannot read the settings: No such file"):
        load_section(tmp_path / "params.yaml", "tree", Tree)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match="not UTF-8"):
        load_section(tmp_path / "binary", "tree", Tree)


def test_yaml_anchors_may_be_merged(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("base: &base {rate: 1, name: a}\ntree:\n  <<: *base\n  name: b\n")
    assert load_section(path, "tree", Tree) == Tree(rate=1.0, name="b")
