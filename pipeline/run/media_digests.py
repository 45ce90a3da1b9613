"""SHA-256 of media files and of folders of faces, remembered from run to run.

Clips are named by the digest of their media, and a second run over 500 GB must not read them all again. So a
digest is kept beside what tells that a file was written to: its path, size, time of change and inode.

The memory is one text file that is only ever appended to, with a checksum on each line:

    CRC32 ["absolute path", "state", "SHA-256"]

Any number of processes, on any number of machines, append to it without locks; sqlite's faster journal needs
memory that machines do not share. Lines that a killed or crowded writer damaged do not count. Whatever is
lost costs hashing again and nothing else.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cache.atomic_file import make_directory, replacement_of
from cache.file_digest import file_digest
from pipeline.clip_source import ClipSource
from pipeline.errors import MediaError
from pipeline.layouts.folders import face_image_number
from pipeline.run.progress import DigestProgress

# A file that was written to so shortly ago may be written to again within the same tick of its clock.
_RACY_NS = 2_000_000_000
# Hashing keeps one core busy per 1 to 2 GB/s, but network file systems want several readers.
_NUM_THREADS = 8
_PIECE_BYTES = 2**20
# Outdated lines make way once there are more of them than of the others, and enough to be worth it.
_MAX_OUTDATED_LINES = 10_000


@dataclass(frozen=True, kw_only=True)
class ClipDigests:
    """What names the inputs of a clip.

    Attributes:
        media_sha256: Of the media file, 64 hexadecimal digits.
        faces_sha256: Of the folder of faces; None where the clip has none.
    """

    media_sha256: str
    faces_sha256: str | None


@dataclass(frozen=True, kw_only=True)
class _Reading:
    """A file or a folder of faces, as it was before it was read.

    Attributes:
        state: Changes with it.
        newest_ns: When the last of it was written to.
        names: Of the images, in the order of their numbers; none of a file.
    """

    state: str
    newest_ns: int
    names: tuple[str, ...] = ()


class MediaDigests:
    """Digests of files and folders of faces.

    Args:
        path: The memory; need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._known: dict[str, tuple[str, str]] = {}  # path -> state, digest
        self._load()

    def of_file(self, path: Path) -> str:
        """SHA-256 of a file's content, 64 hexadecimal digits.

        Raises:
            OSError: It cannot be read.
            MediaError: It was written to meanwhile.
        """
        return self._of(path, is_folder=False)

    def of_faces(self, folder: Path) -> str:
        """SHA-256 of the names and contents of the images in a folder of cropped faces; of no other files.

        Raises:
            OSError: The folder or an image cannot be read.
            MediaError: It holds no images, or was written to meanwhile.
        """
        return self._of(folder, is_folder=True)

    def remembered(self, clip: ClipSource) -> ClipDigests | None:
        """Digests of a clip as far as they are known without reading; None if any of them is not."""
        try:
            media = self._recall(clip.media, _file_state(clip.media))
            faces = None if clip.faces is None else self._recall(clip.faces, _faces_state(clip.faces))
        except (OSError, ValueError):  # a path with a NUL is a ValueError
            return None
        if media is None or (clip.faces is not None and faces is None):
            return None
        return ClipDigests(media_sha256=media, faces_sha256=faces)

    def of_clips(
        self, clips: Sequence[ClipSource], *, progress: bool = False
    ) -> dict[str, ClipDigests | Exception]:
        """Digests of many clips by id; files that clips share are read once.

        Args:
            clips: The clips.
            progress: Whether to show progress on standard error, where there is much to read.

        Returns:
            The digests, or, where a file cannot be read, is missing or was written to meanwhile, why.
        """
        media = {clip.media: False for clip in clips}
        faces = {clip.faces: True for clip in clips if clip.faces is not None}
        shown = DigestProgress(len(media) + len(faces), enabled=progress)
        pool = ThreadPoolExecutor(_NUM_THREADS, thread_name_prefix="digest")

        def digest(path: Path, is_folder: bool) -> str:
            try:
                return self._of(path, is_folder=is_folder, shown=shown)
            finally:
                shown.add_file()

        try:
            futures = {
                (path, is_folder): pool.submit(digest, path, is_folder)
                for path, is_folder in (*media.items(), *faces.items())
            }
            return {clip.clip_id: _digests(clip, futures) for clip in clips}
        finally:
            # After an interruption nobody waits for what is left of 500 GB.
            pool.shutdown(cancel_futures=True)
            shown.close()

    def _of(self, path: Path, *, is_folder: bool, shown: DigestProgress | None = None) -> str:
        started_ns = time.time_ns()
        before = _faces_state(path) if is_folder else _file_state(path)
        if (known := self._recall(path, before)) is not None:
            return known
        digest = _hash_faces(path, before.names, shown) if is_folder else _hash_file(path, shown)
        if (_faces_state(path) if is_folder else _file_state(path)) != before:
            raise MediaError(f"{str(path)!r} was written to while it was read; run again when it is complete")
        if before.newest_ns < started_ns - _RACY_NS:
            self._remember(path, before.state, digest)
        return digest

    def _recall(self, path: Path, now: _Reading) -> str | None:
        state, digest = self._known.get(_key(path), ("", ""))
        return digest if state == now.state else None

    def _remember(self, path: Path, state: str, digest: str) -> None:
        with self._lock:
            self._known[_key(path)] = state, digest
            # Forgetting costs time and nothing else, so a full disk or a folder of someone else's is no
            # reason to stop here.
            with suppress(OSError):
                make_directory(self._path.parent.absolute())
                descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
                try:
                    # A line break first: the line before may have lost its own.
                    os.write(descriptor, b"\n" + _line(_key(path), state, digest))
                finally:
                    os.close(descriptor)

    def _load(self) -> None:
        try:
            lines = self._path.read_bytes().split(b"\n")
        except OSError:
            return
        num_lines = 0
        for path, state, digest in _sound(lines):
            num_lines += 1
            self._known[path] = state, digest
        if num_lines - len(self._known) > max(len(self._known), _MAX_OUTDATED_LINES):
            with suppress(OSError), replacement_of(self._path) as file:
                for path, (state, digest) in self._known.items():
                    file.write(b"\n" + _line(path, state, digest))


