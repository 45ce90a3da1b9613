"""A disk that is full, for real: a clear error, and everything as it was before.

The writers run in a process of their own: one with a limit on the size of files (EFBIG), one with a small
file system of its own (ENOSPC), where the machine lets a test mount one.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from cache import FeatureSpec, pack_store

ROOT = Path(__file__).parents[2]
OWN_MOUNTS = ["unshare", "--user", "--map-root-user", "--mount"]

# Does one thing, and says what became of it.
WRITER = """
import json, resource, sys
from pathlib import Path
from cache import ClipKey, FeatureSpec, FeatureStore, PartStore, StorageError, merge_stores, pack_store

what, work, destination, spec, keys, limit = json.loads(sys.argv[1])
spec = FeatureSpec.from_json(spec)
sources = [(PartStore(Path(work)), ClipKey(**key)) for key in keys]
if limit is not None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    if what == "part":
        parts, key = PartStore(Path(destination)), sources[0][1]
        features = sources[0][0].read(key).features
        PartStore(Path(destination)).commit(key, features, {})
    elif what == "merge":
        merge_stores([FeatureStore.open(Path(work) / "whole.zarr")], Path(destination))
    else:
        pack_store(sources, spec, Path(destination))
except StorageError as error:
    print("StorageError:", error)
else:
    print("written")
"""

# Mounts a file system at a folder, copies the previous content there, leaves so many KiB free, lets the
# writer write, copies what is there then. The mount is gone with the process.
IN_SMALL_SPACE = """
set -e
mount -t tmpfs tmpfs "$2"
cp -a "$1/." "$2"
mount -o remount,size=$(($(df -k --output=used "$2" | tail -n 1) + $3))k "$2"
"$4" -c "$5" "$6"
cp -a "$2/." "$7"
"""


@pytest.fixture(scope="module")
def scene(
    tmp_path_factory: pytest.TempPathFactory, spec: FeatureSpec, commit_clips: Any
) -> tuple[Path, list[dict[str, Any]]]:
    """Parts of a store of 1.2 MB, that store, and a smaller one in a place of its own."""
    directory = tmp_path_factory.mktemp("disk_full")
    sources, _ = commit_clips(directory / "parts", [9000, 5, 8000])
    before, _ = commit_clips(directory / "parts_before", [40], seed=7)
    pack_store(sources, spec, directory / "parts" / "whole.zarr")
    pack_store(before, spec, directory / "place" / "s.zarr")
    shutil.copytree(directory / "parts_before", directory / "place" / "parts")
    return directory, [asdict(key) for _, key in sources]


def order(scene: Any, spec: FeatureSpec, what: str, place: Path, limit: int | None) -> str:
    """What to tell the writer."""
    directory, keys = scene
    destination = place / ("parts" if what == "part" else "s.zarr")
    return json.dumps([what, str(directory / "parts"), str(destination), spec.to_json(), keys, limit])


def run(command: list[str]) -> str:
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize("what", ["pack", "merge", "part"])
@pytest.mark.parametrize("limit", [3_000, 100_000, 250_000])
def test_a_limit_on_the_size_of_files(
    scene: Any, tmp_path: Path, spec: FeatureSpec, objects_of: Any, what: str, limit: int
) -> None:
    place = tmp_path / "place"
    shutil.copytree(scene[0] / "place", place)
    before, parts = objects_of(place), objects_of(scene[0] / "parts")
    said = run([sys.executable, "-c", WRITER, order(scene, spec, what, place, limit)])
    assert said.startswith("StorageError: cannot write the ")
    assert "File too large" in said
    assert str(place) in said
    assert objects_of(place) == before
    assert objects_of(scene[0] / "parts") == parts


def mounts_are_allowed() -> bool:
    command = [*OWN_MOUNTS, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def in_small_space(
    scene: Any, tmp_path: Path, spec: FeatureSpec, what: str, free_kib: int
) -> tuple[str, Path]:
    """Let the writer write where so much is free; gives what it says, and what is there afterwards."""
    place, after = tmp_path / "place", tmp_path / "after"
    place.mkdir()
    after.mkdir()
    arguments = [str(scene[0] / "place"), str(place), str(free_kib), sys.executable, WRITER]
    arguments += [order(scene, spec, what, place, None), str(after)]
    said = run([*OWN_MOUNTS, "bash", "-c", IN_SMALL_SPACE, "-", *arguments])
    assert list(place.iterdir()) == []  # nothing was written beside the mount
    return said, after


needs_mounts = pytest.mark.skipif(not mounts_are_allowed(), reason="this machine lets no test mount a tmpfs")


@needs_mounts
@pytest.mark.parametrize("what", ["pack", "merge", "part"])
@pytest.mark.parametrize("free_kib", [0, 20, 300, 550])
def test_a_full_disk(
    scene: Any, tmp_path: Path, spec: FeatureSpec, objects_of: Any, what: str, free_kib: int
) -> None:
    before, parts = objects_of(scene[0] / "place"), objects_of(scene[0] / "parts")
    said, after = in_small_space(scene, tmp_path, spec, what, free_kib)
    assert said.startswith("StorageError: cannot write the "), said
    assert "No space left on device" in said
    assert objects_of(after) == before
    assert sorted(path.name for path in after.iterdir()) == ["parts", "s.zarr"]
    assert objects_of(scene[0] / "parts") == parts


@needs_mounts
def test_a_disk_with_room_for_both(scene: Any, tmp_path: Path, spec: FeatureSpec, objects_of: Any) -> None:
    said, after = in_small_space(scene, tmp_path, spec, "pack", 2000)
    assert said == "written\n"
    assert objects_of(after / "s.zarr") == objects_of(scene[0] / "parts" / "whole.zarr")
