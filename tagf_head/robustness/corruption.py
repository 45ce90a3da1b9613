"""A corrupted copy of the rows for each condition on the features.

What is random of a condition in a clip rests on the seed, the clip's id and the modality: not on the other
clips, the windows or the device. Noise of different levels is the same noise scaled. Bursts lie elsewhere at
every level, since their number does.

Shapes: N rows, D features of a stream.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cache.features import VISUAL_STREAM
from cache.rows import AUDIO_STREAM
from tagf_head.data.device_rows import DeviceRows
from tagf_head.data.split_data import SplitData
from tagf_head.robustness.audio_shift import NO_ROW, frame_duration_s, shifted_rows
from tagf_head.robustness.bursts import burst_mask
from tagf_head.robustness.conditions import Condition
from tagf_head.robustness.config import RobustnessConfig


def corrupted_rows(
    clean: DeviceRows, data: SplitData, condition: Condition, config: RobustnessConfig
) -> DeviceRows:
    """The rows under a condition on the features.

    A condition on both modalities does to each what it does to it alone, so both noises are independent, and
    so are the places of the bursts.

    Args:
        clean: The rows, of one view.
        data: Their clips and times.
        condition: One of `feature_conditions`.
        config: Seed and length of the bursts.
    """
    if condition.family == "shift":
        return replace(clean, audio=_shifted(clean.audio, data, condition.level))
    corrupt = _noisy if condition.family == "noise" else _dropped
    visual, audio = clean.visual, clean.audio
    if condition.modality in (VISUAL_STREAM, "both"):
        visual = corrupt(visual[0], data, VISUAL_STREAM, condition.level, config)[None]
    if condition.modality in (AUDIO_STREAM, "both"):
        audio = corrupt(audio, data, AUDIO_STREAM, condition.level, config)
    return replace(clean, visual=visual, audio=audio)


def _shifted(rows: Tensor, data: SplitData, shift_s: float) -> Tensor:
    """Rows ``(N + 1, D)`` of the frames that many seconds earlier; the row behind all rows is zero."""
    empty_row = len(rows) - 1
    index = np.full(len(rows), empty_row)
    for clip in _clips(data):
        found = shifted_rows(data.time_s[clip], shift_s)
        index[clip] = np.where(found == NO_ROW, empty_row, found + clip.start)
    return rows.index_select(0, torch.from_numpy(index).to(rows.device))


def _noisy(rows: Tensor, data: SplitData, stream: str, snr_db: float, config: RobustnessConfig) -> Tensor:
    """Rows ``(N + 1, D)`` in float32 with Gaussian noise; rows of zeros stay.

    The noise's expected energy is that of its row by the ratio: E|n|^2 = |x|^2 / 10^(snr_db / 10).
    """
    noisy = rows.to(torch.float32, copy=True)
    for clip_id, clip in zip(data.clip_ids, _clips(data), strict=True):
        generator = _generator(config.seed, clip_id, stream, "noise")
        shape = (clip.stop - clip.start, rows.shape[1])
        unit = torch.from_numpy(generator.standard_normal(shape, np.float32)).to(rows.device)
        of_clip = noisy[clip]
        deviation = of_clip.square().mean(dim=1, keepdim=True).sqrt() * 10 ** (-snr_db / 20)
        of_clip += deviation * unit
    return noisy


def _dropped(rows: Tensor, data: SplitData, stream: str, percent: float, config: RobustnessConfig) -> Tensor:
    """Rows ``(N + 1, D)``, zero in bursts."""
    away = torch.from_numpy(away_rows(data, stream, percent, config)).to(rows.device)
    dropped = rows.clone()
    dropped[:-1].masked_fill_(away[:, None], 0)
    return dropped


def away_rows(data: SplitData, stream: str, percent: float, config: RobustnessConfig) -> NDArray[np.bool_]:
    """``(N,)``, true where a modality is away: in each clip the share that is asked for, to half a row."""
    away = np.zeros(len(data.time_s), np.bool_)
    for clip_id, clip in zip(data.clip_ids, _clips(data), strict=True):
        generator = _generator(config.seed, clip_id, stream, "drop")
        duration_s = frame_duration_s(data.time_s[clip])
        burst_rows = max(1, round(config.burst_s / duration_s)) if duration_s > 0 else 1
        away[clip] = burst_mask(clip.stop - clip.start, percent / 100, burst_rows, generator)
    return away


def _clips(data: SplitData) -> Iterator[slice]:
    """The rows of each clip."""
    start = 0
    for size in data.row_size.tolist():
        yield slice(start, start + size)
        start += size


def _generator(seed: int, *what: str) -> np.random.Generator:
    digest = hashlib.sha256("\n".join(what).encode()).digest()
    return np.random.default_rng([seed, int.from_bytes(digest[:8], "big")])
