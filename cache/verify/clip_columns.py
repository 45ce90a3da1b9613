"""Whether the table of clips agrees with itself, with the completion record and with the rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cache.clip_table import clip_provenance
from cache.errors import StoreFormatError
from cache.layout import AUDIO_S, CLIP_FACTS, CLIP_ID, FACE_SHARE, MEDIA_SHA256, ROW_SIZE
from cache.record import CompletionRecord
from cache.verify.report import Findings
from cache.verify.row_summaries import RowSummaries


class ClipColumns:
    """The columns of the table of clips, as far as they could be read.

    Args:
        columns: Name of each whole column -> its C values.
        record: What they have to fit.
    """

    def __init__(self, columns: Mapping[str, Sequence[Any]], record: CompletionRecord) -> None:
        self._columns = columns
        self._record = record

    @property
    def clip_ids(self) -> Sequence[str]:
        """The C clips; empty where the column is damaged."""
        return self._columns.get(CLIP_ID, ())

    @property
    def row_size(self) -> NDArray[np.int64] | None:
        """``(C,)`` rows of each clip; None where the column is damaged or does not fit the record."""
        column = self._columns.get(ROW_SIZE)
        if column is None:
            return None
        row_size = np.asarray(column, np.int64)
        fits = row_size.min(initial=0) >= 0 and int(row_size.sum()) == self._record.num_frames
        return row_size if fits else None

    def check(self, findings: Findings) -> None:
        """Note what contradicts itself or the completion record."""
        if ROW_SIZE in self._columns and self.row_size is None:
            total = int(np.asarray(self._columns[ROW_SIZE], np.int64).sum())
            findings.add(
                f"its counts add up to {total} rows, expected {self._record.num_frames} of none below 0",
                array=ROW_SIZE,
            )
        seen: set[str] = set()
        for index, clip in enumerate(self.clip_ids):
            if clip in seen:
                _note(findings, CLIP_ID, index, "the store has another clip of that name")
            seen.add(clip)
        for index, text in enumerate(self._columns.get(CLIP_FACTS, ())):
            self._check_key(findings, index, text)

    def check_summaries(self, findings: Findings, summaries: RowSummaries) -> None:
        """Note clips whose shares and durations are not those of their rows."""
        for name, wanted, known in (
            (FACE_SHARE, summaries.face_share, summaries.face_known),
            (AUDIO_S, summaries.audio_s, summaries.audio_known),
        ):
            if name not in self._columns:
                continue
            found = np.asarray(self._columns[name], np.float64)
            # The table has the correctly rounded sum, which was added up in another order here.
            differs = known & ~np.isclose(found, wanted, rtol=1e-9, atol=1e-9)
            for index in np.flatnonzero(differs):
                _note(findings, name, int(index), f"is {found[index]}, its rows give {wanted[index]}")

    def _check_key(self, findings: Findings, index: int, text: str) -> None:
        try:
            key, _ = clip_provenance(text, f"clip {index}")
        except StoreFormatError as error:
            _note(findings, CLIP_FACTS, index, f"is no provenance of a clip ({error.__cause__})")
            return
        wanted = {
            "clip_id": (key.clip_id, self._value(CLIP_ID, index)),
            "media_sha256": (key.media_sha256, self._value(MEDIA_SHA256, index)),
            "fingerprint": (key.fingerprint, self._record.fingerprint),
        }
        for name, (told, expected) in wanted.items():
            if expected is not None and told != expected:
                _note(findings, CLIP_FACTS, index, f"tells of {name} {told!r}, the store of {expected!r}")

    def _value(self, name: str, index: int) -> Any:
        column = self._columns.get(name)
        return None if column is None else column[index]


def _note(findings: Findings, array: str, index: int, what: str) -> None:
    findings.add(what, array=array, rows=slice(index, index + 1), along="clip")
