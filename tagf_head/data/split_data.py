"""Some clips for training or evaluation: their rows, their labels, and what is known of each row.

Letters in shapes: N rows, C clips.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from cache import FeatureStore
from cache.features import VISUAL_STREAM
from cache.rows import AUDIO_STREAM, LoadedFeatures
from tagf_head.annotations import Annotations, Split, select_clips
from tagf_head.config import LabelConfig
from tagf_head.data.clip_groups import ClipGroups, clip_groups
from tagf_head.data.device_rows import read_device_rows
from tagf_head.data.free_memory import free_bytes
from tagf_head.data.mapped_rows import MappedRows
from tagf_head.data.media_digests import media_digests
from tagf_head.data.rows import Batch, FeatureRows, with_empty_row
from tagf_head.errors import AnnotationError, HeadError

__all__ = [
    "Batch",
    "FeatureRows",
    "Features",
    "LabelCounts",
    "SplitData",
    "load_clips",
    "load_split",
    "open_features",
]

# Half of what is free, for the head's own tensors grow with the batch and are not there yet.
_SHARE_OF_FREE = 0.5
_FLOAT16_BYTES = 2

#: Where features come from: an opened store, a path or URL, or several of these.
Features: TypeAlias = "FeatureStore | Path | str | Sequence[Path | str]"


@dataclass(frozen=True, kw_only=True)
class LabelCounts:
    """How labels meet the frames of some clips.

    Attributes:
        num_frames: Frames of the clips.
        num_labelled: Frames with a label in both columns.
        num_not_annotated: Frames that a label file covers and nobody annotated.
        num_missing: Frames that it does not cover.
        num_surplus: Labels for which there is no frame.
        num_unlabelled_clips: Clips of the store that no split has labels for.
    """

    num_frames: int
    num_labelled: int
    num_not_annotated: int
    num_missing: int
    num_surplus: int
    num_unlabelled_clips: int


@dataclass(frozen=True, kw_only=True, eq=False)
class SplitData:
    """Clips that are trained on, or evaluated: their rows, and what is known of each row on the CPU.

    Attributes:
        name: What messages call them: a split, or a fold's part.
        clip_ids: The C clips.
        groups: Which of them belong together.
        row_size: ``(C,)`` number of rows of each clip.
        rows: The N rows.
        label: ``(N, 2)`` float32.
        label_mask: ``(N,)`` bool.
        source_frame: ``(N,)`` int64.
        time_s: ``(N,)`` float64.
        face_found: ``(N,)`` bool.
        counts: How labels and frames met.
    """

    name: str
    clip_ids: tuple[str, ...]
    groups: ClipGroups
    row_size: NDArray[np.int64]
    rows: FeatureRows
    label: NDArray[np.float32]
    label_mask: NDArray[np.bool_]
    source_frame: NDArray[np.int64]
    time_s: NDArray[np.float64]
    face_found: NDArray[np.bool_]
    counts: LabelCounts


def open_features(features: Features) -> FeatureStore:
    """The store that lies at a path or a URL, or those at several as one.

    Raises:
        HeadError: It lacks a stream that heads take.
        CacheError: A store cannot be used, or they do not belong together.
    """
    store = features if isinstance(features, FeatureStore) else FeatureStore.open(features)
    names = [stream.name for stream in store.spec.streams]
    if not {VISUAL_STREAM, AUDIO_STREAM} <= {*names}:
        raise HeadError(
            f"{store.where} has the streams {', '.join(names)}; training needs {VISUAL_STREAM} and "
            f"{AUDIO_STREAM}"
        )
    return store


def load_split(
    store: FeatureStore,
    annotations: Annotations,
    split: Split,
    *,
    labels: LabelConfig | None = None,
    device: torch.device | str = "cpu",
    rows_memory_gb: float | None = None,
) -> SplitData:
    """Read a split's rows and labels: those of all its clips, in the order of the store.

    Args:
        store: The features.
        annotations: The labels.
        split: Which one.
        labels: As for `load_clips`.
        device: As for `load_clips`.
        rows_memory_gb: As for `load_clips`.

    Raises:
        AnnotationError: The split has no labels, a labelled clip no features, or no frame of the split a
            label.
        CacheError: The rows cannot be read.
    """
    clip_ids = select_clips(annotations, split, store.clip_ids, features=store.where)
    return load_clips(
        store,
        annotations,
        clip_ids,
        name=split,
        labels=labels,
        device=device,
        rows_memory_gb=rows_memory_gb,
    )


def load_clips(
    store: FeatureStore,
    annotations: Annotations,
    clip_ids: Sequence[str],
    *,
    name: str,
    labels: LabelConfig | None = None,
    device: torch.device | str = "cpu",
    rows_memory_gb: float | None = None,
) -> SplitData:
    """Read the rows and the labels of some clips.

    Args:
        store: The features.
        annotations: The labels, made with the gold standard of `labels`.
        clip_ids: Which clips, in the order that they are to have.
        name: What messages call them.
        labels: How annotations become labels; the defaults of `LabelConfig` where None.
        device: Where batches are wanted.
        rows_memory_gb: Rows of up to so many gigabytes are read onto the device at once; more stay in the
            store's files. By default half of what the device has free.

    Raises:
        AnnotationError: No frame of the clips has a label, or a clip has no annotations at all.
        CacheError: The store lacks a clip, or the rows cannot be read.
    """
    device = torch.device(device)
    delay_s = (labels or LabelConfig()).delay_s
    known = store.load(clip_ids, ())  # what there is beside the streams
    aligned = [
        annotations.align(
            clip_id,
            source_frame=known.source_frame[start : start + size],
            time_s=known.time_s[start : start + size],
            delay_s=delay_s,
        )
        for clip_id, start, size in zip(known.clip_ids, known.row_start, known.row_size, strict=True)
    ]
    label = np.concatenate([np.zeros((0, 2), np.float32), *(each.labels for each in aligned)])
    label_mask = np.concatenate([np.zeros(0, np.bool_), *(each.mask for each in aligned)])
    if not label_mask.any():
        raise AnnotationError(
            f"none of the {len(label_mask)} frames of {name!r} ({len(known.clip_ids)} clips of "
            f"{store.where}) has a label in {annotations.path}: every one is missing or not annotated; check "
            "the label files"
        )
    in_some_split = {clip_id for clips in annotations.splits.values() for clip_id in clips}
    return SplitData(
        name=name,
        clip_ids=known.clip_ids,
        groups=clip_groups(
            known.clip_ids,
            subjects=annotations.subjects,
            media_sha256=media_digests(store, known.clip_ids),
        ),
        row_size=known.row_size,
        rows=_rows(store, known, label, label_mask, device, rows_memory_gb),
        label=label,
        label_mask=label_mask,
        source_frame=known.source_frame,
        time_s=known.time_s,
        face_found=known.face_found,
        counts=LabelCounts(
            num_frames=len(label_mask),
            num_labelled=int(label_mask.sum()),
            num_not_annotated=sum(each.num_not_annotated for each in aligned),
            num_missing=sum(each.num_missing for each in aligned),
            num_surplus=sum(each.num_surplus for each in aligned),
            num_unlabelled_clips=sum(clip_id not in in_some_split for clip_id in store.clip_ids),
        ),
    )


def _rows(
    store: FeatureStore,
    clips: LoadedFeatures,
    label: NDArray[np.float32],
    label_mask: NDArray[np.bool_],
    device: torch.device,
    rows_memory_gb: float | None,
) -> FeatureRows:
    """On the device where they fit, mapped where they do not."""
    visual, audio = (store.spec.stream(name) for name in (VISUAL_STREAM, AUDIO_STREAM))
    views = visual.views or ()
    center_view = views.index("center") if "center" in views else 0
    size_bytes = len(label) * _FLOAT16_BYTES * (len(views) * visual.num_features + audio.num_features)
    limit_bytes = _SHARE_OF_FREE * free_bytes(device) if rows_memory_gb is None else rows_memory_gb * 1e9
    if size_bytes <= limit_bytes:
        return read_device_rows(
            store,
            clips.clip_ids,
            row_size=clips.row_size,
            label=with_empty_row(label, device),
            label_mask=with_empty_row(label_mask, device),
            center_view=center_view,
        )
    return MappedRows(
        row_size=clips.row_size,
        label=with_empty_row(label, device),
        label_mask=with_empty_row(label_mask, device),
        center_view=center_view,
        store=store,
        store_row=np.array([store.row_range(clip_id).start for clip_id in clips.clip_ids], np.int64),
    )
