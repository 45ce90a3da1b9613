"""Settings of a comparison: the section `compare` of params.yaml."""

from __future__ import annotations

from dataclasses import dataclass

ALL_HEADS = "all"


@dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """Which heads are compared, and how often each is trained.

    Attributes:
        heads: Heads as `parse_entries` takes them; `all` are those of the registry.
        seeds: A run of each head is trained with each of them.
        reference: The head to which the others are compared; by default `concat` where it takes part.
        folds: Whether each run is a cross-validation, by the number of folds in the section `evaluate`.
    """

    heads: tuple[str, ...] = (ALL_HEADS,)
    seeds: tuple[int, ...] = (0, 1, 2)
    reference: str | None = None
    folds: bool = False

    def __post_init__(self) -> None:
        if not self.heads:
            raise ValueError(f"heads must name at least one head, or {ALL_HEADS!r}, got none")
        if not self.seeds:
            raise ValueError("seeds must list at least one seed, got none")
        if min(self.seeds) < 0:
            raise ValueError(f"seeds must not be negative, got {min(self.seeds)}")
        if len({*self.seeds}) < len(self.seeds):
            raise ValueError(f"seeds must differ, got {list(self.seeds)}")
