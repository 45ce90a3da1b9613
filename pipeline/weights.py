"""What a `weights` setting means: a seed or a checkpoint file, and the digest that stands for it.

Imports no torch, so that a feature spec can be had without it.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import WeightsError

CHECKPOINT_SUFFIXES = (".pth", ".pt", ".safetensors")
# Version of the initialisation and the calibration in `backbones.random_weights`.
RANDOM_SCHEME = "v1"
# torch.Generator takes 64 bits.
LARGEST_SEED = 2**63 - 1

_RANDOM = re.compile(r"random:([0-9]{1,19})")


@dataclass(frozen=True, kw_only=True)
class WeightsSource:
    """Where a backbone's weights come from; exactly one of the two is given.

    Attributes:
        seed: Seed of random weights.
        path: A checkpoint file.
    """

    seed: int | None = None
    path: Path | None = None

    def digest(self) -> str:
        """What stands for the weights in a fingerprint: the file's SHA-256, or the seed and its scheme."""
        if self.path is None:
            return f"random:{self.seed}/{RANDOM_SCHEME}"
        with self.path.open("rb") as file:
            return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def parse_weights(weights: str) -> WeightsSource:
    """Tell a seed from a file.

    Args:
        weights: `random:SEED`, or the path of a `.pth`, `.pt` or `.safetensors` file.

    Raises:
        WeightsError: Neither, or no such file.
    """
    seeded = _RANDOM.fullmatch(weights)
    if seeded is not None and int(seeded[1]) <= LARGEST_SEED:
        return WeightsSource(seed=int(seeded[1]))
    if weights.startswith("random"):
        raise WeightsError(
            f"weights {weights!r}: expected random:SEED with SEED in 0..{LARGEST_SEED}; write for example "
            "'random:0'"
        )
    path = Path(weights)
    suffixes = ", ".join(CHECKPOINT_SUFFIXES)
    if path.suffix not in CHECKPOINT_SUFFIXES:
        raise WeightsError(
            f"weights {weights!r}: expected random:SEED or the path of a checkpoint ({suffixes}); no weights "
            "are registered under that name: download the checkpoint and give its path"
        )
    if not path.is_file():
        raise WeightsError(
            f"weights {weights!r}: no such file (looked for {path.absolute()}); give the path of a "
            f"checkpoint ({suffixes}), or random:SEED to run without one"
        )
    return WeightsSource(path=path)
