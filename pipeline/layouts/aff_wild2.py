"""The layout `aff-wild2`: the folders that the Aff-Wild2 archives unpack to.

    SOURCE/**/batch1/VIDEO.mp4, batch2/VIDEO.avi, new_vids/VIDEO.mp4      media, merged
    SOURCE/**/cropped_aligned*/TRIAL/00001.jpg                            faces, where there are any
    SOURCE/**/{Train_Set,Validation_Set,Test_Set}/TRIAL.txt               labels `valence,arousal`

A trial is `VIDEO`, or, where two people are seen, `VIDEO_left` and `VIDEO_right`, which share the media of
`VIDEO` unless they have their own. Folders are found by what they hold and at any depth, because the copies
in use differ in it; the label folders of the other tasks of the challenge look alike and are told by the
first line of their files.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pipeline.clip_source import ClipSource, Manifest, Split, folded, lookalikes, require_clip_id
from pipeline.errors import ManifestError
from pipeline.layouts.folders import (
    entries_below,
    face_image_number,
    is_media,
    require_folder,
    require_media,
)
from pipeline.layouts.label_header import LABEL_HEADER, label_header

_FACES_PREFIX = "cropped_aligned"
# The challenges of different years write them differently.
_SPLITS: Mapping[str, Split] = {
    "trainset": "train",
    "trainingset": "train",
    "validationset": "validation",
    "testset": "test",
}
_LABEL_SUFFIX = ".txt"
_SIDES: tuple[Literal["left", "right"], ...] = ("left", "right")


def read_aff_wild2(source: Path) -> Manifest:
    """The trials of a copy of Aff-Wild2.

    Args:
        source: A folder that holds the unpacked archives, at any depth.

    Returns:
        Clips sorted by id. Every media file is one, with labels or without (the test set), and so is every
        `_left` or `_right` trial of labels or faces whose video is there.

    Raises:
        ManifestError: No such folder, no media in it, a name that cannot be printed, or two media files
            of one name.
    """
    require_folder(source, of="Aff-Wild2's archives")
    found = _Found()
    for folder, entries in entries_below(source):
        found.take(folder, entries, in_faces=_below_faces(folder, source))
    require_media(source, found.media, found.others)
    media = _by_stem(found.media, source)
    problems: list[str] = []
    labels = _labels(found.label_files, source, problems)
    faces = _faces(found, problems)
    clips = sorted(
        (
            _clip(trial, media, labels, faces)
            for trial in media.keys()
            | {trial for trial in labels.keys() | faces.keys() if _side(trial, media)}
        ),
        key=lambda clip: clip.clip_id,
    )
    for clip in clips:
        require_clip_id(clip.clip_id, where=f"source {str(source)!r}")
    ids = {clip.clip_id for clip in clips}
    problems += _without_media("labels", labels, ids, media)
    problems += _without_media("faces", faces, ids, media)
    problems += _empty_face_folders(found.empty_folders, ids - faces.keys())
    if labels and (num_unlabelled := len(ids - labels.keys())):
        problems.append(
            f"taken for the test set, for want of a label file: {num_unlabelled} of {len(ids)} clips"
        )
    return Manifest(clips=tuple(clips), problems=(*problems, *lookalikes(sorted(ids))))


@dataclass
class _Found:
    """What lies below the source."""

    media: list[Path] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)
    face_folders: list[Path] = field(default_factory=list)
    empty_folders: list[Path] = field(default_factory=list)  # below a folder of faces
    stray_images: list[Path] = field(default_factory=list)  # folders of numbered images elsewhere
    label_files: list[Path] = field(default_factory=list)

    def take(self, folder: Path, entries: Iterable[os.DirEntry[str]], *, in_faces: bool) -> None:
        """Sort what lies in one folder by its kind."""
        is_labels = _normal(folder.name) in _SPLITS
        num_entries = 0
        for entry in entries:
            num_entries += 1
            if face_image_number(entry.name) is not None:
                if in_faces:
                    self.face_folders.append(folder)
                    return  # thousands more of the kind
                if folder not in self.stray_images[-1:]:
                    self.stray_images.append(folder)
            elif not entry.is_dir():
                path = Path(entry.path)
                if is_labels and path.suffix.lower() == _LABEL_SUFFIX:
                    self.label_files.append(path)
                else:
                    (self.media if is_media(path) else self.others).append(path)
        if in_faces and not num_entries:
            self.empty_folders.append(folder)


def _below_faces(folder: Path, source: Path) -> bool:
    """Whether a folder is one of cropped, aligned faces, or below one; the source itself may be."""
    names = (source.absolute().name, *folder.relative_to(source).parts)
    return any(name.lower().startswith(_FACES_PREFIX) for name in names)


def _normal(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def _by_stem(paths: Iterable[Path], source: Path) -> dict[str, Path]:
    """Media by name without suffix, the batches merged."""
    media: dict[str, Path] = {}
    for path in sorted(paths):
        if path.stem in media:
            first, second = (
                ascii(str(each.relative_to(source)))  # quoted, and no line break in it
                for each in (media[path.stem], path)
            )
            raise ManifestError(
                f"source {str(source)!r}: {first} and {second} give one clip id {path.stem!a}; expected one "
                "media file per video: remove or rename one of them"
            )
        media[path.stem] = path
    return media


def _labels(files: Iterable[Path], source: Path, problems: list[str]) -> dict[str, tuple[Split, Path]]:
    """Split and label file by trial, of valence and arousal alone."""
    by_folder: dict[Path, list[Path]] = {}
    for path in sorted(files):
        by_folder.setdefault(path.parent, []).append(path)
    releases: dict[Path, list[Path]] = {}
    for folder in sorted(by_folder):
        if _header(by_folder[folder][0]) == LABEL_HEADER:
            releases.setdefault(folder.parent, []).extend(by_folder[folder])
    if not releases:
        others = f", but {len(by_folder)} of other tasks" if by_folder else ""
        problems.append(
            f"no folder Train_Set or Validation_Set with labels '{LABEL_HEADER}' lies below "
            f"{str(source)!r}{others}: labels and splits are not known"
        )
        return {}
    chosen, *rest = releases
    problems += [
        f"labels are read from {str(chosen)!r}; those in {str(other)!r} are left aside" for other in rest
    ]
    labels: dict[str, tuple[Split, Path]] = {}
    for path in releases[chosen]:
        split = _SPLITS[_normal(path.parent.name)]
        if path.stem in labels:
            problems.append(
                f"trial {path.stem!a} has labels in {labels[path.stem][1].parent.name!r} and in "
                f"{path.parent.name!r}; those of the first count: remove one of the two files"
            )
        else:
            labels[path.stem] = split, path
    return labels


def _header(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return label_header(file.readline(200))
    except OSError as error:
        raise ManifestError(f"label file {str(path)!r} cannot be read: {error.strerror}") from error


def _faces(found: _Found, problems: list[str]) -> dict[str, Path]:
    """Folder of faces by trial."""
    faces: dict[str, Path] = {}
    for folder in sorted(found.face_folders):
        if folder.name in faces:
            problems.append(
                f"trial {folder.name!a} has faces in {str(faces[folder.name].parent)!r} and in "
                f"{str(folder.parent)!r}; the first are taken"
            )
        else:
            faces[folder.name] = folder
    if found.stray_images:
        problems.append(
            f"{len(found.stray_images)} folders of numbered images lie outside a folder {_FACES_PREFIX}* and "
            f"are not used, the first {str(found.stray_images[0])!r}"
        )
    if not faces:
        problems.append(
            f"no folder {_FACES_PREFIX}* with faces was found: faces are looked for in the videos"
        )
    return faces


def _side(trial: str, media: Mapping[str, Path]) -> Literal["left", "right"] | None:
    """Which of two people a trial is that has no media of its own but shares that of its video."""
    if trial in media:
        return None
    return next((side for side in _SIDES if trial.removesuffix(f"_{side}") in media), None)


def _clip(
    trial: str,
    media: Mapping[str, Path],
    labels: Mapping[str, tuple[Split, Path]],
    faces: Mapping[str, Path],
) -> ClipSource:
    side = _side(trial, media)
    unlabelled: tuple[Split | None, None] = ("test" if labels else None, None)
    split, annotation = labels.get(trial, unlabelled)
    return ClipSource(
        clip_id=trial,
        media=media[trial if side is None else trial.removesuffix(f"_{side}")],
        faces=faces.get(trial),
        face=side,
        annotation=annotation,
        split=split,
    )


def _without_media(
    kind: str, trials: Iterable[str], ids: set[str], media: Mapping[str, Path]
) -> Iterator[str]:
    alike = {folded(stem): stem for stem in media}
    for trial in sorted(set(trials) - ids):
        near = alike.get(folded(trial))
        hint = f"; {media[near].name!a} differs in case or Unicode form alone: rename it" if near else ""
        yield f"{kind} of trial {trial!a} have no video{hint}"


def _empty_face_folders(folders: Iterable[Path], ids: set[str]) -> Iterator[str]:
    for folder in sorted(folders):
        if folder.name in ids:
            yield f"folder of faces {str(folder)!r} is empty: the faces are looked for in the video"
