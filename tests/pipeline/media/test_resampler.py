"""Resampling in pieces, against torchaudio in one go and against the formula of a tone."""

from __future__ import annotations

from math import ceil

import numpy as np
import pytest
import torch
import torchaudio

from pipeline.media.resampler import Resampler, can_resample

RATES = [8000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 96_000]


def in_blocks(samples: np.ndarray, rate: int, block: int, piece_s: float) -> np.ndarray:
    resampler = Resampler(rate, piece_s)
    pieces = [
        piece
        for begin in range(0, len(samples), block)
        for piece in resampler.append(samples[begin : begin + block])
    ]
    return np.concatenate([*pieces, resampler.finish()])


@pytest.mark.parametrize("rate", RATES)
def test_pieces_join_without_seams(rate):
    samples = np.random.default_rng(rate).uniform(-1, 1, rate + 77).astype(np.float32)
    whole = torchaudio.functional.resample(torch.from_numpy(samples), rate, 16_000).numpy()
    for block, piece_s in [(1024, 0.1), (17, 0.05), (len(samples), 30.0), (5000, 0.013)]:
        joined = in_blocks(samples, rate, block, piece_s)
        assert joined.shape == whole.shape
        np.testing.assert_allclose(joined, whole, atol=1e-6)


@pytest.mark.parametrize("rate", RATES)
def test_a_tone_keeps_pitch_phase_and_loudness(rate):
    samples = np.sin(2 * np.pi * 700 * np.arange(rate) / rate).astype(np.float32)
    resampled = in_blocks(samples, rate, 1024, 0.2)
    expected = np.sin(2 * np.pi * 700 * np.arange(16_000) / 16_000)
    assert resampled.dtype == np.float32
    np.testing.assert_allclose(resampled[100:-100], expected[100:-100], atol=4e-3)


@pytest.mark.parametrize(
    ("rate", "num_samples"), [(44_100, 1), (44_100, 441), (48_000, 2), (8000, 5), (16_000, 3)]
)
def test_the_shortest_sounds_have_their_share_of_samples(rate, num_samples):
    assert len(in_blocks(np.ones(num_samples, np.float32), rate, 1024, 30.0)) == ceil(
        num_samples * 16_000 / rate
    )


def test_pieces_come_as_soon_as_they_are_complete():
    resampler = Resampler(48_000, piece_s=0.5)
    heard = [sum(len(piece) for piece in resampler.append(np.ones(4800, np.float32))) for _ in range(20)]
    # The sound after a piece, which the filter reaches into, comes with the block that follows.
    assert [block for block, num_samples in enumerate(heard) if num_samples] == [5, 10, 15]
    assert sum(heard) == 24_000


def test_rates_without_a_simple_ratio_are_known_beforehand():
    assert all(can_resample(rate) for rate in [*RATES, 12_000, 37_800, 44_056, 88_200, 176_400, 192_000])
    assert not any(can_resample(rate) for rate in [0, -8000, 47_999, 44_101, 10**9 + 7])
