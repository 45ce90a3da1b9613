"""The store beside other layouts and beside `cp`: random windows, full load, packing, files, DVC.

Everything is a ratio within one run, since two runs on a shared machine differ by more than what is measured:
the things compared take turns, round by round, and each ratio is the median over the rounds. Files come from
a warm page cache. `--share 0.05` is a quick trial.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import numpy as np
from machine import write_result
from window_layouts import (
    NUM_FEATURES,
    READERS,
    SPEC,
    WINDOW_ROWS,
    Read,
    Window,
    clip_features,
    clip_key,
    clip_name,
    random_windows,
    write_layouts,
)

from cache import ClipKey, FeatureSpec, FeatureStore, PartStore, StreamSpec, pack_store
from cache.row_source import FeaturesSource
from cache.store_writer import write_store

NUM_CLIPS, ROWS_PER_CLIP = 200, 3906  # 800 MB of float16
NUM_WINDOWS, ROUNDS = 1500, 5
NUM_ROWS_OF_COUNT = 1_000_000


def seconds_of(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def windows_per_s(read: Read, chosen: Sequence[Window]) -> float:
    # Windows are let go of, as in training: all of them would measure how fast the system gives out memory.
    def read_all() -> None:
        for window in chosen:
            read(window)

    return len(chosen) / seconds_of(read_all)


def ratios(above: list[float], below: list[float]) -> float:
    """Median over the rounds."""
    return round(statistics.median(a / b for a, b in zip(above, below, strict=True)), 3)


def windows(folder: Path, num_rows: int) -> dict[str, object]:
    """Random windows per second, first as opened and then with all files touched."""
    first: dict[str, list[float]] = defaultdict(list)
    touched: dict[str, list[float]] = defaultdict(list)
    for turn in range(ROUNDS):
        chosen = random_windows(turn, NUM_WINDOWS, NUM_CLIPS, num_rows)
        others = random_windows(ROUNDS + turn, NUM_WINDOWS, NUM_CLIPS, num_rows)
        wanted = None
        for name, reader in READERS.items():
            read = reader(folder, NUM_CLIPS, num_rows)
            first[name].append(windows_per_s(read, others))
            for clip in map(clip_name, range(NUM_CLIPS)):  # the rest
                for start in range(0, num_rows - WINDOW_ROWS + 1, WINDOW_ROWS):
                    read(Window(clip, start))
                read(Window(clip, num_rows - WINDOW_ROWS))
            touched[name].append(windows_per_s(read, chosen))
            found = read(chosen[0])
            wanted = found if wanted is None else wanted
            assert np.array_equal(found, wanted), name
    compared = [name for name in READERS if not name.startswith("store")]
    return {
        "rows_per_window": WINDOW_ROWS,
        "features": NUM_FEATURES,
        "windows_per_round": NUM_WINDOWS,
        "megabytes": round(NUM_CLIPS * num_rows * NUM_FEATURES * 2 / 1e6),
        "clips": NUM_CLIPS,
        "windows_per_s": {name: round(statistics.median(rates)) for name, rates in touched.items()},
        "windows_per_s_at_first_touch": {
            name: round(statistics.median(rates)) for name, rates in first.items()
        },
        "store_over_others": {name: ratios(touched["store"], touched[name]) for name in compared},
        "store_into_batch_over_others": {
            name: ratios(touched["store_into_batch"], touched[name]) for name in compared
        },
        "store_over_others_at_first_touch": {name: ratios(first["store"], first[name]) for name in compared},
    }


def full_load(folder: Path) -> dict[str, object]:
    """All rows into memory, each chunk compared with its checksum."""
    seconds: dict[str, list[float]] = defaultdict(list)
    num_bytes = 0
    for _ in range(ROUNDS):
        store = FeatureStore.open(folder / "features.zarr")
        start = time.perf_counter()
        loaded = store.load()
        seconds["store"].append(time.perf_counter() - start)
        num_bytes = sum(rows.nbytes for rows in loaded.streams.values()) + sum(
            value.nbytes for value in vars(loaded).values() if isinstance(value, np.ndarray)
        )
        del loaded, store
        seconds["npy"].append(seconds_of(lambda: np.load(folder / "rows.npy")))
    return {
        "gigabytes": round(num_bytes / 1e9, 2),
        "store_gb_per_s": round(num_bytes / 1e9 / statistics.median(seconds["store"]), 2),
        "npy_gb_per_s": round(
            (folder / "rows.npy").stat().st_size / 1e9 / statistics.median(seconds["npy"]), 2
        ),
    }


def packing(folder: Path, parts: list[tuple[PartStore, ClipKey]]) -> dict[str, object]:
    """Packing parts beside copying the packed store with `cp`, and with and without flushing to the disk."""
    store, copy = folder / "features.zarr", folder / "copy"
    num_bytes = sum(path.stat().st_size for path in store.rglob("*") if path.is_file())

    def cp() -> None:
        subprocess.run(["cp", "-r", store, copy], check=True)

    def cp_and_flush() -> None:
        cp()
        for path in [*copy.rglob("*"), copy]:
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)

    def pack_without_flush() -> None:
        with mock.patch("os.fsync"):
            pack_store(parts, SPEC, copy)

    work: dict[str, Callable[[], object]] = {
        "cp": cp,
        "pack_without_flush": pack_without_flush,
        "cp_and_flush": cp_and_flush,
        "pack": lambda: pack_store(parts, SPEC, copy),
    }
    seconds: dict[str, list[float]] = defaultdict(list)
    for _ in range(ROUNDS):
        for name, each in work.items():
            shutil.rmtree(copy, ignore_errors=True)
            os.sync()  # nothing of earlier rounds is left to be written meanwhile
            seconds[name].append(seconds_of(each))
    shutil.rmtree(copy)
    return {
        "gigabytes": round(num_bytes / 1e9, 2),
        "gb_per_s": {
            name: round(num_bytes / 1e9 / statistics.median(each), 2) for name, each in seconds.items()
        },
        "pack_over_cp": ratios(seconds["cp"], seconds["pack"]),
        "pack_over_cp_both_flushed": ratios(seconds["cp_and_flush"], seconds["pack"]),
        "pack_over_cp_neither_flushed": ratios(seconds["cp"], seconds["pack_without_flush"]),
    }


def files(folder: Path, num_rows: int) -> dict[str, object]:
    """Files of a store of a million rows, of few clips and of many."""
    spec = FeatureSpec(
        streams=(
            StreamSpec(name="visual", num_features=512, views=("center",)),
            StreamSpec(name="audio", num_features=128),
        ),
        settings={"benchmark": "files"},
    )
    counts = {}
    for num_clips in (10, 10_000):
        features = clip_features(0, num_rows // num_clips, spec)
        write_store(
            (FeaturesSource(clip_key(number, spec), features, {}) for number in range(num_clips)),
            spec,
            folder / "counted.zarr",
        )
        counts[f"{num_clips} clips"] = sum(path.is_file() for path in (folder / "counted.zarr").rglob("*"))
    shutil.rmtree(folder / "counted.zarr")
    return {"rows": num_rows, "files": counts}


def dvc(folder: Path) -> dict[str, object]:
    """Seconds that DVC takes for the store, and for the layout of one Zarr group per clip."""
    seconds: dict[str, dict[str, float]] = {}
    for name in ("features.zarr", "groups.zarr"):
        project = folder / f"dvc_{name}"
        project.mkdir()
        with _dvc_command(project) as run:
            run("init", "--no-scm", "--quiet")
            run("remote", "add", "--quiet", "--default", "here", str(folder / f"remote_{name}"))
            shutil.copytree(folder / name, project / name)
            seconds[name] = {command: run(command, name) for command in ("add", "status", "push")}
            shutil.rmtree(project / name)
            shutil.rmtree(project / ".dvc" / "cache")
            seconds[name]["pull"] = run("pull", name)
        shutil.rmtree(project)
        shutil.rmtree(folder / f"remote_{name}")
    return {
        "seconds": seconds,
        "files": {name: sum(path.is_file() for path in (folder / name).rglob("*")) for name in seconds},
    }


@contextmanager
def _dvc_command(project: Path) -> Iterator[Callable[..., float]]:
    """Runs DVC in a project; gives seconds."""
    environment = {**os.environ, "DVC_NO_ANALYTICS": "1", "DVC_SITE_CACHE_DIR": str(project / "site")}

    def run(*arguments: str) -> float:
        command = [sys.executable, "-m", "dvc", *arguments]
        return round(
            seconds_of(
                lambda: subprocess.run(
                    command, cwd=project, env=environment, check=True, stdout=subprocess.DEVNULL
                )
            ),
            2,
        )

    yield run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=float, default=1.0, help="share of the rows, for a quick trial")
    parser.add_argument("--folder", type=Path, help="where to write some 10 GB; a temporary folder if none")
    options = parser.parse_args()
    num_rows = max(2 * WINDOW_ROWS, round(ROWS_PER_CLIP * options.share))
    with tempfile.TemporaryDirectory(prefix="tagf-store-benchmark-", dir=options.folder) as name:
        folder = Path(name)
        parts = write_layouts(folder, NUM_CLIPS, num_rows)
        figures = {
            "share_of_rows": options.share,
            "rounds": ROUNDS,
            "windows": windows(folder, num_rows),
            "full_load": full_load(folder),
            "packing": packing(folder, parts),
            "files": files(folder, max(10_000, round(NUM_ROWS_OF_COUNT * options.share))),
            "dvc": dvc(folder),
        }
    if options.share == 1:
        write_result("store", figures)
    else:
        print(figures)


if __name__ == "__main__":
    main()
