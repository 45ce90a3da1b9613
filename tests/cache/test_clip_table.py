"""The columns that are computed, against values by hand and a loop over rows."""

from __future__ import annotations

import json
from dataclasses import asdict
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache import CacheError, ClipFeatures, StoreFormatError
from cache.clip_table import ClipTable, audio_seconds, clip_provenance, face_share
from cache.layout import clip_layouts


@pytest.mark.parametrize(
    ("found", "share"), [([], 0.0), ([False], 0.0), ([True], 1.0), ([True, False, True, True], 0.75)]
)
def test_share_of_rows_with_a_face(found: list[bool], share: float) -> None:
    assert face_share(np.array(found, np.bool_)) == share


@pytest.mark.parametrize(
    ("time_s", "found", "seconds"),
    [
        ([], [], 0.0),
        ([3.0], [True], 0.0),  # no other row says how long it lasts
        ([1.0, 1.5], [True, True], 1.0),  # the last lasts as long as the one before it
        ([1.0, 1.5], [False, True], 0.5),
        ([0.0, 1.0, 3.0, 3.25], [True, True, True, True], 3.5),
        ([0.0, 1.0, 3.0, 3.25], [False, True, False, False], 2.0),
        ([0.0, 1.0, 3.0, 3.25], [False, False, False, False], 0.0),
    ],
)
def test_seconds_of_sound(time_s: list[float], found: list[bool], seconds: float) -> None:
    assert audio_seconds(np.array(time_s), np.array(found, np.bool_)) == seconds


@given(
    st.lists(st.tuples(st.floats(1e-3, 10), st.booleans()), min_size=2, max_size=50),
)
def test_the_sum_is_the_nearest_number_to_the_exact_one(rows: list[tuple[float, bool]]) -> None:
    time_s, found = np.cumsum([gap for gap, _ in rows]), [there for _, there in rows]
    exact = Fraction(0)
    for row, there in enumerate(found):
        after = min(row, len(rows) - 2)
        exact += there * Fraction(float(time_s[after + 1] - time_s[after]))
    assert audio_seconds(time_s, np.array(found)) == float(exact)


def frame_arrays(features: ClipFeatures) -> dict[str, np.ndarray]:
    return {name: getattr(features, name) for name in ("time_s", "face_found", "audio_found")}


def test_a_row_per_clip(make_key: Any, make_features: Any) -> None:
    table, clips = ClipTable(), {name: make_features(size, size) for name, size in (("b", 7), ("a", 0))}
    keys = {"b": make_key("b", media_sha256="cd" * 32), "a": make_key("a")}
    for name, features in clips.items():
        table.add(keys[name], {"codec": name}, frame_arrays(features))
    assert (len(table), table.num_frames) == (2, 7)
    columns = table.columns()
    assert list(columns) == [layout.name for layout in clip_layouts(2)]
    assert columns["clip_id"].tolist() == ["b", "a"]
    assert columns["row_size"].tolist() == [7, 0]
    assert columns["media_sha256"].tolist() == ["cd" * 32, "ab" * 32]
    assert columns["face_share"].tolist() == [clips["b"].face_found.mean(), 0.0]
    assert [json.loads(text) for text in columns["clip_facts"]] == [
        {"key": asdict(keys[name]), "facts": {"codec": name}} for name in "ba"
    ]
    assert {name: column.dtype.kind for name, column in columns.items()} == {
        "clip_id": "T",
        "row_size": "i",
        "media_sha256": "T",
        "face_share": "f",
        "audio_s": "f",
        "clip_facts": "T",
    }


def test_provenance_comes_back(make_key: Any, make_features: Any) -> None:
    table, key = ClipTable(), make_key("ü")
    table.add(key, {"codec": "x", "notes": [1, None]}, frame_arrays(make_features(3)))
    (text,) = table.columns()["clip_facts"]
    assert clip_provenance(text, "here") == (key, {"codec": "x", "notes": [1, None]})


@pytest.mark.parametrize(
    "change",
    [
        lambda document: "",
        lambda document: "[1]",
        lambda document: "3",
        lambda document: json.dumps({"facts": {}}),
        lambda document: json.dumps({"key": document["key"]}),
        lambda document: json.dumps({**document, "facts": "x"}),
        lambda document: json.dumps({**document, "key": {**document["key"], "more": 1}}),
        lambda document: json.dumps({**document, "key": {**document["key"], "media_sha256": "x"}}),
        lambda document: json.dumps({**document, "key": {**document["key"], "media_sha256": 3}}),
    ],
)
def test_what_is_no_provenance(make_key: Any, change: Any) -> None:
    document = {"key": make_key("a").as_dict(), "facts": {}}
    with pytest.raises(StoreFormatError, match=r"^in s: clip_facts does not say what it was made from"):
        clip_provenance(change(document), "in s")


def test_a_clip_has_one_row(make_key: Any, make_features: Any) -> None:
    table = ClipTable()
    table.add(make_key("a"), {}, frame_arrays(make_features(2)))
    with pytest.raises(CacheError, match="clip 'a' is listed twice; give each clip of a store its own name"):
        table.add(make_key("a", selection="left"), {}, frame_arrays(make_features(3)))
