"""What is done to one clip, and how its part is named."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

from cache.canonical_json import Json, canonical_json
from cache.parts import ClipKey
from pipeline.degradation.condition import Condition
from pipeline.run.numeric_code import digest_sources

# Every module here whose code decides a value in a row.
_MODULES = (
    "degraded_extraction",
    "degraded_picture",
    "degraded_sound",
    "face_places",
    "fir_filter",
    "noise",
    "random_streams",
    "reverberation",
)


@dataclass(frozen=True, kw_only=True)
class Degradation:
    """A condition, applied to one clip.

    Attributes:
        condition: What is done.
        seed: Of everything random in it.
        stores: Paths of the stores that hold the clip as it is; what the condition does not touch is taken
            from there.
        rows_sha256: Digest of the clip's rows there.
    """

    condition: Condition
    seed: int
    stores: tuple[str, ...]
    rows_sha256: str

    @property
    def facts(self) -> dict[str, Json]:
        """For the record of the clip's part."""
        return {
            **asdict(self.condition),
            "unit": self.condition.unit,
            "seed": self.seed,
            "rows_sha256": self.rows_sha256,
        }

    def key(self, clean: ClipKey) -> ClipKey:
        """Key of the part under the condition.

        Args:
            clean: Key of the clip as it is. Where the stores lie does not count.
        """
        words = canonical_json({**self.facts, "code": _code_digest()})
        return replace(clean, selection=f"{clean.selection}; degraded {words}")


@cache
def _code_digest() -> str:
    here = Path(__file__).parent
    return digest_sources({name: (here / f"{name}.py").read_bytes() for name in _MODULES})
