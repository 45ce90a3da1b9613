"""The store as an output of DVC: added, pushed, lost, pulled and still sound, in few objects."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cache import ClipFeatures, ClipKey, FeatureSpec, FeatureStore, PartStore, StreamSpec, pack_store
from cache.verify import verify_store

SPEC = FeatureSpec(
    streams=(
        StreamSpec(name="visual", num_features=8, views=("center",)),
        StreamSpec(name="audio", num_features=4),
    ),
    settings={"audio.anchor": "center"},
)
NUM_CLIPS, NUM_FRAMES = 40, 30
# Streams, arrays beside them, the table of clips, names of views and box edges, and metadata of each.
MAX_OBJECTS = 60


class Project:
    """A folder with a store, tracked by DVC without git, and a remote beside it."""

    def __init__(self, root: Path) -> None:
        self.folder = root / "project"
        self.remote = root / "remote"
        self.store = self.folder / "features.zarr"
        self.cache = self.folder / ".dvc" / "cache"
        self._site = root / "site"
        self._parts = PartStore(root / "parts")
        self.folder.mkdir()
        self.dvc("init", "--no-scm")
        self.dvc("remote", "add", "--default", "here", str(self.remote))

    def dvc(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "dvc", *arguments],
            cwd=self.folder,
            env={**os.environ, "DVC_NO_ANALYTICS": "1", "DVC_SITE_CACHE_DIR": str(self._site)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def pack(self, num_clips: int) -> str:
        """Pack a store of so many clips in place of the one that is there; gives its digest."""
        sources = []
        for number in range(num_clips):
            key = ClipKey(
                clip_id=f"clip{number}",
                media_sha256=f"{number:064x}",
                faces_sha256=None,
                selection="all",
                fingerprint=SPEC.fingerprint,
            )
            if key not in self._parts:
                self._parts.commit(key, features(number), {})
            sources.append((self._parts, key))
        pack_store(sources, SPEC, self.store)
        return FeatureStore.open(self.store).digest


def features(number: int) -> ClipFeatures:
    rng = np.random.default_rng(number)
    return ClipFeatures(
        streams={
            stream.name: rng.standard_normal(stream.shape(NUM_FRAMES)).astype(np.float16)
            for stream in SPEC.streams
        },
        time_s=np.arange(NUM_FRAMES) / 25,
        source_frame=np.arange(NUM_FRAMES),
        face_found=np.ones(NUM_FRAMES, bool),
        audio_found=np.ones(NUM_FRAMES, bool),
        face_box=np.ones((NUM_FRAMES, 4), np.float32),
        face_score=np.ones(NUM_FRAMES, np.float32),
    )


def num_files(folder: Path) -> int:
    return sum(path.is_file() for path in folder.rglob("*"))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(tmp_path_factory.mktemp("dvc_store"))


def test_a_store_comes_back_from_a_remote(project: Project) -> None:
    digest = project.pack(NUM_CLIPS)
    project.dvc("add", "features.zarr")
    assert verify_store(project.store, deep=True).is_sound, "DVC's links changed the store"
    project.dvc("push")
    # DVC's remote holds each object once, and a list of them.
    assert num_files(project.remote) <= num_files(project.store) + 1 <= MAX_OBJECTS
    assert json.loads(project.dvc("status", "--json")) == {}
    shutil.rmtree(project.store)
    shutil.rmtree(project.cache)
    assert "not in cache" in project.dvc("status", "--json")
    project.dvc("pull")
    assert json.loads(project.dvc("status", "--json")) == {}
    report = verify_store(project.store, deep=True)
    assert report.is_sound, report.problems
    store = FeatureStore.open(project.store)
    assert store.digest == digest
    for number, clip in enumerate(store):
        assert np.array_equal(store[clip].visual, features(number).streams["visual"])

    # A clip more: DVC sees it, and the previous store comes back from its cache.
    larger = project.pack(NUM_CLIPS + 1)
    assert "modified" in project.dvc("status", "--json")
    project.dvc("add", "features.zarr")
    assert FeatureStore.open(project.store).digest == larger
    assert num_files(project.store) <= MAX_OBJECTS


def test_an_object_that_a_remote_lost_is_missed(project: Project) -> None:
    """What DVC could not bring back does not read as zeros."""
    project.pack(NUM_CLIPS)
    (project.store / "audio/c/0/0").unlink()
    report = verify_store(project.store)
    assert [problem.object for problem in report.problems] == ["audio/c/0/0"]
