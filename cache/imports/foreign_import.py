"""A store from the features of another toolkit."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from cache.canonical_json import Json, canonical_json
from cache.errors import CacheError
from cache.features import VISUAL_STREAM
from cache.file_digest import file_digest
from cache.imports.array_place import reading
from cache.imports.foreign_clip import ForeignClip
from cache.imports.foreign_files import ForeignArray, find_clips
from cache.imports.foreign_layout import ForeignLayout
from cache.imports.foreign_rows import check_shape
from cache.parts import ClipKey
from cache.record import CompletionRecord
from cache.spec import FeatureSpec, SettingValue, StreamSpec
from cache.store_writer import check_destination, write_store

_SELECTION = "imported"
_VIEW = "center"


def import_features(
    source: Path,
    destination: Path,
    layout: ForeignLayout,
    *,
    progress: Callable[[int], object] | None = None,
    total: Callable[[int], object] | None = None,
) -> CompletionRecord:
    """Write a store from folders of npy or HDF5 files, or from HDF5 files of many clips.

    Args:
        source: What the paths in `layout` are relative to.
        destination: The store to write.
        layout: How the features lie.
        progress: Called with 1 after each clip.
        total: Called once, with the number of clips.

    Returns:
        The new store's record.

    Raises:
        CacheError: Files, datasets or clips are missing, or rows are of a wrong shape.
        CorruptFeatureError: A file is damaged, or a value is not finite or too large for float16.
        SettingsError: Nothing says at which times the rows of a stream are.
        StoreFormatError: Something else lies at `destination`.
        StorageError: The disk is full or not writable; what lay at `destination` is as it was.
    """
    check_destination(destination)  # before hours of reading
    clips = find_clips(source, layout)
    if total is not None:
        total(len(clips))
    streams = tuple(_stream_spec(name, clips) for name in (stream.name for stream in layout.streams))
    files = _SourceFiles(source)
    facts = {clip: files.facts(arrays) for clip, arrays in clips.items()}
    spec = FeatureSpec(streams=streams, settings=_settings(layout, facts))

    def sources() -> Iterator[ForeignClip]:
        for clip_id, arrays in clips.items():
            key = ClipKey(
                clip_id=clip_id,
                media_sha256=files.digest_of_clip(arrays),
                faces_sha256=None,
                selection=_SELECTION,
                fingerprint=spec.fingerprint,
            )
            yield ForeignClip(key, layout, arrays, {"imported": facts[clip_id]})

    return write_store(sources(), spec, destination, progress=progress)


def _stream_spec(name: str, clips: Mapping[str, Mapping[str, ForeignArray]]) -> StreamSpec:
    """The spec of a stream, after a look at the shapes of all its clips."""
    num_features, first = 0, None
    for arrays in clips.values():
        place = arrays[name].rows
        with place.opened() as array:
            check_shape(name, place, array)
            found = array.shape[1]
        if first is None:
            num_features, first = found, place
        elif found != num_features:
            raise CacheError(
                f"{place}: expected {num_features} features per row as in {first}, got {found}; import only "
                "what one toolkit made with one setting"
            )
    # Whatever the toolkit embedded of the face, it is one view of it.
    views = (_VIEW,) if name == VISUAL_STREAM else None
    return StreamSpec(name=name, num_features=num_features, views=views)


def _settings(layout: ForeignLayout, facts: Mapping[str, Mapping[str, Json]]) -> dict[str, SettingValue]:
    """Everything that tells these features from others: what was read how, and from which bytes."""
    settings: dict[str, SettingValue] = {
        "imported.format": layout.format,
        "imported.rows_of": layout.streams[0].name,
    }
    for stream in layout.streams:
        told = {"rate_hz": stream.rate_hz, "dataset": stream.dataset, "times": stream.times}
        for name, value in told.items():
            if value is not None:
                settings[f"imported.{stream.name}.{name}"] = value
        if stream.times is not None and stream.time_unit is not None:
            settings[f"imported.{stream.name}.time_unit"] = stream.time_unit
        elif stream.times is not None:
            settings["imported.time_unit"] = layout.time_unit
    if layout.origin is not None:
        settings["imported.origin"] = layout.origin
    else:
        settings["imported.sha256"] = hashlib.sha256(canonical_json(facts).encode()).hexdigest()
    return settings


class _SourceFiles:
    """Digests of the files that are imported, each read once for it.

    Args:
        source: What the files' names are told relative to.
    """

    def __init__(self, source: Path) -> None:
        self._folder = source if source.is_dir() else source.parent
        self._digests: dict[Path, str] = {}

    def facts(self, arrays: Mapping[str, ForeignArray]) -> dict[str, Json]:
        """Where the rows of a clip's streams come from, JSON."""
        facts: dict[str, Json] = {}
        for name, array in arrays.items():
            facts[name] = {
                what: {
                    "file": os.path.relpath(place.file, self._folder),
                    "dataset": place.dataset,
                    "sha256": self._digest(place.file),
                }
                for what, place in (("rows", array.rows), ("times", array.times))
                if place is not None
            }
        return facts

    def digest_of_clip(self, arrays: Mapping[str, ForeignArray]) -> str:
        """Digest of the file that a clip comes from; of the list of their digests where there are several."""
        digests = {name: self._digest(array.rows.file) for name, array in arrays.items()}
        if len({*digests.values()}) == 1:
            return next(iter(digests.values()))
        return hashlib.sha256(canonical_json(digests).encode()).hexdigest()

    def _digest(self, path: Path) -> str:
        if path not in self._digests:
            with reading(path):
                self._digests[path] = file_digest(path)
        return self._digests[path]
