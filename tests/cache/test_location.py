"""Places of stores: the same answers of a directory, of links to files and of an fsspec file system."""

from __future__ import annotations

import asyncio
import os
import pickle
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from cache import CacheError, CompletionRecord, IncompleteStoreError
from cache.location import ChangedObjectError, LocalFolder, Location, UnreadableObjectError, location_of
from cache.record import StoredObject

FILES = {"zarr.json": b"{}", "audio/c/0/0": bytes(range(200)), "completion/zarr.json": b"record"}


class Place:
    """A place with the files above, and how to change it behind the reader's back."""

    def __init__(self, system: Any, root: str, name: str | Path) -> None:
        self.location = location_of(name)
        self._system, self._root = system, root
        for path, data in FILES.items():
            self.write(path, data)

    def write(self, path: str, data: bytes) -> None:
        self._system.makedirs(os.path.dirname(f"{self._root}/{path}"), exist_ok=True)
        self._system.pipe_file(f"{self._root}/{path}", data)

    def remove(self, path: str) -> None:
        self._system.rm(f"{self._root}/{path}", recursive=True)


@pytest.fixture(params=["local", "links", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "memory":
        system, root = fsspec.filesystem("memory"), f"/{uuid.uuid4()}"
        yield Place(system, root, f"memory:/{root}/")
        system.rm(root, recursive=True)
        return
    local = fsspec.filesystem("file")
    made = Place(local, str(tmp_path / "s"), tmp_path / "s")
    if request.param == "links":  # as DVC leaves them with its cache type symlink
        (tmp_path / "s").rename(tmp_path / "kept")
        for path in FILES:
            (tmp_path / "s" / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "s" / path).symlink_to(tmp_path / "kept" / path)
    yield made


def test_every_object_by_its_relative_path(place: Place) -> None:
    assert place.location.sizes() == {path: len(data) for path, data in FILES.items()}


def test_bytes(place: Place) -> None:
    for path, data in FILES.items():
        assert place.location.read(path) == data
        assert [b"".join(place.location.blocks(path, size)) for size in (1, 7, 1000)] == [data] * 3
        assert place.location.tail(path, 5) == data[-5:]
        assert place.location.tail(path, 1000) == data
    assert place.location.read_many(list(FILES)) == FILES
    assert place.location.read_many([]) == {}
    assert len(list(place.location.blocks("audio/c/0/0", 50))) == 4


@pytest.mark.parametrize(
    "read",
    [
        lambda location: location.read("gone"),
        lambda location: location.read_many(["zarr.json", "gone"]),
        lambda location: location.tail("gone", 4),
        lambda location: list(location.blocks("gone")),
    ],
)
def test_what_is_missing(place: Place, read: Callable[[Location], object]) -> None:
    with pytest.raises(FileNotFoundError, match="is missing"):
        read(place.location)
    assert place.location.stamp("gone") is None


def test_a_place_that_is_not_there(place: Place) -> None:
    for path in FILES:
        place.remove(path)
    assert place.location.sizes() == {}
    assert place.location.identity() is None
    nowhere = location_of("memory://nowhere-at-all/x")
    assert (nowhere.sizes(), nowhere.identity()) == ({}, None)


def test_stamps_tell_states_apart(place: Place) -> None:
    before = place.location.stamps()
    assert place.location.stamps() == before
    identity = place.location.identity()
    assert place.location.identity() == identity == place.location.stamp("completion/zarr.json")
    place.location.require(before, list(FILES))
    place.write("completion/zarr.json", b"RECORD")  # of the same size
    assert place.location.identity() != identity
    place.location.require(before, ["zarr.json", "audio/c/0/0"])
    with pytest.raises(ChangedObjectError) as caught:
        place.location.require(before, list(FILES))
    assert caught.value.path == "completion/zarr.json"
    place.remove("audio/c/0/0")
    with pytest.raises(IncompleteStoreError, match=r"audio/c/0/0 is missing"):
        place.location.require(before, ["audio/c/0/0"])


def test_it_pickles(place: Place) -> None:
    again = pickle.loads(pickle.dumps(place.location))
    assert (again.name, again.sizes()) == (place.location.name, place.location.sizes())


def test_zarr_is_told_what_is_lost(place: Place) -> None:
    from zarr.core.buffer import default_buffer_prototype

    objects = {path: StoredObject(size_bytes=1, sha256="0" * 64) for path in FILES}
    record = CompletionRecord(fingerprint="", num_clips=0, num_frames=0, objects=objects)
    store = place.location.zarr_store(record)
    assert store.read_only

    def get(path: str) -> bytes | None:
        found = asyncio.run(store.get(path, default_buffer_prototype()))
        return None if found is None else found.to_bytes()

    assert get("audio/c/0/0") == FILES["audio/c/0/0"]
    assert get("audio/c/1/0") is None  # never written, which zarr may fill
    place.remove("audio/c/0/0")
    with pytest.raises(IncompleteStoreError, match="object audio/c/0/0 is missing"):
        get("audio/c/0/0")


def test_a_listing_without_sizes_is_filled_up(monkeypatch: pytest.MonkeyPatch) -> None:
    system, root = fsspec.filesystem("memory"), f"/{uuid.uuid4()}"
    system.pipe_file(f"{root}/a/b", b"bytes")
    find = type(system).find

    def without_sizes(self: Any, *arguments: Any, **options: Any) -> dict[str, Any]:  # as HTTP's
        return {name: {"type": "file", "size": None} for name in find(self, *arguments, **options)}

    monkeypatch.setattr(type(system), "find", without_sizes)
    assert location_of(f"memory:/{root}").sizes() == {"a/b": 5}
    system.rm(root, recursive=True)


def test_which_names_are_remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "s").mkdir()
    monkeypatch.chdir(tmp_path)
    assert location_of("s").local == location_of(Path("s")).local == tmp_path / "s"
    assert location_of("s").name == "s"
    assert location_of(f"file://{tmp_path}/s").local == tmp_path / "s"
    assert location_of("s3://bucket/features.zarr/").local is None
    assert location_of("s3://bucket/features.zarr/").name == "s3://bucket/features.zarr"
    here = location_of("s")
    assert location_of(here) is here


def test_a_relative_path_stays_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s/zarr.json").write_bytes(b"{}")
    monkeypatch.chdir(tmp_path)
    location = LocalFolder("s")
    monkeypatch.chdir("/")
    assert location.read("zarr.json") == b"{}"
    assert location.sizes() == {"zarr.json": 2}


@pytest.mark.parametrize(
    "look",
    [
        lambda location: location.read("a/b"),
        lambda location: location.read_many(["a/b"]),
        lambda location: location.tail("a/b", 4),
        lambda location: list(location.blocks("a/b")),
        lambda location: location.stamp("a/b"),
        lambda location: location.stamps(),
    ],
)
def test_what_the_system_refuses_is_not_missing(tmp_path: Path, look: Callable[[Location], object]) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/b").symlink_to("b")  # itself
    with pytest.raises(UnreadableObjectError, match="object a/b cannot be read: Too many levels") as caught:
        look(location_of(tmp_path))
    assert str(caught.value).startswith(f"{tmp_path}: ")
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.reason) == (str(caught.value), "Too many levels of symbolic links")


def test_a_folder_that_cannot_be_listed_is_not_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/b").write_bytes(b"")
    scandir = os.scandir

    def refuse(path: str) -> Any:
        if str(path).endswith("/a"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(UnreadableObjectError, match="object a cannot be read: Permission denied; check its"):
        location_of(tmp_path).stamps()


def test_want_of_memory_is_not_a_matter_of_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(type(fsspec.filesystem("memory")), "cat_file", refuse)
    with pytest.raises(MemoryError):
        location_of("memory://x").read("y")


def test_what_cannot_be_reached_is_named() -> None:
    with pytest.raises(CacheError, match=r"^nosuch://x cannot be reached: .*nosuch.*; check the address"):
        location_of("nosuch://x").sizes()


def test_a_library_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr("fsspec.core.url_to_fs", refuse)
    with pytest.raises(CacheError, match=r"^s3://b/x: .*Install s3fs.*pip install 'tagf\[s3\]'"):
        location_of("s3://b/x").identity()


def test_a_secret_is_not_shown() -> None:
    location = location_of("nosuch://x", {"secret": "hunter2"})
    with pytest.raises(CacheError) as caught:
        location.sizes()
    assert "hunter2" not in f"{caught.value}{location}{location!r}"
