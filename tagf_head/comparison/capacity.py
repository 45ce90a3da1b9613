"""How many trials a machine can run at once, by cores and memory."""

from __future__ import annotations

import torch
from joblib import cpu_count

from cache import FeatureStore
from cache.features import VISUAL_STREAM
from cache.rows import AUDIO_STREAM
from tagf_head.data.free_memory import free_bytes

# Interpreter and libraries take 0.6 GB; a narrow head's step little beside them.
_BYTES_PER_PROCESS = 1_500_000_000
# CUDA's context takes 0.5 GB; a step of the paper's heads up to 2 GB.
_BYTES_PER_GPU_PROCESS = 3_000_000_000
# Of what is free when the comparison begins; for steps take more than is foreseen here.
_SHARE = 0.8
_FLOAT16_BYTES = 2


def rows_bytes(store: FeatureStore) -> int:
    """Memory that the rows of a store take where they are held at once."""
    visual, audio = (store.spec.stream(name) for name in (VISUAL_STREAM, AUDIO_STREAM))
    values_per_row = len(visual.views or ()) * visual.num_features + audio.num_features
    return store.num_frames * _FLOAT16_BYTES * values_per_row


def fitting_jobs(device: torch.device, num_row_bytes: int) -> int:
    """Number of trials at once, at least 1: one per core at most, as far as the device's memory goes.

    On a CPU rows may stay in the store's files, which all processes share; on a GPU each holds its own.

    Args:
        device: Where heads are trained.
        num_row_bytes: See `rows_bytes`.
    """
    needed = _BYTES_PER_PROCESS if device.type == "cpu" else _BYTES_PER_GPU_PROCESS + num_row_bytes
    num_cores: int = cpu_count()
    return max(1, min(num_cores, int(_SHARE * free_bytes(device)) // needed))


def rows_memory_gb(device: torch.device, num_row_bytes: int, num_jobs: int) -> float | None:
    """0 where the rows of all trials together do not fit, so that each leaves them in the store's files.

    None where they do: each trial then goes by what is free. Otherwise each would reckon with all of it.
    """
    if device.type == "cpu" and num_jobs * num_row_bytes > _SHARE / 2 * free_bytes(device):
        return 0.0
    return None
