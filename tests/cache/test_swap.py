"""Replacing a store: whatever kills a packer, what is opened next is whole, and the next pack as ever."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest

from cache import (
    ClipKey,
    CompletionRecord,
    FeatureSpec,
    FeatureStore,
    IncompleteStoreError,
    PartStore,
    StorageError,
    StoreFormatError,
    pack_store,
    swap,
)
from cache.file_digest import file_digest
from cache.swap import replacement_of_store

ROOT = Path(__file__).parents[2]
SMALL = {"chunk_rows": 2, "shard_rows": 4}

# Packs, and kills itself before its n-th call of the functions that change the disk ("disk"), of one of them
# (by its name), or of any function at all ("call"). Gives the calls where it comes to its end.
PACKER = """
import json, os, signal, sys, threading
from pathlib import Path
import zarr
from cache import ClipKey, FeatureSpec, PartStore, pack_store
from zarr.codecs import Crc32cCodec  # imported here once, and not by each packer

work, destination, spec = Path(sys.argv[1]), Path(sys.argv[2]), FeatureSpec.from_json(sys.argv[3])
sources = [(PartStore(work), ClipKey(**key)) for key in json.loads(sys.argv[4])]

def pack(kind, number):
    calls = []
    one_at_a_time = threading.Lock()  # zarr writes from several threads
    def tick(name):
        with one_at_a_time:
            calls.append(name)
            if len(calls) == number:
                os.kill(os.getpid(), signal.SIGKILL)
    def ticking(name, function):
        def call(*arguments, **options):
            tick(name)
            return function(*arguments, **options)
        return call
    if kind != "call":
        for name in ("rename", "replace", "mkdir", "unlink", "rmdir", "fsync") if kind == "disk" else (kind,):
            setattr(os, name, ticking(name, getattr(os, name)))
    else:
        sys.setprofile(lambda frame, event, argument: tick("") if event == "call" else None)
    pack_store(sources, spec, destination, chunk_rows=2, shard_rows=4)
    sys.setprofile(None)
    return calls
