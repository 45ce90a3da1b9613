"""Random numbers that depend on the seed, the clip and their purpose, and on nothing else."""

from __future__ import annotations

import hashlib

import numpy as np


def random_stream(seed: int, clip_id: str, purpose: str, number: int = 0) -> np.random.Generator:
    """A generator of its own for one purpose within one clip.

    The level of a condition is no part of it: the same noise, louder, and curves over levels are smooth.

    Args:
        seed: Of the study, not negative.
        clip_id: The clip.
        purpose: What the numbers are for.
        number: Which of several, for example a frame.
    """
    digest = hashlib.sha256(f"{purpose}\n{clip_id}".encode()).digest()
    words = [int.from_bytes(digest[start : start + 4], "little") for start in range(0, 16, 4)]
    return np.random.default_rng([seed, number, *words])
