"""Traces on few points: outlines stay, values are the clip's own, and packing loses nothing that is seen."""

from __future__ import annotations

import base64
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.report.trace_sample import (
    bin_means,
    gaps,
    merged_gaps,
    packed,
    packed_frames,
    packed_times,
    rows_to_draw,
)


def unpacked(found: dict) -> np.ndarray:
    steps = np.frombuffer(base64.b64decode(found["i16"]), "<i2").astype(float)
    return np.where(steps == -32768, np.nan, steps * found["step"])


@given(
    st.integers(2, 3000),
    st.integers(1, 4),
    st.sampled_from([40, 200, 777]),
    st.integers(0, 2**32 - 1),
)
def test_drawn_rows_rise_are_few_and_keep_every_extreme_of_every_bin(num_rows, num_series, num_points, seed):
    rng = np.random.default_rng(seed)
    series = [rng.standard_normal(num_rows) for _ in range(num_series)]
    for values in series:
        values[rng.random(num_rows) < 0.1] = np.nan
    rows = rows_to_draw(series, num_points)
    assert len(rows) <= num_points
    assert (np.diff(rows) > 0).all()
    assert rows[0] == 0
    assert rows[-1] == num_rows - 1
    for values in series:
        if not np.isnan(values).all():
            assert np.nanmin(values[rows]) == np.nanmin(values)
            assert np.nanmax(values[rows]) == np.nanmax(values)


def test_a_single_spike_in_an_hour_is_drawn():
    flat = np.zeros(90_000)
    flat[41_234] = 1.0
    assert 41_234 in rows_to_draw([flat], 400)


def test_the_outline_lies_within_the_bins_width_of_the_trace():
    time = np.arange(20_000) / 25
    wave = np.sin(time * 3)
    rows = rows_to_draw([wave], 1000)
    width = 20_000 / 499
    for start in np.linspace(0, 20_000 - width, 50).astype(int):
        window = slice(start, start + round(2 * width))
        inside = rows[(rows >= window.start) & (rows < window.stop)]
        assert wave[window].max() - wave[inside].max() < 1e-9 or inside[0] > start + 1


def test_bin_means_are_those_of_the_rows():
    values = np.random.default_rng(0).random((103, 3))
    found = bin_means(values, 10)
    edges = np.linspace(0, 103, 11).astype(int)
    expected = [values[start:stop].mean(axis=0) for start, stop in pairwise(edges)]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@given(st.lists(st.booleans(), min_size=1, max_size=60))
def test_gaps_cover_the_rows_without_a_face_and_no_other(found):
    time = np.arange(len(found)) * 0.04 + 1.0
    spans = gaps(np.array(found), time, 0.04)
    for at, is_found in zip(time, found, strict=True):
        assert any(start - 1e-6 <= at + 0.02 < end for start, end in spans) == (not is_found)


def test_merged_gaps_cover_the_same_and_close_the_nearest():
    spans = [[0.0, 1.0], [1.1, 2.0], [5.0, 6.0], [6.5, 7.0]]
    assert merged_gaps(spans, 2) == [[0.0, 2.0], [5.0, 7.0]]
    assert merged_gaps(spans, 4) == spans
    assert merged_gaps(spans, 1) == [[0.0, 7.0]]


@pytest.mark.parametrize("size", [1.0, 3.0, 250.0])
def test_packed_values_come_back_to_half_a_step(size):
    values = np.random.default_rng(1).uniform(-size, size, 500)
    values[::17] = np.nan
    found = packed(values)
    assert found["step"] <= max(1e-4, size / 32_000)
    np.testing.assert_array_equal(np.isnan(unpacked(found)), np.isnan(values))
    assert np.nanmax(np.abs(unpacked(found) - values)) <= found["step"] / 2 + 1e-12


def test_packed_times_and_frames_come_back():
    time = 3600 + np.arange(1000) / 30
    found = packed_times(time)
    back = found["start"] + np.frombuffer(base64.b64decode(found["f32"]), "<f4").astype(float)
    assert np.abs(back - time).max() < 1e-5
    frames = np.array([0, 7, 4_000_000_000])
    np.testing.assert_array_equal(np.frombuffer(base64.b64decode(packed_frames(frames)), "<u4"), frames)
