"""What a check of a store found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cache.canonical_json import Json


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is wrong with a store.

    Attributes:
        what: A sentence without subject: ``has 12 bytes, expected 20``.
        object: Path of the object relative to the store; None for what concerns several.
        array: The array that it belongs to; None for what belongs to none.
        chunk: Number of the chunk within the object.
        rows: First row of the array that is concerned, and the row after the last; along ``clip`` for an
            array of the clip table.
        clip: The first clip that is concerned, where that is known.
    """

    what: str
    object: str | None = None
    array: str | None = None
    chunk: int | None = None
    rows: tuple[int, int] | None = None
    clip: str | None = None

    def __str__(self) -> str:
        where = [
            f"object {self.object}" if self.object is not None else "",
            f"chunk {self.chunk}" if self.chunk is not None else "",
            f"rows {self.rows[0]} to {self.rows[1] - 1}" if self.rows is not None else "",
            f"clip {self.clip!r}" if self.clip is not None else "",
        ]
        named = ", ".join(text for text in where if text)
        about = named or (f"array {self.array}" if self.array is not None else "the store")
        return f"{about}: {self.what}"


@dataclass(frozen=True, kw_only=True)
class StoreReport:
    """What a check of a store found.

    Attributes:
        store: Where it lies.
        deep: Whether every byte was read.
        fingerprint: Of its feature spec; None where the completion record cannot be read.
        digest: Of its bytes, as the completion record tells; None likewise.
        num_clips: Number of clips; 0 likewise.
        num_frames: Number of rows; 0 likewise.
        num_objects: Objects that the completion record lists.
        num_bytes: Their bytes.
        problems: What is wrong; empty for a sound store.
        notes: What could not be checked, and why.
    """

    store: str
    deep: bool
    fingerprint: str | None = None
    digest: str | None = None
    num_clips: int = 0
    num_frames: int = 0
    num_objects: int = 0
    num_bytes: int = 0
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def to_mapping(self) -> dict[str, Json]:
        """Plain values for JSON."""
        plain: dict[str, Json] = {
            "store": self.store,
            "sound": self.is_sound,
            "deep": self.deep,
            "fingerprint": self.fingerprint,
            "digest": self.digest,
            "num_clips": self.num_clips,
            "num_frames": self.num_frames,
            "num_objects": self.num_objects,
            "num_bytes": self.num_bytes,
            "problems": [asdict(problem) for problem in self.problems],
            "notes": list(self.notes),
        }
        return plain


class Findings:
    """Collects problems; names the clips that they concern once the clip table is known.

    Attributes:
        notes: What could not be checked, and why.
    """

    def __init__(self) -> None:
        self.notes: list[str] = []
        self._problems: list[tuple[Problem, str]] = []  # and the dimension that their rows are of
        self._clip_ids: Sequence[str] = ()
        self._row_stop: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self._problems)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What is wrong, in the order in which it was found."""
        return tuple(
            replace(problem, clip=self._first_clip(problem.rows, along)) for problem, along in self._problems
        )

    def set_clips(self, clip_ids: Sequence[str], row_size: NDArray[np.int64] | None) -> None:
        """Tell which rows are whose.

        Args:
            clip_ids: The C clips.
            row_size: ``(C,)``, rows of each; None where that cannot be told.
        """
        self._clip_ids = clip_ids
        self._row_stop = None if row_size is None else np.cumsum(row_size)

    def add(
        self,
        what: str,
        *,
        object: str | None = None,
        array: str | None = None,
        chunk: int | None = None,
        rows: slice | None = None,
        along: str = "frame",
    ) -> None:
        """Note a problem.

        Args:
            what: See `Problem`.
            object: See `Problem`.
            array: See `Problem`.
            chunk: See `Problem`.
            rows: Rows of the array that are concerned.
            along: The dimension that `rows` are of: ``frame``, ``clip`` for the clip table, or another.
        """
        span = None if rows is None else (rows.start, rows.stop)
        self._problems.append((Problem(what=what, object=object, array=array, chunk=chunk, rows=span), along))

    def locate(self, object: str, rows: slice, *, along: str) -> None:
        """Say of the problems of an object that were noted before which rows it held."""
        for index, (problem, _) in enumerate(self._problems):
            if problem.object == object and problem.rows is None:
                self._problems[index] = (replace(problem, rows=(rows.start, rows.stop)), along)

    def _first_clip(self, rows: tuple[int, int] | None, along: str) -> str | None:
        if rows is None or rows[0] >= rows[1]:
            return None
        index = rows[0]
        if along == "frame":
            if self._row_stop is None:
                return None
            index = int(np.searchsorted(self._row_stop, rows[0], side="right"))
        elif along != "clip":
            return None
        return self._clip_ids[index] if index < len(self._clip_ids) else None