"""

ONE_PACKER = f"""{PACKER}
import logging
logging.basicConfig()
pack("disk", 0)
"""

# A packer for every line: forked, because to start Python and import zarr takes longer than to pack.
PACKERS = f"""{PACKER}
for line in sys.stdin:
    kind, number = json.loads(line)
    packer = os.fork()
    if not packer:
        try:
            Path(sys.argv[5]).write_text(json.dumps(pack(kind, number)))
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(packer, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
"""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A previous store, the parts of the next one, and what the next one's bytes have to be."""

    path: Path
    sources: list[tuple[PartStore, ClipKey]]
    spec: FeatureSpec
    previous: Path
    next_objects: dict[str, bytes]
    previous_digest: str
    next_digest: str
    packers: subprocess.Popen[str]
    arguments: list[str]
    calls_file: Path

    def run(self, kind: str, number: int) -> int:
        """Pack in another process, to be killed at the n-th call; gives its exit code, minus the signal."""
        assert self.packers.stdin is not None
        assert self.packers.stdout is not None
        self.packers.stdin.write(json.dumps([kind, number]) + "\n")
        self.packers.stdin.flush()
        return int(self.packers.stdout.readline())

    def calls(self, kind: str, *, with_previous: bool = True) -> list[str]:
        """The calls of an undisturbed packer."""
        self.reset(with_previous=with_previous)
        assert self.run(kind, 0) == 0
        calls: list[str] = json.loads(self.calls_file.read_text())
        return calls

    def start_packer(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", ONE_PACKER, *self.arguments], cwd=ROOT, stderr=subprocess.PIPE, text=True
        )

    def reset(self, *, with_previous: bool = True) -> None:
        shutil.rmtree(self.path.parent, ignore_errors=True)
        self.path.parent.mkdir()
        if with_previous:
            shutil.copytree(self.previous, self.path)

    def siblings(self) -> list[str]:
        return sorted(name for name in os.listdir(self.path.parent) if name != self.path.name)

    def leave_between_the_renames(self) -> tuple[Path, Path]:
        """What a packer leaves that is killed between its two renames: the new store and the old one."""
        self.reset(with_previous=False)
        pack_store(self.sources, self.spec, self.path, **SMALL)
        new, old = (self.path.with_name(f".{self.path.name}.{kind}-{16 * 'a'}") for kind in ("new", "old"))
        self.path.rename(new)
        shutil.copytree(self.previous, old)
        return new, old


@pytest.fixture(scope="module")
def scene(
    tmp_path_factory: pytest.TempPathFactory, spec: FeatureSpec, commit_clips: Any, objects_of: Any
) -> Iterator[Scene]:
    directory = tmp_path_factory.mktemp("swap")
    before, _ = commit_clips(directory / "parts_before", [3, 2], seed=70)
    sources, _ = commit_clips(directory / "parts", [5, 0, 4])
    pack_store(before, spec, directory / "previous", **SMALL)
    pack_store(sources, spec, directory / "undisturbed", **SMALL)
    path = directory / "data" / "features.zarr"
    keys = json.dumps([asdict(key) for _, key in sources])
    arguments = [str(directory / "parts"), str(path), spec.to_json(), keys, str(directory / "calls.json")]
    packers = subprocess.Popen(
        [sys.executable, "-c", PACKERS, *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    yield Scene(
        path=path,
        sources=sources,
        spec=spec,
        previous=directory / "previous",
        next_objects=objects_of(directory / "undisturbed"),
        previous_digest=FeatureStore.open(directory / "previous").digest,
        next_digest=FeatureStore.open(directory / "undisturbed").digest,
        packers=packers,
        arguments=arguments,
        calls_file=directory / "calls.json",
    )
    packers.communicate()


def open_digest(path: Path) -> str:
    store = FeatureStore.open(path)
    for name, facts in CompletionRecord.read(path).objects.items():
        assert file_digest(path / name) == facts.sha256
    return store.digest


def pack_after_a_kill(scene: Scene, objects_of: Callable[[Path], dict[str, bytes]]) -> None:
    """The next pack gives the undisturbed store and removes what the killed one left."""
    pack_store(scene.sources, scene.spec, scene.path, **SMALL)
    assert objects_of(scene.path) == scene.next_objects
    assert scene.siblings() == []
    assert open_digest(scene.path) == scene.next_digest


def test_killed_around_the_renames(scene: Scene, objects_of: Any) -> None:
    calls = scene.calls("disk")
    assert objects_of(scene.path) == scene.next_objects
    assert scene.siblings() == []
    assert calls.count("rename") == 2
    after = calls[len(calls) - calls[::-1].index("rename") :]
    assert after[0] == "fsync"
    # By name, because the order of the calls before the renames differs from run to run.
    for name, number, missing, digest, open_first in [
        ("mkdir", 1, False, scene.previous_digest, False),
        ("rename", 1, False, scene.previous_digest, True),
        ("rename", 2, True, scene.next_digest, True),
        ("rename", 2, True, scene.next_digest, False),
        ("fsync", calls.count("fsync") - after.count("fsync") + 1, False, scene.next_digest, True),
        # Half of the old store is removed.
        ("unlink", calls.count("unlink") - after.count("unlink") // 2, False, scene.next_digest, False),
    ]:
        scene.reset()
        assert scene.run(name, number) == -signal.SIGKILL
        assert scene.path.exists() != missing
        if open_first:
            assert open_digest(scene.path) == digest
        pack_after_a_kill(scene, objects_of)


@pytest.mark.parametrize("kind", ["disk", "call"])
@pytest.mark.parametrize("with_previous", [True, False])
def test_killed_anywhere(scene: Scene, objects_of: Any, kind: str, with_previous: bool) -> None:
    num_calls = len(scene.calls(kind, with_previous=with_previous))
    # Not among the last calls: how often the main thread waits for others differs from run to run.
    for number in random.Random(11).sample(range(1, num_calls * 19 // 20), 2):
        scene.reset(with_previous=with_previous)
        assert scene.run(kind, number) == -signal.SIGKILL
        try:
            assert open_digest(scene.path) in (scene.previous_digest, scene.next_digest)
        except IncompleteStoreError:
            assert not with_previous
        pack_after_a_kill(scene, objects_of)


def test_a_store_that_the_user_removed_is_not_brought_back(scene: Scene) -> None:
    new, old = scene.leave_between_the_renames()
    shutil.rmtree(new)
    with pytest.raises(IncompleteStoreError, match="no feature store there"):
        FeatureStore.open(scene.path)
    old.rename(scene.path.with_name(f".{scene.path.name}.new-{16 * 'b'}"))
    shutil.copytree(scene.previous, old)
    with pytest.raises(IncompleteStoreError, match="no feature store there"):
        FeatureStore.open(scene.path)  # the old one of one run, the new one of another


def test_between_the_renames_the_new_store_wins(scene: Scene) -> None:
    scene.leave_between_the_renames()
    assert open_digest(scene.path) == scene.next_digest


def test_between_the_renames_a_damaged_new_store_gives_way(scene: Scene) -> None:
    new, _ = scene.leave_between_the_renames()
    (new / "audio/c/0/0").unlink()
    assert open_digest(scene.path) == scene.previous_digest


def test_between_the_renames_a_new_store_without_a_record_gives_way(scene: Scene) -> None:
    new, _ = scene.leave_between_the_renames()
    shutil.rmtree(new / "completion")
    (new / "zarr.json").unlink()
    assert open_digest(scene.path) == scene.previous_digest


def test_between_the_renames_a_new_store_of_another_version_is_not_taken_for_damaged(scene: Scene) -> None:
    new, old = scene.leave_between_the_renames()
    record = new / "completion" / "zarr.json"
    document = json.loads(record.read_text())
    document["attributes"]["format_version"] = 1
    record.write_text(json.dumps(document))
    with pytest.raises(StoreFormatError, match="version 1; pack it again"):
        FeatureStore.open(scene.path)
    assert json.loads((scene.path / "completion" / "zarr.json").read_text()) == document
    assert old.exists()


def test_between_the_renames_a_pack_that_fails_leaves_the_new_store(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.leave_between_the_renames()

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(StorageError, match="No space left on device"):
        pack_store(scene.sources, scene.spec, scene.path, **SMALL)
    assert open_digest(scene.path) == scene.next_digest
    assert scene.siblings() == []


def test_what_cannot_be_healed_is_explained(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.leave_between_the_renames()

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(
        IncompleteStoreError, match=r"a run was killed while it replaced .*Read-only file system"
    ):
        FeatureStore.open(scene.path)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("number", [1, 2])
def test_an_interrupt_at_a_rename_leaves_a_whole_store(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, number: int, after: bool
) -> None:
    scene.reset()
    rename, calls = os.rename, []

    def interrupted(source: Path, target: Path) -> None:
        calls.append(source)
        if len(calls) == number and not after:
            raise KeyboardInterrupt
        rename(source, target)
        if len(calls) == number:
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pack_store(scene.sources, scene.spec, scene.path, **SMALL)
    swapped = (number, after) == (2, True)
    assert open_digest(scene.path) == (scene.next_digest if swapped else scene.previous_digest)
    assert len(scene.siblings()) == swapped  # the old store, for the next pack to remove


@pytest.mark.parametrize("name", ["s*[1]?.zarr", "ünï store", "-s", f"s.old-{16 * 'c'}"])
def test_names_of_stores_are_text(tmp_path: Path, scene: Scene, objects_of: Any, name: str) -> None:
    bystander = tmp_path / f".s.new-{16 * 'c'}"
    bystander.mkdir()
    for _ in range(2):
        pack_store(scene.sources, scene.spec, tmp_path / name, **SMALL)
    assert objects_of(tmp_path / name) == scene.next_objects
    assert set(os.listdir(tmp_path)) == {name, bystander.name}


def test_a_store_whose_name_begins_as_a_leftover_does(tmp_path: Path, scene: Scene, objects_of: Any) -> None:
    """`.s.new-b.new-TOKEN` is of the store `s.new-b`: packing `s` meanwhile leaves it alone."""

    def pack_the_other(_: int) -> None:
        pack_store(scene.sources, scene.spec, tmp_path / "s", **SMALL)

    path = tmp_path / "s.new-b"
    pack_store(scene.sources, scene.spec, path, progress=pack_the_other, **SMALL)
    assert objects_of(path) == objects_of(tmp_path / "s") == scene.next_objects


def test_a_relative_path(scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pack_store(scene.sources, scene.spec, Path("s.zarr"), **SMALL)
    assert open_digest(Path("s.zarr")) == scene.next_digest


def test_a_packer_waits_for_those_before_it(scene: Scene, objects_of: Any) -> None:
    scene.reset()
    lock = scene.path.with_name(f".{scene.path.name}.lock")
    with lock.open("w") as first:
        fcntl.flock(first, fcntl.LOCK_EX)
        packer = scene.start_packer()
        assert packer.stderr is not None
        assert "waiting for another process that is replacing" in packer.stderr.readline()
        # As the first packer does before it lets go; a third one comes before the second is awake.
        lock.unlink()
        third = lock.open("w")
        fcntl.flock(third, fcntl.LOCK_EX)
    with third:
        assert "waiting for another process that is replacing" in packer.stderr.readline()
        assert open_digest(scene.path) == scene.previous_digest
        lock.unlink()
    assert packer.communicate()[1] == ""
    assert packer.returncode == 0
    assert objects_of(scene.path) == scene.next_objects
    assert scene.siblings() == []


def test_packers_of_one_store_at_once(scene: Scene, objects_of: Any) -> None:
    scene.reset()
    packers = [scene.start_packer() for _ in range(2)]
    assert [(packer.communicate()[1].count("Error"), packer.returncode) for packer in packers] == [(0, 0)] * 2
    assert objects_of(scene.path) == scene.next_objects
    assert scene.siblings() == []


def test_file_systems_without_locks(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.reset()

    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    monkeypatch.setattr(fcntl, "flock", refuse)
    pack_store(scene.sources, scene.spec, scene.path, **SMALL)
    assert open_digest(scene.path) == scene.next_digest


def test_without_locks_the_second_packer_wins_and_the_first_fails(
    scene: Scene, objects_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.reset()
    packed: list[int] = []

    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    def pack_once_more(_: int) -> None:
        if not packed:
            packed.append(1)
            pack_store(scene.sources, scene.spec, scene.path, **SMALL)

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(StorageError, match="cannot write the store"):
        pack_store(scene.sources, scene.spec, scene.path, progress=pack_once_more, **SMALL)
    assert objects_of(scene.path) == scene.next_objects
    assert scene.siblings() == []


@pytest.mark.parametrize("gone", ["audio/c/0/0", "completion/zarr.json", "visual", ""])
def test_a_store_that_lost_something_replaces_no_good_one(
    scene: Scene, objects_of: Any, monkeypatch: pytest.MonkeyPatch, gone: str
) -> None:
    """Whatever removes a part of the new store before its swap, the previous one stays."""
    scene.reset()
    before = objects_of(scene.path)
    write = CompletionRecord.write

    def write_and_lose(record: CompletionRecord, store: Path) -> None:
        write(record, store)
        (store / gone).unlink() if (store / gone).is_file() else shutil.rmtree(store / gone)

    monkeypatch.setattr(CompletionRecord, "write", write_and_lose)
    with pytest.raises(StorageError, match=r"another process removed .* before is untouched"):
        pack_store(scene.sources, scene.spec, scene.path, **SMALL)
    assert objects_of(scene.path) == before
    assert scene.siblings() == []


def test_a_folder_that_cannot_be_listed_is_not_swapped_in(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.reset()
    renames: list[Any] = []
    monkeypatch.setattr(os, "rename", lambda *names: renames.append(names))
    with pytest.raises(FileNotFoundError), replacement_of_store(scene.path) as new:
        new.rmdir()
    assert renames == []


def test_a_flush_that_fails_after_the_swap_is_told_as_such(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.reset()

    def fail(path: Path) -> None:
        if path == scene.path.parent:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(swap, "sync", fail)
    with pytest.raises(StorageError, match=r"the new store is at .* not be flushed .*Input/output error"):
        pack_store(scene.sources, scene.spec, scene.path, **SMALL)
    assert open_digest(scene.path) == scene.next_digest
    assert scene.siblings() == []


@pytest.mark.parametrize("interrupt", [False, True])
def test_what_appears_between_the_renames_costs_no_store(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, interrupt: bool
) -> None:
    scene.reset()
    rename = os.rename

    def put_something_there(source: Path, target: Path) -> None:
        if target == scene.path:
            scene.path.mkdir()
            (scene.path / "mine").touch()
            if interrupt:
                raise KeyboardInterrupt
        rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", put_something_there)
        with pytest.raises(StorageError, match="something else was put there") as raised:
            pack_store(scene.sources, scene.spec, scene.path, **SMALL)
    assert os.listdir(scene.path) == ["mine"]
    (kept,) = scene.siblings()
    assert str(scene.path.with_name(kept)) in str(raised.value)
    shutil.rmtree(scene.path)
    pack_store(scene.sources, scene.spec, scene.path, **SMALL)
    assert open_digest(scene.path.with_name(kept)) == scene.previous_digest


def test_everything_is_on_the_disk_before_the_swap(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each file and directory of the new store is flushed before the first rename."""
    scene.reset()
    events: list[tuple[str, str]] = []
    rename = os.rename

    def spy_fsync(descriptor: int) -> None:
        events.append(("fsync", os.readlink(f"/proc/self/fd/{descriptor}")))

    def spy_rename(source: Path, target: Path) -> None:
        events.append(("rename", str(source)))
        rename(source, target)

    monkeypatch.setattr(os, "fsync", spy_fsync)
    monkeypatch.setattr(os, "rename", spy_rename)
    pack_store(scene.sources, scene.spec, scene.path, **SMALL)
    renames = [index for index, (name, _) in enumerate(events) if name == "rename"]
    new = Path(events[renames[1]][1])
    flushed = {Path(path) for name, path in events[: renames[0]] if name == "fsync"}
    written = [new, *(new / path.relative_to(scene.path) for path in scene.path.rglob("*"))]
    assert flushed >= set(written)
    assert ("fsync", str(scene.path.parent)) in events[renames[1] :]
