"""Lists of tracks, made again from the keys of their parts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from cache.canonical_json import Json
from cache.parts import ClipKey
from pipeline.run.track_list import TrackList, track_key

_TRACK = re.compile(r"(?P<whole>.*)_track(?P<number>[1-9][0-9]*)", re.DOTALL)


def restore_track_lists(tracks: TrackList, parts: Iterable[tuple[ClipKey, Mapping[str, Json]]]) -> None:
    """Say of clips whose tracks are all there that they are; a list that is there stays.

    A store has either all tracks of a clip or none, so the highest number tells how many there are. A clip
    without any track left nothing in the store, and is looked through again.

    Args:
        tracks: The lists.
        parts: Keys and facts of the parts of one store.

    Raises:
        StorageError: The disk is full or not writable.
    """
    found: dict[ClipKey, dict[int, str]] = {}
    for key, facts in parts:
        named = _TRACK.fullmatch(key.clip_id)
        if named is None:
            continue
        number = int(named["number"])
        selection = key.selection.removesuffix(f"; track {number}")
        whole = replace(key, clip_id=named["whole"], selection=selection)
        if named["whole"] and track_key(whole, number) == key:
            found.setdefault(whole, {})[number] = str(facts.get("code_digest"))
    for whole, digests in found.items():
        is_all = sorted(digests) == list(range(1, len(digests) + 1))
        if is_all and len({*digests.values()}) == 1 and tracks.read(whole) is None:
            tracks.write(whole, digests[1], len(digests))
