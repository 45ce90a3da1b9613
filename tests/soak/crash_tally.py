"""What the crash campaign counts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(kw_only=True)
class Tally:
    """What is known of the campaign so far.

    Attributes:
        killed: Kills, by when and what.
        found: Stores found after the kills: previous, new, none.
        calls: Kills at writes, by system call.
        num_torn: Of those, with the first half of the write done.
        num_parts_seen: Finished parts found after the kills, each compared.
        num_leftovers: Files found after the kills that no run would miss.
        num_too_late: Runs that ended before they were to be killed; not counted elsewhere.
        problems: What must not be, one line each.
    """

    killed: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)
    num_torn: int = 0
    num_parts_seen: int = 0
    num_leftovers: int = 0
    num_too_late: int = 0
    problems: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Count what another one counted."""
        for name in ("killed", "found", "calls"):
            getattr(self, name).update(getattr(other, name))
        for name in ("num_torn", "num_parts_seen", "num_leftovers", "num_too_late"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.problems += other.problems
