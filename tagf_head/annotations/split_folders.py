"""Label files in folders: `Train_Set`, `Validation_Set` and `Test_Set`, one file per clip.

Train_Set/CLIP.txt                               one label per frame, as in Aff-Wild2
Train_Set/CLIP.csv                               with time stamps, both targets
Train_Set/valence/CLIP.csv, arousal/CLIP.csv     with time stamps, one target each
subjects.csv                                     who is seen, if that is known: clip_id,subject
"""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType

from tagf_head.annotations.clip_labels import ClipLabels
from tagf_head.annotations.corpus import Annotations
from tagf_head.annotations.csv_table import parse_table, read_text
from tagf_head.annotations.label_file import is_of_one_target, read_clip_labels
from tagf_head.annotations.splits import ARCHIVE_FOLDER, SPLIT_FOLDERS, Split
from tagf_head.config import GoldStandard
from tagf_head.errors import AnnotationError

_SUFFIXES = (".txt", ".csv", ".tsv")
_SUBJECTS = "subjects.csv"
_SUBJECT_COLUMNS = ("clip_id", "subject")


def read_split_folders(directory: Path, kind: GoldStandard) -> Annotations:
    """Labels of all splits below a folder.

    Args:
        directory: Folder with the splits at its top or below `VA_Estimation_Challenge`.
        kind: What several raters become.

    Returns:
        The labels by split and clip, clips in alphabetical order.

    Raises:
        AnnotationError: No split lies there, a file is malformed, or a clip has two.
    """
    top = directory
    if not any((top / folder).is_dir() for folder in SPLIT_FOLDERS.values()):
        top = directory / ARCHIVE_FOLDER
    splits: dict[Split, MappingProxyType[str, ClipLabels]] = {}
    file_of: dict[str, Path] = {}
    for split, folder in SPLIT_FOLDERS.items():
        if not (top / folder).is_dir():
            continue
        clips: dict[str, ClipLabels] = {}
        for clip_id, path in _label_files(top / folder):
            if clip_id in file_of:
                raise AnnotationError(
                    f"annotations in {directory}: clip {clip_id!r} has labels in "
                    f"{file_of[clip_id].relative_to(top)} and in {path.relative_to(top)}, but belongs to one "
                    "split and has one file; remove one of the two"
                )
            file_of[clip_id] = path
            clips[clip_id] = read_clip_labels(path, kind)
        splits[split] = MappingProxyType(clips)
    if not splits:
        raise AnnotationError(
            f"no annotations in {directory}: expected a folder with {', '.join(SPLIT_FOLDERS.values())}, got "
            "none of them; give the folder that holds the splits, or a table of label files"
        )
    return Annotations(path=directory, splits=MappingProxyType(splits), subjects=_subjects(directory, top))


def _label_files(folder: Path) -> list[tuple[str, Path]]:
    """Clip id and label file, of all files below a split's folder; of a pair of files one."""
    found: dict[tuple[str, Path], Path] = {}
    for path in folder.rglob("*"):
        place = path.relative_to(folder)
        # Archives packed on a Mac carry a hidden ._CLIP.txt beside each file, or all of them in a folder.
        is_hidden = any(part.startswith((".", "__MACOSX")) for part in place.parts)
        if is_hidden or path.suffix.lower() not in _SUFFIXES or not path.is_file():
            continue
        if is_of_one_target(path):
            place = place.parent.parent / place.name
        # A file and its other half have the same place and the same key.
        key = place.with_suffix("").as_posix(), place if is_of_one_target(path) else path
        found[key] = path
    return sorted((clip_id, path) for (clip_id, _), path in found.items())


def _subjects(*folders: Path) -> MappingProxyType[str, str]:
    """Subject by clip, of the first folder that has a table of them."""
    path = next((folder / _SUBJECTS for folder in folders if (folder / _SUBJECTS).is_file()), None)
    if path is None:
        return MappingProxyType({})
    table = parse_table(path, read_text(path))
    clip, subject = (table.index_of(name, needed=_SUBJECT_COLUMNS) for name in _SUBJECT_COLUMNS)
    subjects: dict[str, str] = {}
    for line, row in zip(table.lines, table.rows, strict=True):
        if row[clip] in subjects:
            raise AnnotationError(
                f"{path}, line {line}: expected each clip once, got {row[clip]!r} again; remove one line"
            )
        subjects[row[clip]] = row[subject]
    return MappingProxyType({clip_id: name for clip_id, name in subjects.items() if name})
