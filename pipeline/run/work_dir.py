"""Where work in progress lies: finished parts, what is known of them, and locks.

It is no output of a DVC stage, because DVC deletes a stage's outputs before it runs the stage; and it is one
absolute place, so that an experiment in a temporary checkout finds what another left.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cache.atomic_file import make_directory
from cache.parts import ClipKey, PartStore
from cache.user_folders import default_work_dir
from pipeline.run.code_provenance import CodeEquivalences
from pipeline.run.media_digests import MediaDigests
from pipeline.run.parts_in_use import PartsInUse
from pipeline.run.running_clips import RunningClips, remove_leftovers
from pipeline.run.track_list import TrackList


class WorkDir:
    """A work directory; any number of runs may use it at once.

    Args:
        path: Created as needed; None for the default one.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = default_work_dir() if path is None else Path(path).absolute()
        self.parts = PartStore(self.path / "parts")
        self.tracks = TrackList(self.parts)
        self.parts_in_use = PartsInUse(self.path / "locks")
        self.equivalences = CodeEquivalences(self.path / "code_equivalences.json")

    def media_digests(self) -> MediaDigests:
        """Digests of the media that earlier runs have read."""
        return MediaDigests(self.path / "media_digests.txt")

    def part_keys(self, key: ClipKey, *, gives_tracks: bool) -> tuple[ClipKey, ...] | None:
        """Keys of a finished clip's parts: its own, or one per track; None where it is not finished.

        Args:
            key: Of the whole clip.
            gives_tracks: Whether every track of a face in it is a clip of its own; there may be none.
        """
        if not gives_tracks:
            return (key,) if key in self.parts else None
        found = self.tracks.read(key)
        return None if found is None else found[1]

    @contextmanager
    def running(self) -> Iterator[RunningClips]:
        """What the workers of one run are at; gone when the block ends."""
        runs = self.path / "running"
        remove_leftovers(runs)
        clips = RunningClips(runs / secrets.token_hex(8))
        try:
            yield clips
        finally:
            clips.clear()

    @contextmanager
    def packing(self, store: Path) -> Iterator[None]:
        """Wait until no other run of this work directory packs that store.

        The lock of a dead run is freed by the system.
        """
        locks = self.path / "locks"
        make_directory(locks)
        name = hashlib.sha256(os.fsencode(store.absolute())).hexdigest()[:16]
        with (locks / f"pack-{name}.lock").open("wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
