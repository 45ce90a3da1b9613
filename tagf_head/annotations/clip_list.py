"""A table of label files: the one that `tagf extract --layout manifest` reads, or one of these columns alone.

clip_id,annotation,split,subject
anna-1,labels/anna-1.csv,train,anna
"""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import get_args

from tagf_head.annotations.clip_labels import ClipLabels
from tagf_head.annotations.corpus import Annotations
from tagf_head.annotations.csv_table import parse_table, read_text
from tagf_head.annotations.label_file import read_clip_labels
from tagf_head.annotations.splits import Split
from tagf_head.config import GoldStandard
from tagf_head.errors import AnnotationError

_NEEDED = ("clip_id", "annotation", "split")
_SUBJECT = "subject"


def read_clip_list(path: Path, kind: GoldStandard) -> Annotations:
    """Labels of the clips that a table lists.

    Args:
        path: CSV file with the columns `clip_id`, `annotation`, `split` and, where known, `subject`; others
            are left aside. Paths of label files are relative to its folder. Clips without one have no labels.
        kind: What several raters become.

    Returns:
        The labels by split and clip, in the table's order.

    Raises:
        AnnotationError: A column is missing, a clip is listed twice, or a label file is missing or malformed;
            names the line.
    """
    table = parse_table(path, read_text(path))
    clip, annotation, split_column = (table.index_of(name, needed=_NEEDED) for name in _NEEDED)
    has_subjects = _SUBJECT in (column.lower() for column in table.columns)
    subject = table.index_of(_SUBJECT, needed=_NEEDED) if has_subjects else None
    splits: dict[Split, dict[str, ClipLabels]] = {}
    subjects: dict[str, str] = {}
    line_of: dict[str, int] = {}
    for line, row in zip(table.lines, table.rows, strict=True):
        where, clip_id = f"{path}, line {line}", row[clip]
        if not clip_id or clip_id in line_of:
            got = f"clip {clip_id!r} of line {line_of[clip_id]} again" if clip_id else "an empty cell"
            raise AnnotationError(
                f"{where}: expected a clip_id of its own, got {got}; correct or remove the line"
            )
        line_of[clip_id] = line
        if subject is not None and row[subject]:
            subjects[clip_id] = row[subject]
        if not row[annotation]:
            continue
        label_file = path.parent / row[annotation]
        if not label_file.is_file():
            raise AnnotationError(
                f"{where}: no label file {label_file}; paths are relative to the table's folder: correct the "
                "path, or leave the cell empty for a clip without labels"
            )
        split = _split(where, row[split_column])
        splits.setdefault(split, {})[clip_id] = read_clip_labels(label_file, kind)
    if not splits:
        raise AnnotationError(
            f"{path}: expected label files in column 'annotation', got none in {len(table.rows)} lines; fill "
            "the column in"
        )
    return Annotations(
        path=path,
        splits=MappingProxyType({split: MappingProxyType(clips) for split, clips in splits.items()}),
        subjects=MappingProxyType(subjects),
    )


def _split(where: str, cell: str) -> Split:
    for split in get_args(Split):
        if split == cell.lower():
            known: Split = split
            return known
    raise AnnotationError(
        f"{where}: split must be one of {', '.join(get_args(Split))} where there is a label file, got "
        f"{cell!r}; fill it in"
    )
