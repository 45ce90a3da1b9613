"""A split's rows on a device, and batches of windows gathered from them by index arithmetic.

Three masks are kept apart: `frame_mask` is false in padding and enters the forward pass; `label_mask` is
false where a frame has no label and enters the loss and the metrics alone; frames without a face or sound
are zero rows in the store.

Letters in shapes: V views, N rows, C clips, W windows, B windows in a batch, L frames of a window.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cache import FeatureStore
from cache.features import VISUAL_STREAM
from cache.rows import AUDIO_STREAM
from tagf_head.annotations import Annotations, Split, align_labels, select_clips
from tagf_head.errors import AnnotationError, HeadError
from tagf_head.windows import WindowPlan

#: Where features come from: an opened store, a path or URL, or several of these.
Features: TypeAlias = "FeatureStore | Path | str | Sequence[Path | str]"


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """Windows of one step, zero in padding.

    Attributes:
        visual: ``(B, L, D_v)`` float32.
        audio: ``(B, L, D_a)`` float32.
        frame_mask: ``(B, L)`` bool, false in padding.
        label: ``(B, L, 2)`` float32, valence and arousal; 0 where `label_mask` is false.
        label_mask: ``(B, L)`` bool, false in padding and where a frame has no label.
        row: ``(B, L)`` int64, row of each frame; in padding, a row that says nothing.
    """

    visual: Tensor
    audio: Tensor
    frame_mask: Tensor
    label: Tensor
    label_mask: Tensor
    row: Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class FeatureRows:
    """Rows of some clips, each clip's rows together, all on one device.

    Attributes:
        visual: ``(V, N, D_v)`` float16.
        audio: ``(N, D_a)`` float16.
        label: ``(N, 2)`` float32.
        label_mask: ``(N,)`` bool.
        row_start: ``(C,)`` int64, first row of each clip.
        center_view: Index of the view that evaluation reads.
    """

    visual: Tensor
    audio: Tensor
    label: Tensor
    label_mask: Tensor
    row_start: Tensor
    center_view: int = 0

    @property
    def num_rows(self) -> int:
        """Number of rows N."""
        return self.audio.shape[0]

    @property
    def num_views(self) -> int:
        """Number of views V."""
        return self.visual.shape[0]

    def gather(self, first_row: Tensor, length: Tensor, view: Tensor, window: int) -> Batch:
        """One batch of windows.

        Args:
            first_row: ``(B,)`` int64, the windows' first rows.
            length: ``(B,)`` int64, number of rows in each window, at most `window`.
            view: ``(B,)`` int64, the visual view of each window.
            window: Frames L per window.
        """
        offset = torch.arange(window, device=first_row.device)
        frame_mask = offset < length[:, None]
        row = (first_row[:, None] + offset).clamp(max=self.num_rows - 1)
        padding = ~frame_mask[..., None]
        return Batch(
            visual=self.visual[view[:, None], row].float().masked_fill(padding, 0),
            audio=self.audio[row].float().masked_fill(padding, 0),
            frame_mask=frame_mask,
            label=self.label[row].masked_fill(padding, 0),
            label_mask=self.label_mask[row] & frame_mask,
            row=row,
        )

    def batches(
        self, plan: WindowPlan, batch_size: int, *, order: Tensor | None = None, view: Tensor | None = None
    ) -> Iterator[Batch]:
        """Batches of a plan's windows; the last one may be smaller.

        Args:
            plan: Windows over the clips of these rows.
            batch_size: Windows per batch.
            order: ``(W,)`` int64, the windows' order; that of the plan by default.
            view: ``(W,)`` int64, view of each window of the plan; the center view by default.
        """
        device = self.audio.device
        # The whole epoch's indices move to the device at once: a copy per batch would stall an accelerator.
        order = torch.arange(len(plan)) if order is None else order
        view = torch.full((len(plan),), self.center_view) if view is None else view
        clip, start, length = (
            torch.from_numpy(each).to(device) for each in (plan.clip, plan.start, plan.length)
        )
        first_row = self.row_start[clip] + start
        order, view = order.to(device), view.to(device)
        for index in torch.split(order, batch_size):
            yield self.gather(first_row[index], length[index], view[index], plan.window)

    def labelled(self, plan: WindowPlan) -> NDArray[np.bool_]:
        """``(W,)``, whether a window has at least one labelled frame."""
        labels_before = np.concatenate([[0], np.cumsum(self.label_mask.cpu().numpy())])
        first_row = self.row_start.cpu().numpy()[plan.clip] + plan.start
        return np.asarray(labels_before[first_row + plan.length] > labels_before[first_row])


@dataclass(frozen=True, kw_only=True)
class LabelCounts:
    """How the labels of a split meet its frames.

    Attributes:
        num_frames: Frames of the split's clips.
        num_labelled: Frames with a label in both columns.
        num_not_annotated: Frames marked -5.
        num_missing: Frames for which the label file has no row.
        num_surplus: Label rows for which there is no frame.
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
    """One split: its rows on a device, and what is known of each row on the CPU.

    Attributes:
        split: Which one.
        clip_ids: Its C clips, in the order of the store.
        row_size: ``(C,)`` number of rows of each clip.
        rows: The N rows.
        label: ``(N, 2)`` float32.
        label_mask: ``(N,)`` bool.
        source_frame: ``(N,)`` int64.
        time_s: ``(N,)`` float64.
        face_found: ``(N,)`` bool.
        counts: How labels and frames met.
    """

    split: Split
    clip_ids: tuple[str, ...]
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
    store: FeatureStore, annotations: Annotations, split: Split, device: torch.device
) -> SplitData:
    """Read a split's rows and labels, and put them on a device.

    Raises:
        AnnotationError: The split has no labels, a labelled clip no features, or no frame of the split a
            label.
    """
    clip_ids = select_clips(annotations, split, store.clip_ids, features=store.where)
    loaded = store.load(clip_ids, (VISUAL_STREAM, AUDIO_STREAM))
    labels = annotations.clips(split)
    aligned = [
        align_labels(labels[clip_id], loaded.source_frame[start : start + size])
        for clip_id, start, size in zip(clip_ids, loaded.row_start, loaded.row_size, strict=True)
    ]
    row_size = loaded.row_size
    label = np.concatenate([each.labels for each in aligned])
    label_mask = np.concatenate([each.mask for each in aligned])
    if not label_mask.any():
        raise AnnotationError(
            f"none of the {len(label_mask)} frames of split {split!r} ({len(clip_ids)} clips of "
            f"{store.where}) has a label in {annotations.directory}: every row is -5 or missing; check the "
            "label files"
        )
    views = store.spec.stream(VISUAL_STREAM).views or ()
    rows = FeatureRows(
        visual=torch.from_numpy(loaded.streams[VISUAL_STREAM]).to(device),
        audio=torch.from_numpy(loaded.streams[AUDIO_STREAM]).to(device),
        label=torch.from_numpy(label).to(device),
        label_mask=torch.from_numpy(label_mask).to(device),
        row_start=torch.from_numpy(loaded.row_start).to(device),
        center_view=views.index("center") if "center" in views else 0,
    )
    known = {clip_id for clips_of_split in annotations.splits.values() for clip_id in clips_of_split}
    return SplitData(
        split=split,
        clip_ids=clip_ids,
        row_size=row_size,
        rows=rows,
        label=label,
        label_mask=label_mask,
        source_frame=loaded.source_frame,
        time_s=loaded.time_s,
        face_found=loaded.face_found,
        counts=LabelCounts(
            num_frames=len(label_mask),
            num_labelled=int(label_mask.sum()),
            num_not_annotated=sum(each.num_not_annotated for each in aligned),
            num_missing=sum(each.num_missing for each in aligned),
            num_surplus=sum(each.num_surplus for each in aligned),
            num_unlabelled_clips=sum(clip_id not in known for clip_id in store.clip_ids),
        ),
    )
