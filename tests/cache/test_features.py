"""ClipFeatures refuses what stage two could not read."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from cache import ClipFeatures

NAN, INF = float("nan"), float("inf")


def with_value(array: np.ndarray, index: Any, value: float) -> np.ndarray:
    changed = array.copy()
    changed[index] = value
    return changed


def changed(features: ClipFeatures, **values: Any) -> ClipFeatures:
    return ClipFeatures(**{field.name: getattr(features, field.name) for field in fields(features)} | values)


@pytest.mark.parametrize("num_frames", [0, 1, 5])
def test_any_number_of_frames_is_allowed(make_features: Callable[..., ClipFeatures], num_frames: int) -> None:
    features = make_features(num_frames)
    assert features.num_frames == num_frames
    assert features.streams["visual"].shape == (2, num_frames, 5)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (
            "time_s",
            lambda a: a.astype(np.float32),
            r"time_s must be .* float64 with shape \(6,\), got float32",
        ),
        ("time_s", lambda a: a[:, None], r"time_s must be .* got float64 with shape \(6, 1\)"),
        ("time_s", lambda a: a[::-1], r"time_s must rise strictly, got .* at row 0"),
        ("time_s", lambda a: with_value(a, 4, a[3]), r"time_s must rise strictly, got .* at row 3"),
        ("time_s", lambda a: with_value(a, 2, NAN), r"time_s must be finite, got nan at row 2"),
        ("time_s", list, r"time_s must be a numpy array of float64 with shape .*, got list"),
        ("source_frame", lambda a: a.astype(np.int32), "source_frame must be .* int64"),
        (
            "source_frame",
            lambda a: a[:5],
            r"source_frame must be .* shape \(6,\), got int64 with shape \(5,\)",
        ),
        ("face_found", lambda a: a.astype(np.uint8), "face_found must be .* bool"),
        ("audio_found", lambda a: a[1:], "audio_found must be .* bool"),
        ("face_box", lambda a: a.T, r"face_box must be .* shape \(6, 4\), got float32 with shape \(4, 6\)"),
        ("face_box", lambda a: with_value(a, (5, 2), INF), "face_box must be finite, got inf at row 5"),
        ("face_score", lambda a: with_value(a, 1, NAN), "face_score must be finite, got nan at row 1"),
    ],
)
def test_frame_arrays_are_checked(
    make_features: Callable[..., ClipFeatures], name: str, change: Callable[[Any], Any], message: str
) -> None:
    features = make_features(6)
    with pytest.raises(ValueError, match=message):
        changed(features, **{name: change(getattr(features, name))})


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("audio", lambda a: a.astype(np.float32), r"streams\['audio'\] must be .* float16"),
        ("audio", lambda a: a[:5], r"streams\['audio'\] must be .* shape \(6, any\), got .*\(5, 3\)"),
        ("audio", lambda a: a[:, :0], r"streams\['audio'\] must be .* shape \(6, any\), got .*\(6, 0\)"),
        ("audio", lambda a: a[None], r"streams\['audio'\] must be .* got .*\(1, 6, 3\)"),
        ("visual", lambda a: a[0], r"streams\['visual'\] must be .* shape \(any, 6, any\), got .*\(6, 5\)"),
        ("visual", lambda a: a.transpose(1, 0, 2), r"streams\['visual'\] must be .* shape \(any, 6, any\)"),
        (
            "visual",
            lambda a: with_value(a, (1, 3, 2), INF),
            r"streams\['visual'\] must be finite, got inf at row 3; float16",
        ),
        ("text", lambda a: with_value(a, (4, 1), NAN), r"streams\['text'\] must be finite, got nan at row 4"),
    ],
)
def test_streams_are_checked(
    make_features: Callable[..., ClipFeatures], name: str, change: Callable[[Any], Any], message: str
) -> None:
    features = make_features(6)
    with pytest.raises(ValueError, match=message):
        changed(features, streams={**features.streams, name: change(features.streams[name])})


def test_at_least_one_stream(make_features: Callable[..., ClipFeatures]) -> None:
    with pytest.raises(ValueError, match="at least one stream"):
        changed(make_features(2), streams={})


def test_features_travel_between_processes(make_features: Callable[..., ClipFeatures]) -> None:
    features = make_features(4)
    copy = pickle.loads(pickle.dumps(features))
    np.testing.assert_array_equal(copy.streams["visual"], features.streams["visual"])
