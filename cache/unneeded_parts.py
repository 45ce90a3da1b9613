"""Which finished clips of a work directory could go: their rows are in a store, or in none that is kept."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cache.canonical_json import Json, canonical_json
from cache.clip_table import clip_provenance
from cache.errors import (
    CacheError,
    CorruptFeatureError,
    IncompleteStoreError,
    SettingsError,
    StorageError,
    UnknownClipError,
)
from cache.layout import CLIP_FACTS
from cache.packed_store import PackedStore
from cache.parts import ClipKey, PartStore
from cache.spec import FINGERPRINT_LENGTH
from cache.verify import verify_store

_DAY_S = 24 * 3600.0
_FOLDER = re.compile(rf"[0-9a-f]{{{FINGERPRINT_LENGTH}}}")
_FILE = re.compile(r"[0-9a-f]{64}\.npz")


@dataclass(frozen=True, kw_only=True)
class PartFile:
    """A part, as its file shows it.

    Attributes:
        path: The file.
        fingerprint: Of the spec that it was extracted with.
        key_digest: `ClipKey.digest` of its key.
        num_bytes: Its size.
        modified_s: When it was written, in seconds since 1970.
    """

    path: Path
    fingerprint: str
    key_digest: str
    num_bytes: int
    modified_s: float


@dataclass(frozen=True, kw_only=True)
class PruneRules:
    """Which parts may go: those to which every rule that is given applies.

    Attributes:
        keep_used_by: Stores; a part from which one of them was packed stays, and others may go.
        packed_in: Stores; only parts whose rows one of them holds go, after a deep check of the store.
        older_than_days: Only parts that were written more than so many days ago go.
    """

    keep_used_by: Sequence[Path | str] = ()
    packed_in: Sequence[Path | str] = ()
    older_than_days: float | None = None

    def __post_init__(self) -> None:
        if not self.keep_used_by and not self.packed_in and self.older_than_days is None:
            raise SettingsError(
                "no rule says which parts may go; give --keep-used-by STORE, --packed-in STORE or "
                "--older-than DAYS"
            )
        if self.older_than_days is not None and not 0 <= self.older_than_days < float("inf"):
            raise SettingsError(f"--older-than must be 0 days or more, got {self.older_than_days}")


def list_parts(parts: PartStore) -> list[PartFile]:
    """Every part of a work directory, by fingerprint and name; other files are no parts."""
    found = []
    for path in sorted(parts.directory.glob("*/*.npz")):
        if _FOLDER.fullmatch(path.parent.name) and _FILE.fullmatch(path.name):
            try:
                facts = path.stat()
            except FileNotFoundError:  # gone meanwhile
                continue
            found.append(
                PartFile(
                    path=path,
                    fingerprint=path.parent.name,
                    key_digest=path.stem,
                    num_bytes=facts.st_size,
                    modified_s=facts.st_mtime,
                )
            )
    return found


def unneeded_parts(
    parts: PartStore,
    rules: PruneRules,
    *,
    progress: Callable[[int], object] | None = None,
) -> list[PartFile]:
    """The parts that may go.

    Args:
        parts: The work directory.
        rules: Which may go.
        progress: Called with numbers of bytes of the stores of `PruneRules.packed_in` that were checked.

    Raises:
        CacheError: A store cannot be read, or one of `PruneRules.packed_in` is not sound.
    """
    chosen = list_parts(parts)
    if rules.keep_used_by:
        used = {key.digest for store in rules.keep_used_by for key, _ in _provenance(PackedStore.open(store))}
        chosen = [part for part in chosen if part.key_digest not in used]
    if rules.older_than_days is not None:
        newest = time.time() - rules.older_than_days * _DAY_S
        chosen = [part for part in chosen if part.modified_s <= newest]
    if rules.packed_in:
        held: dict[str, list[tuple[ClipKey, Mapping[str, Json]]]] = {}
        for store in rules.packed_in:
            for key, facts in _provenance(_verified(store, progress)):
                held.setdefault(key.digest, []).append((key, facts))
        chosen = [part for part in chosen if _is_held(parts, held.get(part.key_digest, ()))]
    return chosen


def _is_held(parts: PartStore, packed: Sequence[tuple[ClipKey, Mapping[str, Json]]]) -> bool:
    """Whether a store has this very part: one that was extracted again since has other facts."""
    for key, facts in packed:
        try:
            if canonical_json(parts.facts(key)) == canonical_json(facts):
                return True
        except (CorruptFeatureError, UnknownClipError):
            return False
    return False


def remove_parts(chosen: Sequence[PartFile]) -> list[PartFile]:
    """Remove parts, but for those that were written again since they were chosen.

    Returns:
        Those that were removed.

    Raises:
        StorageError: The folder is not ours to write.
    """
    removed: list[PartFile] = []
    for part in chosen:
        try:
            if part.path.stat().st_mtime != part.modified_s:
                continue
            part.path.unlink()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise StorageError(
                f"cannot remove {part.path}: {error.strerror or error}; {len(removed)} parts were removed "
                "before"
            ) from error
        removed.append(part)
    return removed


def _provenance(store: PackedStore) -> list[tuple[ClipKey, Mapping[str, Json]]]:
    """What each clip of a store was packed from."""
    return [
        clip_provenance(text, f"{store.name}: clip {clip!r}")
        for clip, text in zip(store.clip_ids, store.column(CLIP_FACTS), strict=True)
    ]


def _verified(store: Path | str, progress: Callable[[int], object] | None) -> PackedStore:
    """A store, after a look at every byte: what is removed cannot be had again from elsewhere."""
    opened = PackedStore.open(store)
    report = verify_store(store, deep=True, progress=progress)
    if not report.is_sound:
        raise CacheError(
            f"{report.store} is not sound ({report.problems[0]}), so no part may go that it was packed from; "
            f"'tagf cache verify --deep {report.store}' tells more"
        )
    if report.digest != opened.digest:
        raise IncompleteStoreError(f"{report.store} was replaced while it was checked; run again")
    return opened
