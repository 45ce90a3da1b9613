"""What is wrong with a file, mistakes of one kind told together."""

from __future__ import annotations

from dataclasses import dataclass, field

_NUM_LINES = 5


@dataclass(frozen=True, kw_only=True)
class FileProblem:
    """Mistakes of one kind.

    Attributes:
        what: What was expected, what the first one is, and what to do.
        lines: Numbers of the first few lines that have it, counted from 1; none where a line is missing.
        count: In how many places.
    """

    what: str
    lines: tuple[int, ...]
    count: int

    def __str__(self) -> str:
        if not self.lines:
            return self.what
        more = self.count - len(self.lines)
        place = ("line " if self.count == 1 else "lines ") + ", ".join(map(str, self.lines))
        return f"{place}{f' and {more} more' if more else ''}: {self.what}"


@dataclass
class ProblemCounts:
    """Counts mistakes by their kind and keeps the first lines of each."""

    _what: dict[str, str] = field(default_factory=dict)
    _lines: dict[str, list[int]] = field(default_factory=dict)
    _count: dict[str, int] = field(default_factory=dict)

    def add(self, kind: str, line: int, what: str) -> None:
        """Count one.

        Args:
            kind: What others like it have in common.
            line: Its line.
            what: As in `FileProblem`; that of the first one counts.
        """
        if kind not in self._what:
            self._what[kind], self._lines[kind], self._count[kind] = what, [], 0
        if len(self._lines[kind]) < _NUM_LINES:
            self._lines[kind].append(line)
        self._count[kind] += 1

    def found(self) -> list[FileProblem]:
        """All of them, in the order of the first lines."""
        return sorted(
            (
                FileProblem(what=what, lines=tuple(self._lines[kind]), count=self._count[kind])
                for kind, what in self._what.items()
            ),
            key=lambda problem: problem.lines[0],
        )
