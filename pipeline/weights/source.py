"""What a `weights` setting means: a seed or a checkpoint file, and the digest that stands for it.

Imports no torch, so that a feature spec can be had without it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from cache.file_digest import file_digest
from pipeline.errors import WeightsError
from pipeline.weights.registry import (
    REGISTRY,
    RegisteredWeights,
    how_to_get,
    verify_file,
    weights_path,
)

CHECKPOINT_SUFFIXES = (".pth", ".pt", ".safetensors")
# Version of the initialisation and the calibration in `backbones.random_weights`.
RANDOM_SCHEME = "v1"
# torch.Generator takes 64 bits.
LARGEST_SEED = 2**63 - 1

_RANDOM = re.compile(r"random:([0-9]{1,19})")


@dataclass(frozen=True, kw_only=True)
class WeightsSource:
    """Where a backbone's weights come from: a seed, or a file.

    Attributes:
        seed: Seed of random weights.
        path: A checkpoint file.
        registered: What is published about that file, if it was asked for by a registered name.
    """

    seed: int | None = None
    path: Path | None = None
    registered: RegisteredWeights | None = None

    def digest(self) -> str:
        """What stands for the weights in a fingerprint: the file's SHA-256, or the seed and its scheme."""
        if self.path is None:
            return f"random:{self.seed}/{RANDOM_SCHEME}"
        return f"sha256:{file_digest(self.path)}"

    def verify(self) -> None:
        """Hold a registered file against what is published about it.

        Raises:
            WeightsError: Its size or its digest is another one.
        """
        if self.registered is not None and self.path is not None:
            verify_file(self.registered, self.path)


def parse_weights(weights: str) -> WeightsSource:
    """Tell a seed from a file.

    Args:
        weights: `random:SEED`, a registered name, or the path of a `.pth`, `.pt` or `.safetensors` file.

    Raises:
        WeightsError: None of them, or no such file.
    """
    seeded = _RANDOM.fullmatch(weights)
    if seeded is not None and int(seeded[1]) <= LARGEST_SEED:
        return WeightsSource(seed=int(seeded[1]))
    if weights.startswith("random"):
        raise WeightsError(
            f"weights {weights!r}: expected random:SEED with SEED in 0..{LARGEST_SEED}; write for example "
            "'random:0'"
        )
    if (registered := REGISTRY.get(weights)) is not None:
        path = weights_path(registered)
        if not path.is_file():
            raise WeightsError(f"weights {weights!r}: not at hand; {how_to_get(registered)}")
        return WeightsSource(path=path, registered=registered)
    path = Path(weights)
    suffixes = ", ".join(CHECKPOINT_SUFFIXES)
    if path.suffix not in CHECKPOINT_SUFFIXES:
        raise WeightsError(
            f"weights {weights!r}: expected random:SEED, the path of a checkpoint ({suffixes}), or one of "
            f"{', '.join(REGISTRY)} ('tagf weights list')"
        )
    if not path.is_file():
        raise WeightsError(
            f"weights {weights!r}: no such file (looked for {path.absolute()}); give the path of a "
            f"checkpoint ({suffixes}), or random:SEED to run without one"
        )
    return WeightsSource(path=path)
