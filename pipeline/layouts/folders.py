"""Walking through a source folder."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from pipeline.errors import ManifestError

# Of the containers that `pipeline.media.container` lets in.
_SUFFIXES = "3gp asf avi dv flv m1v m2ts m2v m4v mkv mov mp4 mpeg mpg mts mxf ogv ts vob webm wmv"
MEDIA_SUFFIXES = frozenset(f".{name}" for name in _SUFFIXES.split())
# A face of frame i is `{i + 1:05d}.jpg`: five digits from 00001, more only where five do not do.
_FACE_IMAGE = re.compile(r"(?!00000\.)(?:[0-9]{5}|[1-9][0-9]{5,8})\.jpg")


def face_image_number(name: str) -> int | None:
    """Number of the frame, from 1, whose face a file of that name holds; None if it is no such file.

    >>> face_image_number("00012.jpg"), face_image_number("12.jpg")
    (12, None)
    """
    return int(name[:-4]) if _FACE_IMAGE.fullmatch(name) else None


def is_media(path: Path) -> bool:
    """Whether a file's name is that of a media file."""
    return path.suffix.lower() in MEDIA_SUFFIXES


def require_folder(source: Path, *, of: str) -> None:
    """Refuse a source that is no folder.

    Args:
        source: The source.
        of: What it should be a folder of.

    Raises:
        ManifestError: It is a file, or nothing.
    """
    if not source.is_dir():
        found = "a file" if source.exists() else "nothing"
        raise ManifestError(
            f"source {str(source)!r}: expected a folder of {of}, found {found}; give the folder's path"
        )


def require_media(source: Path, media: Iterable[Path], others: Iterable[Path]) -> None:
    """Refuse a folder without media.

    Args:
        source: The folder.
        media: Media files below it.
        others: Other files below it.

    Raises:
        ManifestError: There are no media; the message counts what there is instead.
    """
    if any(True for _ in media):
        return
    suffixes = Counter(path.suffix.lower() or "no suffix" for path in others).most_common(3)
    found = ", ".join(f"{count} of {suffix!a}" for suffix, count in suffixes) or "no files"
    raise ManifestError(
        f"source {str(source)!r}: expected media files ({', '.join(sorted(MEDIA_SUFFIXES))}), found {found}; "
        "give the folder that holds the videos"
    )


def entries_below(folder: Path) -> Iterator[tuple[Path, Iterator[os.DirEntry[str]]]]:
    """Each folder at and below a folder, with an iterator over what lies in it; hidden names are left out.

    A folder is read as far as its iterator is used, and of its subfolders those are visited that it gave: who
    sees from the first entries that nothing more is of interest stops, and is spared the rest. Links to
    folders are followed, save those that lead back to where the walk came from.

    Raises:
        ManifestError: A folder cannot be read.
    """
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        trail = [here, *(parent for parent in here.parents if parent.is_relative_to(folder))]
        subfolders: list[Path] = []
        try:
            with os.scandir(here) as scanned:
                yield here, _visible(scanned, trail, subfolders)
        except OSError as error:
            raise ManifestError(f"source folder {str(here)!r} cannot be read: {error.strerror}") from error
        waiting += sorted(subfolders, reverse=True)


def _visible(
    entries: Iterable[os.DirEntry[str]], trail: Sequence[Path], subfolders: list[Path]
) -> Iterator[os.DirEntry[str]]:
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir() and not (entry.is_symlink() and _leads_back(Path(entry.path), trail)):
            subfolders.append(Path(entry.path))
        yield entry


def _leads_back(link: Path, trail: Sequence[Path]) -> bool:
    """Whether a link leads to a folder that the walk came through, or above one."""
    target = link.resolve()
    return any(folder.resolve().is_relative_to(target) for folder in trail)
