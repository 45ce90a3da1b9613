"""Comparing two extractions of a clip, bit by bit and within the tolerance."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import numpy as np
import pytest

from cache.features import ClipFeatures
from pipeline.run.part_comparison import first_difference


def features(**changes: Any) -> ClipFeatures:
    rng = np.random.default_rng(0)
    # Rows of other size: each has its own scale.
    audio = rng.normal(0, 1, (4, 6)) * [[1], [1], [1], [0.02]]
    base = ClipFeatures(
        streams={
            "visual": rng.normal(0, 10, (2, 4, 8)).astype(np.float16),
            "audio": audio.astype(np.float16),
        },
        time_s=np.arange(4) / 25,
        source_frame=np.arange(4),
        face_found=np.array([True, True, False, True]),
        audio_found=np.ones(4, dtype=bool),
        face_box=rng.uniform(0, 400, (4, 4)).astype(np.float32),
        face_score=np.full(4, 0.99, dtype=np.float32),
    )
    return dataclasses.replace(base, **changes)


def changed_stream(name: str, place: tuple[int, ...], relative: float) -> ClipFeatures:
    """One value moved by a share of its row's largest value."""
    streams = {key: rows.copy() for key, rows in features().streams.items()}
    row = streams[name][place[:-1]]
    streams[name][place] = np.float16(float(row[place[-1]]) + relative * float(np.abs(row).max()))
    return features(streams=streams)


def test_equal_features_do_not_differ() -> None:
    assert first_difference(features(), features(), bitwise=True) is None
    assert first_difference(features(), features(), bitwise=False) is None


@pytest.mark.parametrize(("name", "place"), [("visual", (1, 2, 7)), ("audio", (3, 0))])
def test_streams(name: str, place: tuple[int, ...]) -> None:
    little, much = changed_stream(name, place, 1e-3), changed_stream(name, place, 4e-3)
    where = rf"stream '{name}' differs at \[{', '.join(map(str, place))}\]: .* became "
    assert re.match(where, first_difference(features(), little, bitwise=True) or "")
    assert first_difference(features(), little, bitwise=False) is None
    assert re.match(where, first_difference(features(), much, bitwise=False) or "")


@pytest.mark.parametrize(
    ("name", "value", "within_tolerance"),
    [
        ("time_s", np.array([0, 0.04, 0.08, 0.12 + 1e-9]), True),
        ("time_s", np.array([0, 0.04, 0.08, 0.13]), False),
        ("face_score", np.array([0.99, 0.99, 0.99, 0.98], dtype=np.float32), False),
        ("face_found", np.array([True, True, True, True]), False),
        ("audio_found", np.array([True, True, True, False]), False),
        ("source_frame", np.array([0, 1, 2, 4]), False),
    ],
)
def test_arrays_per_frame(name: str, value: np.ndarray, within_tolerance: bool) -> None:
    assert (first_difference(features(), features(**{name: value}), bitwise=True) or "").startswith(name)
    assert (
        first_difference(features(), features(**{name: value}), bitwise=False) is None
    ) == within_tolerance


def test_signs_of_zero_are_bits() -> None:
    zero, minus_zero = (
        features(streams={"audio": np.full((4, 6), value, np.float16)}) for value in (0.0, -0.0)
    )
    assert first_difference(zero, minus_zero, bitwise=True) is not None
    assert first_difference(zero, minus_zero, bitwise=False) is None


def test_shapes_and_streams() -> None:
    fewer = features(streams={"audio": features().streams["audio"]})
    assert "['audio', 'visual'] became ['audio']" in (
        first_difference(features(), fewer, bitwise=False) or ""
    )
    wider = features(streams=dict(features().streams) | {"audio": np.zeros((4, 7), np.float16)})
    expected = "stream 'audio' of shape (4, 6) became (4, 7)"
    assert first_difference(features(), wider, bitwise=False) == expected
