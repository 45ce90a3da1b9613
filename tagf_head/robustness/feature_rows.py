"""The rows that a measurement disturbs: those of the center view, held in memory.

A corrupted copy is made of the rows, not of the windows: windows that overlap see the same disturbance.

Letters in shapes: N rows.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from cache import FeatureStore
from cache.features import VISUAL_STREAM
from cache.rows import AUDIO_STREAM
from tagf_head.data.device_rows import DeviceRows, read_device_rows
from tagf_head.data.free_memory import free_bytes
from tagf_head.data.split_data import SplitData, open_features
from tagf_head.errors import HeadError

# The rows in float16, as stored, and a corrupted copy in float32.
_BYTES_PER_FEATURE = 2 + 4
_TIME_TOLERANCE_S = 1e-6
# Compared at a time: small beside the rows.
_BLOCK_ROWS = 2**16


def read_clean_rows(store: FeatureStore, data: SplitData) -> DeviceRows:
    """The rows of the view that evaluation reads, on the device of the labels.

    Args:
        store: The store of `data`.
        data: Clips whose rows may lie anywhere.

    Raises:
        HeadError: They take more memory than the device has left.
        CacheError: They cannot be read.
    """
    label = data.rows.label
    num_features = sum(store.spec.stream(name).num_features for name in (VISUAL_STREAM, AUDIO_STREAM))
    needed, free = len(label) * num_features * _BYTES_PER_FEATURE, free_bytes(label.device)
    if needed > free:
        raise HeadError(
            f"{store.where}: the {len(label) - 1} rows of {data.name!r} and a corrupted copy take "
            f"{needed / 1e9:.1f} GB, {label.device} has {free / 1e9:.1f} GB left; give --device cpu, or make "
            "room"
        )
    return read_device_rows(
        store,
        data.clip_ids,
        row_size=data.row_size,
        label=label,
        label_mask=data.rows.label_mask,
        center_view=0,
        views=(data.rows.center_view,),
    )


def read_degraded_rows(path: Path, store: FeatureStore, data: SplitData) -> DeviceRows:
    """Rows of the same clips from a store that was extracted from degraded media.

    Args:
        path: That store.
        store: The store of `data`, made of the media as they are.
        data: The clips.

    Raises:
        HeadError: A clip is missing or has other frames than in `store`.
        CacheError: The store cannot be used, or its features are others.
    """
    degraded = open_features(path)
    degraded.require_spec(store.spec, where=store.where)
    missing = [clip_id for clip_id in data.clip_ids if clip_id not in degraded]
    if missing:
        raise HeadError(
            f"{path} lacks {len(missing)} of the {len(data.clip_ids)} clips of {data.name!r}: "
            f"{missing[0]!r}; extract the degraded media again"
        )
    known = degraded.load(data.clip_ids, ())
    same_frames = np.array_equal(known.row_size, data.row_size) and np.allclose(
        known.time_s, data.time_s, rtol=0, atol=_TIME_TOLERANCE_S
    )
    if not same_frames:
        raise HeadError(
            f"{path}: its clips have other frames than those of {store.where} ({len(known.time_s)} and "
            f"{len(data.time_s)}, or at other times); extract the degraded media again"
        )
    return read_clean_rows(degraded, data)


def present_shares(rows: DeviceRows) -> dict[str, float]:
    """Stream -> share of the frames whose row is not zero: with a face found, or with sound."""
    return {
        stream: float(values[:-1].any(dim=1).float().mean())
        for stream, values in ((VISUAL_STREAM, rows.visual[0]), (AUDIO_STREAM, rows.audio))
    }


def altered_rows(clean: DeviceRows, corrupted: DeviceRows) -> NDArray[np.bool_]:
    """``(N,)``, true for rows in which any feature differs."""
    altered = torch.zeros(clean.num_rows, dtype=torch.bool, device=clean.audio.device)
    for before, after in ((clean.visual[0], corrupted.visual[0]), (clean.audio, corrupted.audio)):
        if after is not before:
            for start in range(0, clean.num_rows, _BLOCK_ROWS):
                rows = slice(start, min(start + _BLOCK_ROWS, clean.num_rows))
                altered[rows] |= (before[rows] != after[rows]).any(dim=1)
    return altered.cpu().numpy()
