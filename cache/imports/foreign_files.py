"""Where another toolkit's features lie, clip by clip."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py

from cache.errors import CacheError
from cache.imports.array_place import ArrayPlace, datasets_in, reading
from cache.imports.foreign_layout import CLIP, ForeignLayout, ForeignStream

_NPY_SUFFIXES = frozenset({".npy"})
#: What HDF5 files are called.
HDF5_SUFFIXES = frozenset({".h5", ".hdf5", ".hdf", ".he5", ".csd"})
_MAX_LISTED = 5


@dataclass(frozen=True, kw_only=True)
class ForeignArray:
    """One clip's rows of one stream.

    Attributes:
        rows: The rows.
        times: Their times; None where the rate says it all.
    """

    rows: ArrayPlace
    times: ArrayPlace | None


def find_clips(source: Path, layout: ForeignLayout) -> dict[str, dict[str, ForeignArray]]:
    """Where every clip's rows of every stream lie.

    Args:
        source: What `layout` is relative to.
        layout: How the features lie.

    Returns:
        Clip id -> stream -> place, the ids sorted; an id is the path of its file without suffix, or its name
        in the HDF5 file.

    Raises:
        CacheError: A folder or file is missing or empty, or a stream lacks clips that another has.
    """
    if not source.exists():
        raise CacheError(f"{source}: no such file or folder; name the features to import")
    found = {stream.name: _find(source, layout, stream) for stream in layout.streams}
    every = sorted(set().union(*found.values()))
    for name, arrays in found.items():
        missing = [clip for clip in every if clip not in arrays]
        if missing:
            more = ", ..." if len(missing) > _MAX_LISTED else ""
            listed = ", ".join(repr(clip) for clip in missing[:_MAX_LISTED])
            raise CacheError(
                f"{source}: stream {name!r} lacks {len(missing)} of {len(every)} clips that another stream "
                f"has ({listed}{more}); files of one clip must have one name in every "
                "folder: rename them, extract what is missing, or remove their other files"
            )
    return {clip: {name: arrays[clip] for name, arrays in found.items()} for clip in every}


def _find(source: Path, layout: ForeignLayout, stream: ForeignStream) -> dict[str, ForeignArray]:
    place = source / stream.path
    if layout.format == "npy":
        return _npy_files(source, place, layout, stream)
    if place.is_dir():
        return _hdf5_files(source, place, layout, stream)
    return _hdf5_groups(place, stream)


def _npy_files(
    source: Path, folder: Path, layout: ForeignLayout, stream: ForeignStream
) -> dict[str, ForeignArray]:
    times = None if stream.times is None else source / stream.times
    return {
        clip: ForeignArray(
            rows=ArrayPlace(file=path),
            times=None if times is None else ArrayPlace(file=times / path.relative_to(folder)),
        )
        for clip, path in _files(source, folder, layout, stream, _NPY_SUFFIXES).items()
    }


def _hdf5_files(
    source: Path, folder: Path, layout: ForeignLayout, stream: ForeignStream
) -> dict[str, ForeignArray]:
    return {
        clip: _in_file(path, _dataset(path, stream), stream.times, clip)
        for clip, path in _files(source, folder, layout, stream, HDF5_SUFFIXES).items()
    }


def _dataset(path: Path, stream: ForeignStream) -> str:
    """The dataset of a stream in a clip's own file."""
    if stream.dataset is not None:
        return stream.dataset
    with reading(path), h5py.File(path, "r") as file:
        names = [name for name in datasets_in(file) if name != stream.times]
    if len(names) == 1:
        return names[0]
    listed = ", ".join(names[:_MAX_LISTED]) or "none"
    raise CacheError(
        f"{path}: which dataset has the rows of stream {stream.name!r}? Say --dataset {stream.name}=PATH "
        f"(datasets: {listed})"
    )


def _hdf5_groups(path: Path, stream: ForeignStream) -> dict[str, ForeignArray]:
    """Clips of an HDF5 file that has all of them."""
    pattern = _pattern(stream.dataset or CLIP)
    times = None if stream.times is None else _pattern(stream.times)
    above, _, below = (f"/{pattern.strip('/')}/").partition(f"/{CLIP}/")
    with reading(path), h5py.File(path, "r") as file:
        group = file.get(above or "/")
        names = sorted(group) if isinstance(group, h5py.Group) else []
        clips = [name for name in names if f"{above}/{name}/{below}".strip("/") in file]
        lacking = [name for name in names if name not in clips and _has_rows(group[name])]
    if not clips:
        raise CacheError(
            f"{path}: expected datasets {pattern!r}, one per clip, for stream {stream.name!r}, got none; say "
            f"--dataset {stream.name}=PATH, with {CLIP} for the clip's name"
        )
    if lacking:
        more = ", ..." if len(lacking) > _MAX_LISTED else ""
        listed = ", ".join(repr(name) for name in lacking[:_MAX_LISTED])
        raise CacheError(
            f"{path}: {len(lacking)} of {len(clips) + len(lacking)} groups lack the dataset {pattern!r} of "
            f"stream {stream.name!r} ({listed}{more}); extract it for them, or remove them from the file"
        )
    return {clip: _in_file(path, pattern, times, clip) for clip in clips}


def _has_rows(item: Any) -> bool:
    """Whether a group may be a clip's: notes on a corpus have texts and numbers, and no rows."""

    def is_rows(_: str, found: Any) -> bool | None:
        return (isinstance(found, h5py.Dataset) and found.ndim == 2 and found.dtype.kind == "f") or None

    return isinstance(item, h5py.Group) and item.visititems(is_rows) is not None


def _pattern(dataset: str) -> str:
    """A path in a file of all clips, with the place of the clip's name in it."""
    return dataset if CLIP in dataset.split("/") else f"{CLIP}/{dataset}"


def _in_file(path: Path, dataset: str, times: str | None, clip: str) -> ForeignArray:
    return ForeignArray(
        rows=ArrayPlace(file=path, dataset=dataset.replace(CLIP, clip)),
        times=None if times is None else ArrayPlace(file=path, dataset=times.replace(CLIP, clip)),
    )


def _files(
    source: Path, folder: Path, layout: ForeignLayout, stream: ForeignStream, suffixes: frozenset[str]
) -> dict[str, Path]:
    """A file for each clip, at any depth; what lies in the folder of something else is none of this."""
    others = [source / other.path for other in layout.streams]
    if layout.format == "npy":
        others += [source / other.times for other in layout.streams if other.times is not None]
    inner = [other for other in others if other != folder and other.is_relative_to(folder)]
    if not folder.is_dir():
        raise CacheError(f"{folder}: expected a folder with a file per clip for stream {stream.name!r}")
    files: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in suffixes or path.name.startswith(".") or not path.is_file():
            continue
        if any(path.is_relative_to(other) for other in inner):
            continue
        clip = path.relative_to(folder).with_suffix("").as_posix()
        if clip in files:
            raise CacheError(
                f"{folder}: {files[clip].name!r} and {path.name!r} give one clip id {clip!r}; rename one"
            )
        files[clip] = path
    if not files:
        listed = ", ".join(sorted(suffixes))
        raise CacheError(
            f"{folder}: expected files with rows of stream {stream.name!r} ({listed}), got none; say where "
            f"they are with --stream {stream.name}=FOLDER"
        )
    return files