def _digests(clip: ClipSource, futures: Mapping[tuple[Path, bool], Future[str]]) -> ClipDigests | Exception:
    try:
        return ClipDigests(
            media_sha256=futures[clip.media, False].result(),
            faces_sha256=None if clip.faces is None else futures[clip.faces, True].result(),
        )
    except (OSError, ValueError) as error:
        return error


def _key(path: Path) -> str:
    return os.path.abspath(path)


def _line(path: str, state: str, digest: str) -> bytes:
    entry = json.dumps([path, state, digest]).encode()
    return b"%08x %s\n" % (zlib.crc32(entry), entry)


def _sound(lines: Iterable[bytes]) -> Iterator[tuple[str, str, str]]:
    """The entries of the lines that are whole."""
    for line in lines:
        checksum, _, entry = line.partition(b" ")
        if entry and checksum == b"%08x" % zlib.crc32(entry):
            path, state, digest = json.loads(entry)
            yield path, state, digest


def _file_state(path: Path) -> _Reading:
    status = path.stat()
    return _Reading(
        state=f"{status.st_size} {status.st_mtime_ns} {status.st_ino}",
        newest_ns=status.st_mtime_ns,
    )


def _faces_state(folder: Path) -> _Reading:
    """The images of a folder; an image that is written over in its place does not change the folder's own."""
    with os.scandir(folder) as entries:
        files = [(entry.name, entry.stat()) for entry in entries if face_image_number(entry.name) is not None]
    if not files:
        raise MediaError(
            f"folder of faces {str(folder)!r}: expected images named 00001.jpg for the first frame, found "
            "none; name the folder that holds them, or none to look for faces in the video"
        )
    files.sort()
    state = hashlib.sha256()
    for name, status in files:
        state.update(b"%s %d %d %d\n" % (name.encode(), status.st_size, status.st_mtime_ns, status.st_ino))
    newest_ns = max(status.st_mtime_ns for _, status in files)
    return _Reading(
        state=state.hexdigest(),
        newest_ns=max(newest_ns, os.stat(folder).st_mtime_ns),
        names=tuple(name for name, _ in files),
    )


def _hash_file(path: Path, shown: DigestProgress | None) -> str:
    return file_digest(path, None if shown is None else shown.add_bytes)


def _hash_faces(folder: Path, names: Sequence[str], shown: DigestProgress | None) -> str:
    """Of the images in the order of their numbers: each one's name, size and content.

    There are millions of them, so this stays below `pathlib` and file objects.
    """
    digest = hashlib.sha256()
    for name in names:
        descriptor = os.open(f"{folder}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            content = b""
            while piece := os.read(descriptor, _PIECE_BYTES):
                content += piece
        finally:
            os.close(descriptor)
        digest.update(b"%s %d\n" % (name.encode(), len(content)))
        digest.update(content)
        if shown is not None:
            shown.add_bytes(len(content))
    return digest.hexdigest()
