"""Labels with time stamps at frames: against scipy's interpolation and against a loop over samples."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.interpolate import interp1d

from tagf_head.annotations.timed_labels import LabelTrace, TimedLabels

NAN = np.nan


def trace(times: object, values: object) -> LabelTrace:
    return LabelTrace(time_s=np.asarray(times, float), value=np.asarray(values, float))


def by_loop(label: LabelTrace, wanted_s: float) -> float:
    """The rule in words, sample by sample."""
    times, values = label.time_s, label.value
    period_s = np.median(np.diff(times))
    for first in range(len(times) - 1):
        begin, end = times[first], times[first + 1]
        if begin < wanted_s < end and end - begin <= 2.5 * period_s:
            value = np.interp(wanted_s, [begin, end], [values[first], values[first + 1]])
            if np.isfinite(values[first]) and np.isfinite(values[first + 1]):
                return float(value)
    near = [
        (abs(wanted_s - time), value)
        for time, value in zip(times, values, strict=True)
        if np.isfinite(value) and abs(wanted_s - time) <= 0.5 * period_s
    ]
    return min(near)[1] if near else NAN


def test_equals_scipy_where_nothing_is_missing() -> None:
    generator = np.random.default_rng(0)
    times = np.arange(200) / 10 + 0.3
    values = generator.uniform(-1, 1, 200)
    wanted_s = np.sort(generator.uniform(times[0], times[-1], 1000))
    np.testing.assert_allclose(
        trace(times, values).at(wanted_s), interp1d(times, values)(wanted_s), rtol=0, atol=1e-12
    )


def test_equals_a_loop_with_gaps_and_jitter() -> None:
    generator = np.random.default_rng(1)
    times = np.cumsum(generator.uniform(0.03, 0.05, 120))
    values = generator.uniform(-1, 1, 120)
    values[generator.random(120) < 0.2] = NAN
    kept = np.ones(120, bool)
    kept[40:60] = False
    label = trace(times[kept], values[kept])
    wanted_s = np.concatenate([np.linspace(-0.2, times[-1] + 0.2, 3001), label.time_s])
    found = label.at(wanted_s)
    expected = np.array([by_loop(label, each) for each in wanted_s])
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)
    assert 0.1 < np.isnan(found).mean() < 0.6


def test_nothing_is_made_up_across_a_gap() -> None:
    label = trace([0, 0.1, 0.2, 0.3, 0.9, 1.0], [0, 0.1, 0.2, 0.3, 0.9, 1.0])
    found = label.at(np.array([0.34, 0.36, 0.6, 0.84, 0.86, 0.95]))
    np.testing.assert_allclose(found, [0.3, NAN, NAN, NAN, 0.9, 0.95], atol=1e-12)
    unrated = trace([0, 0.1, 0.2, 0.3], [0, NAN, 0.2, 0.3])
    np.testing.assert_allclose(
        unrated.at(np.array([0.04, 0.06, 0.1, 0.14, 0.16, 0.25])), [0, NAN, NAN, NAN, 0.2, 0.25]
    )


def test_one_line_that_was_lost_is_bridged() -> None:
    label = trace([0, 0.1, 0.2, 0.4, 0.5], [0, 0.1, 0.2, 0.4, 0.5])
    assert label.at(np.array([0.3]))[0] == pytest.approx(0.3, abs=1e-12)


def test_half_a_period_of_grace_at_both_ends() -> None:
    label = trace([1.0, 1.04, 1.08], [0.1, 0.2, 0.3])
    found = label.at(np.array([0.97, 0.98, 0.99, 1.09, 1.10, 1.11]))
    np.testing.assert_array_equal(found, [NAN, 0.1, 0.1, 0.3, 0.3, NAN])


@pytest.mark.parametrize("num_samples", [0, 1])
def test_traces_of_hardly_any_samples(num_samples: int) -> None:
    label = trace([0.4][:num_samples], [0.7][:num_samples])
    found = label.at(np.array([0.3, 0.4, 0.5]))
    np.testing.assert_array_equal(found, [NAN, 0.7 if num_samples else NAN, NAN])
    assert label.at(np.array([])).shape == (0,)


def test_frames_get_the_label_noted_later() -> None:
    times = np.arange(0, 10, 0.1)
    labels = TimedLabels(valence=trace(times, times / 10), arousal=trace(times, -times / 10))
    time_s = np.arange(100) / 25
    aligned = labels.align(np.arange(100), time_s, 2.5)
    np.testing.assert_allclose(aligned.labels[:, 0], (time_s + 2.5) / 10, atol=1e-7)
    np.testing.assert_allclose(aligned.labels[:, 1], -(time_s + 2.5) / 10, atol=1e-7)
    assert aligned.labels.dtype == np.float32
    assert aligned.mask.all()


def test_counts_and_masks() -> None:
    times = np.arange(0, 1.01, 0.1)
    valence, arousal = np.zeros(11), np.full(11, 0.5)
    valence[4] = NAN
    labels = TimedLabels(valence=trace(times, valence), arousal=trace(times[:8], arousal[:8]))
    time_s = np.arange(12) / 10
    aligned = labels.align(np.arange(12), time_s, 0.0)
    assert aligned.mask.tolist() == [True] * 4 + [False] + [True] * 3 + [False] * 4
    # Frame 4 is covered and unrated; arousal ends at 0.7 s, so 8 to 11 are not covered.
    assert (aligned.num_not_annotated, aligned.num_missing, aligned.num_surplus) == (1, 4, 0)
    assert not aligned.labels[~aligned.mask].any()
    assert labels.num_labelled == 8
    short = labels.align(np.arange(3), time_s[:3], 0.5)
    assert (short.num_missing, short.num_surplus) == (0, 8)  # 0.5 to 0.7 s of the 11 of valence are used
    assert labels.align(np.arange(0), time_s[:0], 0.0).num_surplus == 11


def test_content_tells_labels_apart() -> None:
    def content(times: list[float], valence: list[float], arousal: list[float]) -> bytes:
        return TimedLabels(valence=trace(times, valence), arousal=trace(times, arousal)).content()

    contents = {
        content([0, 0.1], [0, 0.5], [0, 0]),
        content([0, 0.2], [0, 0.5], [0, 0]),
        content([0, 0.1], [0, NAN], [0, 0]),
        content([0, 0.1], [0, 0], [0, 0.5]),
        content([0], [0], [0.1]),
    }
    assert len(contents) == 5
    assert content([0], [NAN], [0]) == content([0], [-NAN], [0])
