"""Copies of media under a condition, to look at and to listen to; `tagf extract` reads them, too.

OUT/clips.csv         a table for the layout `manifest`, with the clips' own names, labels and faces
OUT/media/CLIP.mp4    from `pipeline.degradation.media_copy`
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from cache.exports.clip_names import clip_names
from cache.store import StorePath
from pipeline.clip_source import ClipSource
from pipeline.config import ExtractConfig
from pipeline.degradation.clean_clips import clean_clips
from pipeline.degradation.condition import Condition
from pipeline.degradation.errors import DegradationError
from pipeline.degradation.media_copy import write_copy
from pipeline.run.work_dir import WorkDir

TABLE_NAME = "clips.csv"


def degrade_clips(
    store: StorePath | Sequence[StorePath],
    source: Path,
    layout: str,
    clip_ids: Sequence[str],
    condition: Condition,
    out: Path,
    config: ExtractConfig,
    *,
    seed: int = 0,
    work_dir: Path | None = None,
) -> Path:
    """Write copies of clips' media under a condition.

    Args:
        store: The store that holds the clips as they are: it says where the faces are.
        source: What it was extracted from.
        layout: How that is laid out, one of `pipeline.manifest.LAYOUTS`.
        clip_ids: The clips, each once.
        condition: What is done to them.
        out: Folder to write; files of the same names are replaced.
        config: The `extract` section that the store was extracted with.
        seed: Of everything random.
        work_dir: Where digests of media are remembered; None for the usual work folder.

    Returns:
        The table of the copies, `OUT/clips.csv`.

    Raises:
        DegradationError: As for `extract_conditions`; a copy's container cannot hold the other stream or its
            times; the condition alters pictures and the clip's faces come cropped.
        MediaError: A media file cannot be decoded.
    """
    clips = clean_clips(store, source, layout, clip_ids, config, WorkDir(work_dir).media_digests())
    if condition.modality == "visual":
        for clip in clips:
            if clip.source.faces is not None:
                raise DegradationError(
                    f"clip {clip.source.clip_id!r}: its faces come cropped, from "
                    f"{str(clip.source.faces)!r}, so a copy of its video would change nothing; "
                    "extract_conditions alters the crops"
                )
    (out / "media").mkdir(parents=True, exist_ok=True)
    copies = [
        write_copy(clip, condition, out / "media" / name, config, seed)
        for clip, name in zip(clips, clip_names(clip_ids), strict=True)
    ]
    return _write_table(out / TABLE_NAME, [clip.source for clip in clips], copies)


def _write_table(path: Path, clips: Sequence[ClipSource], copies: Sequence[Path]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["clip_id", "video", "faces", "annotation", "split", "subject", "face"])
        for clip, copy in zip(clips, copies, strict=True):
            beside = [clip.faces, clip.annotation]
            writer.writerow(
                [
                    clip.clip_id,
                    copy.relative_to(path.parent),
                    *("" if each is None else each.absolute() for each in beside),
                    clip.split or "",
                    clip.subject or "",
                    clip.face or "",
                ]
            )
    return path
