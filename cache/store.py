"""Reading a packed store.

What was lost or damaged never reads as numbers: opening compares the store with its completion record, zarr
compares every chunk that it reads with its CRC32C, and after each read the objects that it touched are still
there, in the store that was opened.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cache.errors import (
    CacheError,
    CorruptFeatureError,
    IncompleteStoreError,
    StaleFeatureError,
    StoreFormatError,
    UnknownClipError,
)
from cache.features import FRAME_ARRAYS
from cache.layout import CLIP_FACTS, CLIP_ID, ROW_SIZE, ArrayLayout, clip_layouts, frame_layouts
from cache.record import RECORD_PATH, RESTORE_HINT, CompletionRecord
from cache.rows import ClipRows, LoadedFeatures
from cache.spec import FeatureSpec
from cache.swap import heal


class FeatureStore:
    """An opened store; iterates over its clip ids, in the order of the manifest.

    Attributes:
        path: Where it lies.
        record: What it consists of.
        spec: What its features are.
        clip_ids: Its C clips.
        row_size: ``(C,)`` int64, rows of each clip.
        num_frames: Rows of all clips.
    """

    def __init__(self, path: Path, record: CompletionRecord) -> None:
        """Use `open`, which looks at the objects first."""
        import zarr  # a quarter of a second, so not before a store is opened
        from zarr.storage import LocalStore

        self.path = path
        self.record = record
        self._identity = _identity(path)
        try:
            self._group = zarr.open_group(LocalStore(path, read_only=True), mode="r", zarr_format=3)
            self.spec = FeatureSpec.from_json(json.dumps(self._group.attrs["feature_spec"]))
        except Exception as error:
            raise StoreFormatError(f"{path}: expected a feature store, got {_reason(error)}") from error
        self.num_frames = record.num_frames
        clip_table = clip_layouts(record.num_clips)
        self._layouts = {layout.name: layout for layout in frame_layouts(self.spec, self.num_frames)}
        self._layouts |= {layout.name: layout for layout in clip_table}
        self._arrays = {layout.name: self._open_array(layout) for layout in self._layouts.values()}
        every_clip = slice(0, record.num_clips)
        self.clip_ids = tuple(str(clip) for clip in self._read(CLIP_ID, every_clip))
        self.row_size: NDArray[np.int64] = self._read(ROW_SIZE, every_clip)
        self._row_stop = np.cumsum(self.row_size)
        self._index = {clip: index for index, clip in enumerate(self.clip_ids)}
        if (
            self.spec.fingerprint != record.fingerprint
            or len(self._index) != record.num_clips
            or self.row_size.min(initial=0) < 0
            or self.row_size.sum() != self.num_frames
        ):
            raise StoreFormatError(
                f"{path}: its clips, its spec and its completion record contradict each other"
            )

    @classmethod
    def open(cls, path: Path | str) -> FeatureStore:
        """Open a store, after a look at every object of its completion record.

        Metadata is compared with its digests, everything else with its size.

        Raises:
            IncompleteStoreError: Nothing lies there, or the record or an object is missing.
            CorruptFeatureError: An object has another size, or metadata was changed.
            StoreFormatError: What lies there is no feature store that this program reads.
        """
        path = Path(path)
        while True:
            heal(path)
            before = _identity(path)
            try:
                record = CompletionRecord.read(path)
                record.check_sizes(path)
                record.check_digests(
                    path, [name for name in record.objects if Path(name).name == "zarr.json"]
                )
                return cls(path, record)
            except CacheError:
                # Another process may have replaced the store between two looks at it: look again.
                if _identity(path) == before:
                    raise

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the spec."""
        return self.spec.fingerprint

    @property
    def digest(self) -> str:
        """SHA-256 over the store's bytes, as its completion record tells."""
        return self.record.digest

    def __getitem__(self, clip: str) -> ClipRows:
        rows = self.row_range(clip)
        names = tuple(stream.name for stream in self.spec.streams)
        return ClipRows(clip, rows.stop - rows.start, names, partial(self._read_clip, clip))

    def __iter__(self) -> Iterator[str]:
        return iter(self.clip_ids)

    def __len__(self) -> int:
        return len(self.clip_ids)

    def __contains__(self, clip: object) -> bool:
        return clip in self._index

    def __repr__(self) -> str:
        return f"FeatureStore({str(self.path)!r}, {len(self)} clips, {self.num_frames} frames)"

    def row_range(self, clip: str) -> slice:
        """Rows of one clip in the store's flat arrays.

        Raises:
            UnknownClipError: No such clip.
        """
        if clip not in self._index:
            raise UnknownClipError(
                f"{self.path} has no clip {clip!r}, only {len(self)} others; clip_ids lists them"
            )
        stop = int(self._row_stop[self._index[clip]])
        return slice(stop - int(self.row_size[self._index[clip]]), stop)

    def require_spec(self, spec: FeatureSpec, *, where: str) -> None:
        """Refuse features that were extracted with other settings.

        Args:
            spec: The spec that is asked for.
            where: Who asks, for example ``params.yaml`` or a checkpoint's path.

        Raises:
            StaleFeatureError: The specs differ; names each setting that does.
        """
        if spec.fingerprint != self.fingerprint:
            differences = self.spec.differences(spec, here="in the store", there=f"in {where}")
            raise StaleFeatureError(
                f"{self.path} was extracted with spec {self.fingerprint}, {where} asks for {spec.fingerprint}"
                f"{''.join(f'; {line}' for line in differences)}; run 'dvc repro extract' or 'tagf extract'"
            )

    def load(self, progress: bool = False) -> LoadedFeatures:
        """The whole store in memory.

        Args:
            progress: Show a progress bar.

        Raises:
            CorruptFeatureError: A chunk is damaged; names the array and the first clip that it concerns.
            IncompleteStoreError: An object has gone since the store was opened.
        """
        from tqdm import tqdm

        streams = [stream.name for stream in self.spec.streams]
        layouts = [self._layouts[name] for name in (*streams, *FRAME_ARRAYS)]
        arrays: dict[str, NDArray[Any]] = {
            layout.name: np.empty(layout.shape, layout.dtype) for layout in layouts
        }
        total = sum(array.nbytes for array in arrays.values())
        with tqdm(total=total, unit="B", unit_scale=True, desc="features", disable=not progress) as bar:
            for layout in layouts:
                # One shard at a time: zarr would decode them all at once, and hold them twice.
                step = self._shard_rows(layout)
                for start in range(0, self.num_frames, step):
                    rows = slice(start, min(start + step, self.num_frames))
                    for view in np.ndindex(*layout.shape[: layout.row_axis]):
                        block = self._read(layout.name, rows, view)
                        arrays[layout.name][(*view, rows)] = block
                        bar.update(block.nbytes)
        return LoadedFeatures(
            clip_ids=self.clip_ids,
            row_size=self.row_size.copy(),
            row_start=self._row_stop - self.row_size,
            streams={name: arrays.pop(name) for name in streams},
            **arrays,
        )

    def _open_array(self, layout: ArrayLayout) -> Any:
        try:
            array: Any = self._group[layout.name]
            found = (array.shape, array.metadata.dimension_names, array.shards is not None)
        except Exception as error:
            raise StoreFormatError(
                f"{self.path}: array {layout.name} cannot be opened: {_reason(error)}"
            ) from error
        if found != (layout.shape, layout.dimensions, True):
            raise StoreFormatError(
                f"{self.path}: array {layout.name} must be sharded, with dimensions {layout.dimensions} and "
                f"shape {layout.shape}, got {found[1]} and {found[0]}"
            )
        every_row = slice(0, layout.shape[layout.row_axis])
        shard_rows = int(array.shards[layout.row_axis])
        unlisted = [path for path in layout.objects(every_row, shard_rows) if path not in self.record.objects]
        if unlisted:
            raise StoreFormatError(f"{self.path}: object {unlisted[0]} is not in the completion record")
        return array

    def _shard_rows(self, layout: ArrayLayout) -> int:
        return int(self._arrays[layout.name].shards[layout.row_axis])

    def _read_clip(self, clip: str, name: str) -> NDArray[Any]:
        """One clip's rows of an array, or its entry in the clip table."""
        index = self._index[clip]
        return self._read(name, slice(index, index + 1) if name == CLIP_FACTS else self.row_range(clip))

    def _read(self, name: str, rows: slice, view: tuple[int, ...] | None = None) -> NDArray[Any]:
        """Rows of an array, of one view or of all; never a fill value for what is gone."""
        layout = self._layouts[name]
        try:
            block = self._decode(layout, rows, view)
        except Exception as error:
            self._check_objects(layout, rows)
            raise CorruptFeatureError(
                f"{self.path}: array {name} is damaged{self._first_damaged(layout, rows, view)}: "
                f"{_reason(error)}; {RESTORE_HINT}"
            ) from error
        self._check_objects(layout, rows)
        return block

    def _decode(self, layout: ArrayLayout, rows: slice, view: tuple[int, ...] | None) -> NDArray[Any]:
        leading = (slice(None),) * layout.row_axis if view is None else view
        return np.asarray(self._arrays[layout.name][(*leading, rows)])

    def _check_objects(self, layout: ArrayLayout, rows: slice) -> None:
        """After a read: all that it touched is still there, and belongs to the store that was opened."""
        if _identity(self.path) != self._identity:
            raise IncompleteStoreError(
                f"{self.path} was replaced or removed while it was open; open it again"
            )
        self.record.check_sizes(self.path, layout.objects(rows, self._shard_rows(layout)))

    def _first_damaged(self, layout: ArrayLayout, rows: slice, view: tuple[int, ...] | None) -> str:
        """The first clip whose rows cannot be read, for the message."""
        if "frame" not in layout.dimensions:
            return ""
        for clip in self.clip_ids:
            clip_rows = self.row_range(clip)
            both = slice(max(rows.start, clip_rows.start), min(rows.stop, clip_rows.stop))
            if both.start < both.stop:
                try:
                    self._decode(layout, both, view)
                except Exception:
                    return f" at clip {clip!r}"
        return ""


def _identity(path: Path) -> tuple[int, int, int] | None:
    """What tells one store from another at the same path; None where there is none."""
    try:
        facts = (path / RECORD_PATH).stat()
    except OSError:
        return None
    return facts.st_dev, facts.st_ino, facts.st_mtime_ns


def _reason(error: Exception) -> str:
    """What went wrong, on one line."""
    return " ".join(str(error).split()) or type(error).__name__
