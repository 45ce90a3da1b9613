"""The same rows in other layouts, and readers of windows from each: what the store is measured beside.

Every reader is asked the same: so many rows of the clip of that name, copied into memory of their own. Files
are open beforehand. Where a layout has settings, the quicker one is taken: no compression, no checksums,
chunks of a window's length. HDF5 and Zarr are measured twice, since looking up a clip's array takes them
longer than to read it: once as one would write it, once with every array of every clip kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cache import ClipFeatures, ClipKey, FeatureSpec, FeatureStore, PartStore, StreamSpec, pack_store

WINDOW_ROWS, NUM_FEATURES = 300, 512
SPEC = FeatureSpec(
    streams=(StreamSpec(name="visual", num_features=NUM_FEATURES, views=("center",)),),
    settings={"benchmark": "random rows"},
)


class Window(NamedTuple):
    """Rows of one clip.

    Attributes:
        clip: Name of the clip.
        start: First row within it.
    """

    clip: str
    start: int


Read = Callable[[Window], NDArray[np.float16]]


def clip_name(number: int) -> str:
    """Of a clip."""
    return f"clip{number:05d}"


def clip_key(number: int, spec: FeatureSpec = SPEC) -> ClipKey:
    """Of a clip."""
    return ClipKey(
        clip_id=clip_name(number),
        media_sha256=f"{number:064x}",
        faces_sha256=None,
        selection="all",
        fingerprint=spec.fingerprint,
    )


def clip_features(number: int, num_rows: int, spec: FeatureSpec = SPEC) -> ClipFeatures:
    """Random rows of a clip, the same every time."""
    rng = np.random.default_rng(number)
    return ClipFeatures(
        streams={
            stream.name: rng.standard_normal(stream.shape(num_rows), np.float32).astype(np.float16)
            for stream in spec.streams
        },
        time_s=np.arange(num_rows) / 25,
        source_frame=np.arange(num_rows),
        face_found=np.ones(num_rows, bool),
        audio_found=np.ones(num_rows, bool),
        face_box=np.ones((num_rows, 4), np.float32),
        face_score=np.ones(num_rows, np.float32),
    )


def write_layouts(folder: Path, num_clips: int, num_rows: int) -> list[tuple[PartStore, ClipKey]]:
    """Write every layout below a folder.

    Returns:
        The parts that the store was packed from.
    """
    import h5py
    import zarr

    parts, sources = PartStore(folder / "parts"), []
    flat = np.lib.format.open_memmap(
        folder / "rows.npy", "w+", np.float16, (num_clips * num_rows, NUM_FEATURES)
    )
    group = zarr.create_group(folder / "groups.zarr")
    with h5py.File(folder / "rows.hdf5", "w") as file:
        for number in range(num_clips):
            features = clip_features(number, num_rows)
            parts.commit(clip_key(number), features, {})
            sources.append((parts, clip_key(number)))
            rows = features.streams["visual"][0]
            flat[number * num_rows : (number + 1) * num_rows] = rows
            file.create_dataset(f"{clip_name(number)}/visual", data=rows)
            group.create_array(
                f"{clip_name(number)}/visual",
                data=rows,
                chunks=(WINDOW_ROWS, NUM_FEATURES),
                compressors=None,
                filters=None,
            )
    flat.flush()
    pack_store(sources, SPEC, folder / "features.zarr")
    return sources


def memory_map_reader(folder: Path, num_clips: int, num_rows: int) -> Read:
    """One npy file of all rows, memory-mapped, and a table of where each clip begins."""
    flat = np.load(folder / "rows.npy", mmap_mode="r")
    first = {clip_name(number): number * num_rows for number in range(num_clips)}

    def read(window: Window) -> NDArray[np.float16]:
        start = first[window.clip] + window.start
        return np.array(flat[start : start + WINDOW_ROWS])

    return read


def hdf5_reader(folder: Path, num_clips: int, num_rows: int) -> Read:
    """HDF5, one contiguous dataset per clip, looked up in the open file."""
    import h5py

    file: Any = h5py.File(folder / "rows.hdf5", "r")
    return lambda window: file[window.clip]["visual"][window.start : window.start + WINDOW_ROWS]


def hdf5_dataset_reader(folder: Path, num_clips: int, num_rows: int) -> Read:
    """The same with every clip's dataset looked up beforehand."""
    import h5py

    file: Any = h5py.File(folder / "rows.hdf5", "r")
    datasets = {clip: file[clip]["visual"] for clip in file}
    return lambda window: datasets[window.clip][window.start : window.start + WINDOW_ROWS]


def zarr_reader(folder: Path, num_clips: int, num_rows: int) -> Read:
    """Zarr, one group per clip, through zarr-python, looked up in the open group."""
    import zarr

    group: Any = zarr.open_group(folder / "groups.zarr", mode="r")
    return lambda window: group[f"{window.clip}/visual"][window.start : window.start + WINDOW_ROWS]


def zarr_array_reader(folder: Path, num_clips: int, num_rows: int) -> Read:
    """The same with every clip's array looked up beforehand."""
    import zarr

    group: Any = zarr.open_group(folder / "groups.zarr", mode="r")
    arrays = {clip: group[f"{clip}/visual"] for clip in map(clip_name, range(num_clips))}
    return lambda window: arrays[window.clip][window.start : window.start + WINDOW_ROWS]


def store_reader(folder: Path, num_clips: int, num_rows: int) -> Read:
    """The store, by clip and window."""
    store = FeatureStore.open(folder / "features.zarr")
    return lambda window: store[window.clip].window(window.start, window.start + WINDOW_ROWS).visual[0]


def store_batch_reader(folder: Path, num_clips: int, num_rows: int) -> Read:
    """The store, into the memory of a batch of 6, which is the paper's."""
    store = FeatureStore.open(folder / "features.zarr")
    places = cycle(np.empty((6, WINDOW_ROWS, NUM_FEATURES), np.float16))

    def read(window: Window) -> NDArray[np.float16]:
        place = next(places)
        store.read_into(place, "visual", store.row_range(window.clip).start + window.start, 0)
        return place

    return read


READERS: dict[str, Callable[[Path, int, int], Read]] = {
    "store": store_reader,
    "store_into_batch": store_batch_reader,
    "npy_memory_map": memory_map_reader,
    "hdf5_contiguous_per_clip": hdf5_reader,
    "hdf5_contiguous_per_clip_datasets_kept": hdf5_dataset_reader,
    "zarr_group_per_clip": zarr_reader,
    "zarr_group_per_clip_arrays_kept": zarr_array_reader,
}


def random_windows(seed: int, count: int, num_clips: int, num_rows: int) -> Sequence[Window]:
    """Windows at random places of random clips."""
    rng = np.random.default_rng(seed)
    clips = rng.integers(0, num_clips, count)
    starts = rng.integers(0, num_rows - WINDOW_ROWS + 1, count)
    return [Window(clip_name(clip), int(start)) for clip, start in zip(clips, starts, strict=True)]
