"""Valence and arousal labels in the text form of Aff-Wild2.

One file per clip below `Train_Set`, `Validation_Set` and `Test_Set`; the first line is `valence,arousal`,
and line i + 2 belongs to decoded picture i. A label of -5 in either column says that nobody annotated the
frame: its row is kept and masked, for deleting it would shift every later label onto the wrong picture.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tagf_head.errors import AnnotationError

Split = Literal["train", "validation", "test"]

SPLIT_FOLDERS: Mapping[Split, str] = MappingProxyType(
    {"train": "Train_Set", "validation": "Validation_Set", "test": "Test_Set"}
)
TARGETS = ("valence", "arousal")
NOT_ANNOTATED = -5.0

_HEADER = ",".join(TARGETS)
# The official archive has the splits below this folder; a folder that has them at its top is taken first.
_ARCHIVE_FOLDER = "VA_Estimation_Challenge"
_NUM_NAMED = 3


@dataclass(frozen=True, kw_only=True, eq=False)
class Annotations:
    """The labels of every split, as the files give them.

    Attributes:
        directory: Folder that they were read from.
        splits: Split -> clip id -> ``(rows, 2)`` float32, valence and arousal; only splits that have a
            folder.
    """

    directory: Path
    splits: Mapping[Split, Mapping[str, NDArray[np.float32]]]

    def clips(self, split: Split) -> Mapping[str, NDArray[np.float32]]:
        """Labels of one split by clip id.

        Raises:
            AnnotationError: The split has no folder, or one without label files.
        """
        clips = self.splits.get(split)
        if not clips:
            folder = SPLIT_FOLDERS[split]
            raise AnnotationError(
                f"annotations in {self.directory} have no labels for split {split!r}: expected files "
                f"{folder}/CLIP.txt (or {_ARCHIVE_FOLDER}/{folder}/CLIP.txt), got "
                + ("an empty folder" if clips is not None else f"only {', '.join(self.splits)}")
                + "; add them or ask for another split"
            )
        return clips

    def digest(self, splits: Collection[Split]) -> str:
        """SHA-256 of the clip ids and labels of some splits, 64 hexadecimal digits."""
        digest = hashlib.sha256()
        for split in SPLIT_FOLDERS:
            if split not in splits:
                continue
            for clip_id, labels in sorted(self.splits.get(split, {}).items()):
                digest.update(json.dumps([split, clip_id, len(labels)]).encode())
                digest.update(labels.astype("<f4").tobytes())
        return digest.hexdigest()


@dataclass(frozen=True, kw_only=True, eq=False)
class AlignedLabels:
    """Labels with one row per row of the store.

    Attributes:
        labels: ``(N, 2)`` float32, valence and arousal; 0 where masked.
        mask: ``(N,)`` bool, false where the frame has no label in either column.
        num_not_annotated: Frames that the file marks with -5.
        num_missing: Frames for which the file has no row; masked.
        num_surplus: Rows of the file that belong to no frame; dropped.
    """

    labels: NDArray[np.float32]
    mask: NDArray[np.bool_]
    num_not_annotated: int
    num_missing: int
    num_surplus: int


def align_labels(labels: NDArray[np.float32], source_frame: NDArray[np.int64]) -> AlignedLabels:
    """Give every row of a clip the label of its decoded picture.

    Args:
        labels: ``(rows, 2)``, row i belongs to decoded picture i, as `load_annotations` gives it.
        source_frame: ``(N,)`` index of each row's decoded picture, rising.

    Returns:
        The labels of the N rows, their mask, and how many rows were masked or dropped.
    """
    has_row = source_frame < len(labels)
    aligned = np.zeros((len(source_frame), len(TARGETS)), np.float32)
    aligned[has_row] = labels[source_frame[has_row]]
    annotated = has_row & (aligned != np.float32(NOT_ANNOTATED)).all(axis=1)
    aligned[~annotated] = 0
    return AlignedLabels(
        labels=aligned,
        mask=annotated,
        num_not_annotated=int((has_row & ~annotated).sum()),
        num_missing=int((~has_row).sum()),
        num_surplus=len(labels) - int(has_row.sum()),
    )


def load_annotations(directory: Path) -> Annotations:
    """Read the labels of all splits.

    Args:
        directory: Folder with `Train_Set`, `Validation_Set`, `Test_Set` (any of them), at its top or below
            `VA_Estimation_Challenge`.

    Returns:
        The labels by split and clip, clips in alphabetical order.

    Raises:
        AnnotationError: No split lies there, a file is malformed, or a clip belongs to two splits.
    """
    directory = Path(directory)
    top = directory
    if not any((top / folder).is_dir() for folder in SPLIT_FOLDERS.values()):
        top = directory / _ARCHIVE_FOLDER
    splits: dict[Split, Mapping[str, NDArray[np.float32]]] = {}
    split_of: dict[str, Split] = {}
    for split, folder in SPLIT_FOLDERS.items():
        if not (top / folder).is_dir():
            continue
        clips = {path.stem: _read_labels(path) for path in _label_files(top / folder)}
        for clip_id in clips:
            if clip_id in split_of:
                raise AnnotationError(
                    f"annotations in {directory}: clip {clip_id!r} has labels in "
                    f"{SPLIT_FOLDERS[split_of[clip_id]]} and in {folder}, but belongs to one split alone; "
                    "remove one of the two files"
                )
            split_of[clip_id] = split
        splits[split] = MappingProxyType(clips)
    if not splits:
        raise AnnotationError(
            f"no annotations in {directory}: expected a folder with {', '.join(SPLIT_FOLDERS.values())}, got "
            + ("none of them" if directory.is_dir() else "no such folder")
            + "; give the folder that holds the splits"
        )
    return Annotations(directory=directory, splits=MappingProxyType(splits))


def select_clips(
    annotations: Annotations, split: Split, clip_ids: Sequence[str], *, features: str
) -> tuple[str, ...]:
    """Clips of a split in the order of the store.

    Args:
        annotations: The labels.
        split: Which split.
        clip_ids: Clips of the store; those without labels are left out.
        features: The store's name, for messages.

    Raises:
        AnnotationError: A labelled clip has no features.
    """
    labelled = annotations.clips(split)
    known = set(clip_ids)
    lacking = [clip_id for clip_id in labelled if clip_id not in known]
    if lacking:
        named = ", ".join(lacking[:_NUM_NAMED]) + (", ..." if len(lacking) > _NUM_NAMED else "")
        raise AnnotationError(
            f"{len(lacking)} of {len(labelled)} labelled clips of split {split!r} in {annotations.directory} "
            f"have no features in {features}: {named}; extract them ('dvc repro extract') or remove their "
            "label files"
        )
    return tuple(clip_id for clip_id in clip_ids if clip_id in labelled)


def _label_files(folder: Path) -> list[Path]:
    # Archives packed on a Mac carry a hidden ._CLIP.txt beside each file.
    return sorted(path for path in folder.glob("*.txt") if not path.name.startswith("."))


def _read_labels(path: Path) -> NDArray[np.float32]:
    """``(rows, 2)`` labels of one file."""
    try:
        lines = path.read_text(encoding="utf-8-sig").rstrip().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise AnnotationError(f"{path}: cannot be read as text ({error})") from error
    header = "".join(lines[0].split()) if lines else ""
    if header != _HEADER:
        raise AnnotationError(
            f"{path}, line 1: expected the header {_HEADER!r}, got {header[:40]!r}; labels are read in this "
            "order alone"
        )
    rows = lines[1:]
    if not rows:
        return np.zeros((0, len(TARGETS)), np.float32)
    try:
        labels = np.loadtxt(rows, delimiter=",", comments=None, dtype=np.float64, ndmin=2)
    except ValueError:
        labels = np.empty((0, 0))
    # loadtxt passes over blank lines, which would shift all later labels.
    if labels.shape != (len(rows), len(TARGETS)):
        raise _bad_line(path, rows)
    valid = ((labels >= -1) & (labels <= 1)) | (labels == NOT_ANNOTATED)
    if not valid.all():
        row, column = (int(index) for index in np.argwhere(~valid)[0])
        raise AnnotationError(
            f"{path}, line {row + 2}: {TARGETS[column]} must lie in [-1, 1] or be -5 (not annotated), "
            f"got {labels[row, column]}; correct the line"
        )
    return labels.astype(np.float32)


def _bad_line(path: Path, rows: Sequence[str]) -> AnnotationError:
    """The error that names the first line which is not two numbers."""
    for number, row in enumerate(rows, start=2):
        try:
            values = [float(value) for value in row.split(",")]
        except ValueError:
            values = []
        if len(values) != len(TARGETS):
            return AnnotationError(
                f"{path}, line {number}: expected two numbers 'valence,arousal', got {row[:40]!r}; correct "
                "the line (a frame without annotation is '-5,-5')"
            )
    return AnnotationError(f"{path}: expected two numbers 'valence,arousal' on each line; correct the file")
