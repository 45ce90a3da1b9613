"""Which clips a media file gave where every track of a face is a clip of its own (`subject: all`).

How many there are is known only when the file has been looked through. Each track's rows are a part; when all
of them are committed, a small file named by the whole clip's key says how many.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from cache.atomic_file import make_directory, replacement_of
from cache.errors import StorageError
from cache.parts import ClipKey, PartStore


class TrackList:
    """The lists of tracks beside a directory of parts.

    Args:
        parts: The parts.
    """

    def __init__(self, parts: PartStore) -> None:
        self._parts = parts

    def write(self, key: ClipKey, code_digest: str, num_tracks: int) -> None:
        """Say that all tracks of a clip are committed.

        Args:
            key: Of the whole clip.
            code_digest: Of the code that found them.
            num_tracks: How many there are; none where no face stays long enough.

        Raises:
            StorageError: The disk is full or not writable.
        """
        path = self._path(key)
        try:
            make_directory(path.parent)  # where no face stays, no part has made it
            with replacement_of(path, tidy=False) as file:
                file.write(json.dumps({"code_digest": code_digest, "num_tracks": num_tracks}).encode())
        except OSError as error:
            raise StorageError(
                f"cannot write the list of tracks of clip {key.clip_id!r} to {path}: "
                f"{error.strerror or error}; free space there or choose another work directory"
            ) from error

    def read(self, key: ClipKey) -> tuple[str, tuple[ClipKey, ...]] | None:
        """Digest of the code that found a clip's tracks, and the keys of their parts.

        None where the list or one of the parts is missing or damaged: then all are made again.
        """
        try:
            found = json.loads(self._path(key).read_bytes())
            digest = str(found["code_digest"])
            keys = tuple(track_key(key, number) for number in range(1, int(found["num_tracks"]) + 1))
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return (digest, keys) if all(each in self._parts for each in keys) else None

    def discard(self, key: ClipKey) -> None:
        """Remove a clip's list, and with it the use of its parts."""
        self._path(key).unlink(missing_ok=True)

    def _path(self, key: ClipKey) -> Path:
        return self._parts.path(key).with_suffix(".tracks.json")


def track_clip_id(clip_id: str, number: int) -> str:
    """Name of the clip that a track is; tracks are counted from 1."""
    return f"{clip_id}_track{number}"


def track_key(key: ClipKey, number: int) -> ClipKey:
    """Key of one track's part.

    Args:
        key: Of the whole clip.
        number: Of the track, from 1.
    """
    clip_id = track_clip_id(key.clip_id, number)
    return replace(key, clip_id=clip_id, selection=f"{key.selection}; track {number}")
