"""What the workers of a run are at, in a folder that all of them and the run share.

A worker that dies cannot say which clip it was at. So each makes a file when it begins a clip and removes it
when it ends, whatever came of the clip:

    begin       file with one more line "begun"
    frames      a line with the number of frames so far, now and then
    end         no file

A file that is still there when its worker is not tells which clip was in its hands, and how often. Beside the
files lie the clips' scratch folders. A killed run leaves its folder; later runs remove it when nobody has
touched it for a day.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from cache.atomic_file import make_directory

SCRATCH_PREFIX = "scratch-"
_BEGUN = b"begun\n"
# As for other leftovers: whether another machine's run still lives cannot be told but by age.
_LEFTOVER_AGE_S = 24 * 3600.0


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
        shutil.rmtree(self.directory, ignore_errors=True)

    def _paths(self) -> list[Path]:
        """The clips' files."""
        if not self.directory.is_dir():
            return []
        return [path for path in self.directory.iterdir() if not path.name.startswith(SCRATCH_PREFIX)]

    @staticmethod
    def _append(path: Path, line: bytes) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, line)
        finally:
            os.close(descriptor)


def remove_leftovers(directory: Path) -> None:
    """Remove what killed runs have left, over a day ago.

    Args:
        directory: Holds the folders of all runs.
    """
    oldest = time.time() - _LEFTOVER_AGE_S
    for run in directory.iterdir() if directory.is_dir() else ():
        with suppress(OSError):  # its run, or another one, may be removing it
            if max(path.stat().st_mtime for path in (run, *run.rglob("*"))) < oldest:
                shutil.rmtree(run, ignore_errors=True)
