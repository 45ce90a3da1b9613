"""What the workers of a run are at, in a folder that all of them and the run share.

A worker that dies cannot say which clip it was at. So each makes a file when it begins a clip and removes it
when it ends, whatever came of the clip:

    begin       file with one more line "begun"
    frames      a line with the number of frames so far, now and then
    end         no file

A file that is still there when its worker is not tells which clip was in its hands, and how often.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from cache.atomic_file import make_directory

_BEGUN = b"begun\n"


class RunningClips:
    """The clips that workers have begun and not ended.

    Args:
        directory: Created with the first clip.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def begin(self, digest: str) -> int:
        """Note that a clip is begun.

        Args:
            digest: Of the clip's key.

        Returns:
            How often it had been begun before by workers that did not live to end it.
        """
        path = self.directory / digest
        try:
            earlier = path.read_bytes().count(_BEGUN)
        except FileNotFoundError:
            make_directory(self.directory)
            earlier = 0
        self._append(path, _BEGUN)
        return earlier

    def note_frames(self, digest: str, num_frames: int) -> None:
        """Note how many frames of a clip are done."""
        self._append(self.directory / digest, b"%d\n" % num_frames)

    def end(self, digest: str) -> None:
        """Note that nothing more is done about a clip."""
        (self.directory / digest).unlink(missing_ok=True)

    def frames(self) -> Mapping[str, int]:
        """Frames done of each clip that is being worked on, by digest."""
        done = {}
        for path in self._paths():
            try:
                lines = path.read_bytes().split()
            except FileNotFoundError:
                continue
            done[path.name] = int(lines[-1]) if lines and lines[-1].isdigit() else 0
        return done

    def digests(self) -> frozenset[str]:
        """The clips that were begun and not ended."""
        return frozenset(path.name for path in self._paths())

    def clear(self) -> None:
        """Forget all."""
        for path in self._paths():
            path.unlink(missing_ok=True)
        if self.directory.is_dir():
            self.directory.rmdir()

    def _paths(self) -> list[Path]:
        return list(self.directory.iterdir()) if self.directory.is_dir() else []

    @staticmethod
    def _append(path: Path, line: bytes) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, line)
        finally:
            os.close(descriptor)
