"""Whether parts that other code made are still what the present code would make.

Parts remember the digest of the code that made them. Where it is not the present one, a few clips are
extracted again and compared: a refactoring costs seconds, and a changed formula never trains on stale rows.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cache.atomic_file import make_directory, replacement_of
from cache.canonical_json import Json
from pipeline.run.clip_task import ClipTask

NUM_CHECKED_CLIPS = 3
_SEED = 0


class CodeEquivalences:
    """Pairs of code digests known to give equal rows under a fingerprint, kept in one JSON file.

    Losing the file, or what another process adds at the same moment, costs another check and nothing else.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def __contains__(self, pair: tuple[str, str, str]) -> bool:
        return pair in self._read()

    def add(self, fingerprint: str, old: str, new: str) -> None:
        """Remember that two versions of the code give equal rows under a fingerprint."""
        pairs = sorted(self._read() | {(fingerprint, old, new)})
        make_directory(self._path.parent.absolute())
        with replacement_of(self._path) as file:
            file.write(json.dumps({"fingerprint_old_new": pairs}, indent=1).encode())

    def _read(self) -> set[tuple[str, str, str]]:
        with suppress(OSError, ValueError, KeyError, TypeError):
            return {
                (str(fingerprint), str(old), str(new))
                for fingerprint, old, new in json.loads(self._path.read_bytes())["fingerprint_old_new"]
            }
        return set()


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What is to become of the parts of one other version of the code.

    Attributes:
        tasks: The clips whose parts are to be discarded and extracted again; empty where the parts stay.
        note: One line that says why.
    """

    tasks: tuple[ClipTask, ...]
    note: str


def judge_parts(
    finished: Sequence[tuple[ClipTask, Mapping[str, Json]]],
    equivalences: CodeEquivalences,
    code_digest: str,
    compare: Callable[[Sequence[ClipTask]], Sequence[str | None]],
) -> list[Verdict]:
    """One verdict for each other version of the code among finished parts; those known to be equal need none.

    Args:
        finished: Clips that have a part, with the part's facts.
        equivalences: What earlier checks found.
        code_digest: Of the present code.
        compare: Extracts clips again and says where each differs from its part, None where it does not.
    """
    by_digest: dict[str, list[tuple[ClipTask, Mapping[str, Json]]]] = defaultdict(list)
    for task, facts in finished:
        digest = str(facts.get("code_digest"))
        if digest != code_digest and (task.key.fingerprint, digest, code_digest) not in equivalences:
            by_digest[digest].append((task, facts))
    verdicts = []
    for digest, parts in sorted(by_digest.items()):
        checked = choose_clips(parts)
        differences = [
            f"clip {task.source.clip_id!r}: {difference}"
            for task, difference in zip(checked, compare(checked), strict=True)
            if difference is not None
        ]
        about = f"numeric code {digest[:8]} made {_count(len(parts))}, now it is {code_digest[:8]}"
        if differences:
            found = f"{len(differences)} of {len(checked)} extracted again differ ({differences[0]})"
            verdicts.append(
                Verdict(
                    tasks=tuple(task for task, _ in parts), note=f"{about}: {found}; all are extracted again"
                )
            )
        else:
            equivalences.add(parts[0][0].key.fingerprint, digest, code_digest)
            verdicts.append(
                Verdict(tasks=(), note=f"{about}: {len(checked)} extracted again are equal; all are kept")
            )
    return verdicts


def choose_clips(parts: Sequence[tuple[ClipTask, Mapping[str, Json]]]) -> list[ClipTask]:
    """Up to three clips that show the most: with faces and sound before those without, of differing media.

    The choice among equals is random, by a fixed seed and the clips' ids: always the same for the same parts.
    """
    waiting = sorted(
        parts, key=lambda part: hashlib.sha256(f"{_SEED} {part[0].key.clip_id}".encode()).digest()
    )
    chosen: list[ClipTask] = []
    seen: set[str] = set()
    while waiting and len(chosen) < NUM_CHECKED_CLIPS:
        # Python's sort keeps the random order among equals.
        waiting.sort(key=lambda part: (_kind(part[1]) in seen, -_num_streams_shown(part[1])))
        task, facts = waiting.pop(0)
        chosen.append(task)
        seen.add(_kind(facts))
    return chosen


def _kind(facts: Mapping[str, Json]) -> str:
    """Clips of one kind are likely to go the same way through the code."""
    return json.dumps([facts.get("media"), _num_streams_shown(facts)], sort_keys=True)


def _num_streams_shown(facts: Mapping[str, Json]) -> int:
    """How many of the backbones left a trace in the part."""
    return bool(facts.get("num_face_frames")) + bool(facts.get("num_audio_frames"))


def _count(num_parts: int) -> str:
    return "1 finished clip" if num_parts == 1 else f"{num_parts} finished clips"
