"""Noise and reverberation, measured as an acoustician would: energies, spectra, decay curves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import signal

from pipeline.degradation import read_condition
from pipeline.degradation.degraded_sound import degraded_sound
from pipeline.degradation.fir_filter import FirFilter
from pipeline.degradation.noise import Noise
from pipeline.degradation.reverberation import room_response
from pipeline.media.audio import Sound, SoundStream

RATE = 16_000
rng = np.random.default_rng(3)
VOICE = (0.1 * rng.standard_normal(3 * RATE) * np.sin(np.arange(3 * RATE) / 900)).astype(np.float32)


def stream(*pieces: tuple[NDArray[np.float32], bool]) -> SoundStream:
    first, sounds = 0, []
    for samples, decoded in pieces:
        sounds.append(Sound(first_sample=first, samples=samples, decoded=decoded))
        first += len(samples)
    return SoundStream(start_s=0.25, pieces=iter(sounds))


def degraded(
    name: str, *pieces: tuple[NDArray[np.float32], bool], clip: str = "x", seed: int = 0
) -> list[Sound]:
    sound = degraded_sound(lambda: stream(*pieces), read_condition(name), clip, seed)
    assert sound.start_s == 0.25
    return list(sound.pieces)


def joined(pieces: Sequence[Sound]) -> NDArray[np.float64]:
    return np.concatenate([piece.samples for piece in pieces]).astype(np.float64)


@pytest.mark.parametrize("ratio_db", [20, 0, -5])
@pytest.mark.parametrize("family", ["white_noise", "pink_noise", "speech_noise"])
def test_noise_has_the_ratio_that_is_asked_for(family: str, ratio_db: float) -> None:
    noisy = degraded(f"{family}={ratio_db}", (VOICE[:20_000], True), (VOICE[20_000:], True))
    assert [piece.first_sample for piece in noisy] == [0, 20_000]
    noise = joined(noisy) - VOICE
    measured_db = 10 * np.log10(np.sum(VOICE.astype(np.float64) ** 2) / np.sum(noise**2))
    assert measured_db == pytest.approx(ratio_db, abs=1e-3)


def test_gaps_stay_silent_and_do_not_count() -> None:
    gap = np.zeros(RATE, np.float32)
    pieces = degraded("white_noise=10", (VOICE, True), (gap, False), (VOICE, True))
    assert not pieces[1].samples.any()
    assert [piece.decoded for piece in pieces] == [True, False, True]
    noise = np.concatenate([pieces[0].samples, pieces[2].samples]) - np.concatenate([VOICE, VOICE])
    assert np.mean(VOICE**2) / np.mean(noise**2) == pytest.approx(10, rel=1e-3)
    # Reverberation goes on through a gap, and is not heard in it.
    pieces = degraded("reverberation=0.5", (VOICE, True), (gap[:800], False), (gap[:800], True))
    assert not pieces[1].samples.any()
    assert np.abs(pieces[2].samples).max() > 1e-4


def test_silence_and_no_sound_stay_what_they_are() -> None:
    assert not joined(degraded("pink_noise=0", (np.zeros(500, np.float32), True))).any()
    assert degraded("pink_noise=0") == []
    assert degraded("reverberation=1") == []


def test_louder_noise_is_the_same_noise_and_other_clips_and_seeds_have_other_noise() -> None:
    loud, soft = (joined(degraded(f"speech_noise={ratio}", (VOICE, True))) - VOICE for ratio in (0, 20))
    np.testing.assert_allclose(loud, 10 * soft, atol=1e-6)
    for other in ({"clip": "y"}, {"seed": 1}):
        noise = joined(degraded("speech_noise=0", (VOICE, True), **other)) - VOICE
        assert abs(np.corrcoef(noise, loud)[0, 1]) < 0.1


# Third-octave levels of speech, Byrne et al. (1994), table II: some of them.
SPEECH_DB = {250: 60.3, 500: 62.1, 1000: 53.7, 2000: 48.7, 4000: 45.6}


@pytest.mark.parametrize(
    ("family", "band_db"),
    [
        ("white_noise", {hz: 10 * np.log10(hz) for hz in SPEECH_DB}),  # power grows as the bands do
        ("pink_noise", dict.fromkeys(SPEECH_DB, 0.0)),
        ("speech_noise", SPEECH_DB),
    ],
)
def test_spectra_of_noise(family: str, band_db: dict[int, float]) -> None:
    noise = Noise(family, np.random.default_rng(0))
    samples = np.concatenate([noise.samples(RATE) for _ in range(60)])
    frequency, power = signal.welch(samples, RATE, nperseg=4096)
    measured = []
    for center in band_db:
        in_band = (frequency > center * 2 ** (-1 / 6)) & (frequency < center * 2 ** (1 / 6))
        # Whole bins do not fill a band: their mean times its width.
        width = center * (2 ** (1 / 6) - 2 ** (-1 / 6))
        measured.append(10 * np.log10(power[in_band].mean() * width))
    expected = np.array(list(band_db.values()))
    np.testing.assert_allclose(measured - np.mean(measured), expected - expected.mean(), atol=0.7)


@pytest.mark.parametrize("family", ["white_noise", "pink_noise", "speech_noise"])
def test_noise_is_as_loud_at_its_beginning_as_later(family: str) -> None:
    power = np.zeros(2)
    for seed in range(8):
        noise = Noise(family, np.random.default_rng(seed))
        power += [np.sum(noise.samples(2000) ** 2) for _ in range(2)]
    assert abs(10 * np.log10(power[0] / power[1])) < 3


@pytest.mark.parametrize("t60_s", [0.3, 1.0])
@pytest.mark.parametrize("ratio_db", [0.0, -6.0])
def test_reverberation_decays_in_its_time(t60_s: float, ratio_db: float) -> None:
    click = np.zeros(3 * RATE, np.float32)
    click[100] = 0.5
    room = joined(degraded(f"reverberation={t60_s}@{ratio_db}", (click[:150], True), (click[150:], True)))
    assert not np.abs(room[:100]).max() > 1e-7  # causal
    assert room[100] == pytest.approx(0.5, abs=1e-6)  # the direct sound, neither delayed nor changed
    tail = room[101:] / 0.5
    assert -10 * np.log10(np.sum(tail**2)) == pytest.approx(ratio_db, abs=0.01)
    # Schroeder's backward integration, and a line through -5 to -35 dB (ISO 3382's T30).
    decay_db = 10 * np.log10(np.cumsum(tail[::-1] ** 2)[::-1] / np.sum(tail**2))
    used = (decay_db < -5) & (decay_db > -35)
    slope, _ = np.polyfit(np.flatnonzero(used) / RATE, decay_db[used], 1)
    assert -60 / slope == pytest.approx(t60_s, rel=0.05)


def test_filter_does_not_know_of_pieces() -> None:
    kernel, samples = rng.standard_normal(700), rng.standard_normal(5000)
    whole = np.convolve(samples, kernel)[:5000]
    room = FirFilter(kernel)
    pieces = [room.append(piece) for piece in np.split(samples, [1, 2, 600, 3000, 3000])]
    np.testing.assert_allclose(np.concatenate(pieces), whole, atol=1e-10)


def test_rooms_differ_by_their_randomness_alone() -> None:
    first, second, third = (room_response(0.5, 0.0, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, third)
