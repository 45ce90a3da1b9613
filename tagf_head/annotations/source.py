"""Reading the labels of all splits from where they lie."""

from __future__ import annotations

from pathlib import Path

from tagf_head.annotations.clip_list import read_clip_list
from tagf_head.annotations.corpus import Annotations
from tagf_head.annotations.split_folders import read_split_folders
from tagf_head.annotations.splits import SPLIT_FOLDERS
from tagf_head.config import GoldStandard
from tagf_head.errors import AnnotationError


def load_annotations(path: Path, gold_standard: GoldStandard = "mean") -> Annotations:
    """Read the labels of all splits.

    Args:
        path: A folder with `Train_Set`, `Validation_Set`, `Test_Set` (any of them), or a table of label
            files; docs/labels.md shows each.
        gold_standard: What several raters become.

    Raises:
        AnnotationError: No labels lie there, a file is malformed, or a clip has two.
    """
    path = Path(path)
    if path.is_dir():
        return read_split_folders(path, gold_standard)
    if path.is_file():
        return read_clip_list(path, gold_standard)
    raise AnnotationError(
        f"no annotations in {path}: expected a folder with {', '.join(SPLIT_FOLDERS.values())}, or a table "
        "of label files, got no such folder; correct the path"
    )
