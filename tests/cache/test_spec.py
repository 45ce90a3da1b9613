"""Specs: the fingerprint against one computed by hand, and what differs in words."""

from __future__ import annotations

import hashlib
import json
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache import FeatureSpec, StoreFormatError, StreamSpec

AUDIO = StreamSpec(name="audio", num_features=128)
VISUAL = StreamSpec(name="visual", num_features=512, views=("center", "flip"))

values = st.text(max_size=5) | st.integers(-9, 9) | st.floats(-9, 9) | st.booleans()
specs = st.builds(
    FeatureSpec,
    streams=st.sampled_from([(VISUAL,), (AUDIO,), (VISUAL, AUDIO), (AUDIO, VISUAL)]),
    settings=st.dictionaries(st.sampled_from(["a.b", "a.c", "d"]), values),
)


def test_fingerprint_is_the_digest_of_the_canonical_json() -> None:
    spec = FeatureSpec(
        streams=(VISUAL, AUDIO), settings={"faces.margin": 0.2, "audio.anchor": "center", "on": True}
    )
    canonical = (
        '{"settings":{"audio.anchor":"center","faces.margin":0.2,"on":true},"streams":['
        '{"name":"visual","num_features":512,"views":["center","flip"]},'
        '{"name":"audio","num_features":128,"views":null}]}'
    )
    assert spec.to_json() == canonical
    assert spec.fingerprint == hashlib.sha256(canonical.encode()).hexdigest()[:16]


def test_the_order_of_settings_is_no_matter_that_of_streams_is() -> None:
    spec = FeatureSpec(streams=(VISUAL, AUDIO), settings={"a": 1, "b": 2})
    assert spec == FeatureSpec(streams=(VISUAL, AUDIO), settings={"b": 2, "a": 1})
    assert spec.fingerprint != FeatureSpec(streams=(AUDIO, VISUAL), settings={"a": 1, "b": 2}).fingerprint


@given(specs)
def test_json_is_inverted(spec: FeatureSpec) -> None:
    again = FeatureSpec.from_json(spec.to_json())
    assert again == spec
    assert hash(again) == hash(spec)
    assert again.streams == spec.streams
    assert json.dumps(dict(again.settings), sort_keys=True) == json.dumps(dict(spec.settings), sort_keys=True)
    assert pickle.loads(pickle.dumps(spec)) == spec


@given(specs, specs)
def test_there_are_differences_exactly_where_fingerprints_differ(
    one: FeatureSpec, other: FeatureSpec
) -> None:
    assert (one.differences(other) == ()) == (one.fingerprint == other.fingerprint) == (one == other)


def test_differences_name_each_setting_and_stream() -> None:
    one = FeatureSpec(
        streams=(VISUAL, AUDIO), settings={"audio.anchor": "center", "same": 1, "count": 1, "gone": 2}
    )
    other = FeatureSpec(
        streams=(StreamSpec(name="visual", num_features=512, views=("flip",)),),
        settings={"audio.anchor": "end", "same": 1, "count": True, "new": 3},
    )
    assert one.differences(other) == (
        "streams: ['visual', 'audio'] here, ['visual'] there",
        "streams.visual.views: ['center', 'flip'] here, ['flip'] there",
        "streams.audio.num_features: 128 here, not set there",
        "audio.anchor: 'center' here, 'end' there",
        "count: 1 here, True there",
        "gone: 2 here, not set there",
        "new: not set here, 3 there",
    )
    assert one.differences(other, here="in A", there="in B")[3] == "audio.anchor: 'center' in A, 'end' in B"


def test_stream_by_name() -> None:
    spec = FeatureSpec(streams=(VISUAL, AUDIO), settings={})
    assert spec.stream("audio") is AUDIO
    with pytest.raises(KeyError):
        spec.stream("text")
    assert (VISUAL.shape(7), AUDIO.shape(7)) == ((2, 7, 512), (7, 128))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "Audio"}, "name must be lower case"),
        ({"name": "a/b"}, "name must be lower case"),
        ({"name": ""}, "name must be lower case"),
        ({"name": "frame"}, "none of the store's own names"),
        ({"name": "time_s"}, "none of the store's own names"),
        ({"name": "completion"}, "none of the store's own names"),
        ({"num_features": 0}, "num_features of 'audio' must be at least 1, got 0"),
        ({"num_features": 2.5}, "num_features of 'audio' must be at least 1, got 2.5"),
        ({"views": ("a",)}, "views belong to the visual stream alone"),
        ({"name": "visual"}, "views belong to the visual stream alone"),
        ({"name": "visual", "views": ()}, "must name at least one, each once"),
        ({"name": "visual", "views": ("a", "a")}, "must name at least one, each once"),
    ],
)
def test_impossible_streams(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StreamSpec(**{"name": "audio", "num_features": 3, **fields})


@pytest.mark.parametrize(
    ("streams", "settings", "message"),
    [
        ((), {}, "at least one stream"),
        ((AUDIO, AUDIO), {}, "each once"),
        ((AUDIO,), {"a": None}, "setting 'a' must be a string, a number or a boolean, got None"),
        ((AUDIO,), {"a": {}}, "setting 'a' must be"),
        ((AUDIO,), {"a": float("nan")}, "setting 'a' must be finite"),
    ],
)
def test_impossible_specs(streams: Any, settings: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FeatureSpec(streams=streams, settings=settings)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"streams": [{}], "settings": {}}', '{"streams": 3, "settings": 1}', "null"]
)
def test_what_is_no_spec(text: str) -> None:
    with pytest.raises(StoreFormatError, match="feature spec: expected JSON"):
        FeatureSpec.from_json(text)
