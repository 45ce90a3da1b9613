"""Every object of a store lost, cut short and damaged, before and after it was opened: never a wrong row."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from cache import CacheError, ClipFeatures, FeatureStore
from cache.features import FRAME_ARRAYS
from cache.layout import clip_layouts

ObjectsOf = Callable[[Path], dict[str, bytes]]
Packed = tuple[Path, dict[str, ClipFeatures]]

STREAMS = ("visual", "audio", "text")
ARRAYS = (*STREAMS, *FRAME_ARRAYS, *(layout.name for layout in clip_layouts(0)))
# What this reader does not look at: the names of views and edges, which the spec has, too.
NOT_READ = ("view", "box_edge")
LENGTHS = (0, 1, 17)


@dataclass
class Outcomes:
    """What came of damaged stores."""

    path: Path
    harmless: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)

    def see(self, name: str, read: Callable[[], dict[str, bytes]], good: dict[str, bytes]) -> None:
        """Read a store of which one object is damaged; the right rows, or an error that names it."""
        try:
            found = read()
        except CacheError as error:
            message = str(error)
            assert str(self.path) in message
            assert "\n" not in message
            assert name in message or "replaced or removed" in message, message
            self.messages.append(message)
        else:
            assert found == {array: good[array] for array in found}, name
            self.harmless.append(name)


def contents(store: FeatureStore, arrays: tuple[str, ...] = ARRAYS) -> dict[str, bytes]:
    """Bytes of arrays, each read in one go and clip by clip."""
    found = {}
    for name in arrays:
        clips = "frame" not in store.members[0].grids[name].dimensions
        whole = store.read(name, slice(0, len(store) if clips else store.num_frames))
        if not clips:
            axis = 1 if name == "visual" else 0
            pieces = [store.read(name, store.row_range(clip)) for clip in store]
            np.testing.assert_array_equal(np.concatenate(pieces, axis=axis), whole)
        found[name] = repr(whole.tolist()).encode()
    return found


def concerned(name: str) -> tuple[str, ...]:
    """The arrays to read when an object is damaged."""
    array = name.split("/")[0]
    return (array,) if array in ARRAYS else ("audio",)


@pytest.fixture(params=[True, False], ids=["mapped", "zarr"])
def memory_map(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def damaged(packed: Packed, objects_of: ObjectsOf) -> Iterator[tuple[Path, dict[str, bytes]]]:
    """A store and its objects; the store is whole again when the test has ended."""
    path, _ = packed
    objects = objects_of(path)
    good = contents(FeatureStore.open(path))
    yield path, objects
    for name, data in objects.items():
        put(path / name, data)
    assert contents(FeatureStore.open(path)) == good


def put(path: Path, data: bytes | None) -> None:
    """Write a file as a disk changes it: with the times that it had. None removes it."""
    if data is None:
        path.unlink()
        return
    path.write_bytes(data)
    os.utime(path, ns=(0, 0))


def test_damage_before_opening(damaged: tuple[Path, dict[str, bytes]], memory_map: bool) -> None:
    path, objects = damaged
    good = contents(FeatureStore.open(path))
    noise = random.Random(3)
    outcomes = Outcomes(path)
    for name, data in objects.items():
        place = noise.randrange(len(data))
        flipped = bytes([data[place] ^ (1 << noise.randrange(8))])
        lengths = [length for length in (*LENGTHS, len(data) - 1) if length < len(data)]
        for broken in (
            None,
            data[: noise.choice(lengths)],
            data + b"\0",
            data[:place] + flipped + data[place + 1 :],
        ):
            put(path / name, broken)
            outcomes.see(name, lambda name=name: contents(opened(path, memory_map), concerned(name)), good)
        put(path / name, data)
    assert len(outcomes.messages) > 3 * len(objects)
    # In the record, all but its attributes is Zarr's own and not read.
    assert {name.split("/")[0] for name in outcomes.harmless} <= {*NOT_READ, "completion"}


def opened(path: Path, memory_map: bool) -> FeatureStore:
    return FeatureStore.open(path, memory_map=memory_map)


@pytest.mark.parametrize("touched", [False, True])
def test_damage_after_opening(
    damaged: tuple[Path, dict[str, bytes]], memory_map: bool, touched: bool
) -> None:
    path, objects = damaged
    good = contents(FeatureStore.open(path))
    noise = random.Random(4)
    outcomes = Outcomes(path)
    shards = [name for name in objects if "/c/" in name and name.split("/")[0] not in NOT_READ]
    for name in noise.sample(shards, 16):
        data = objects[name]
        for broken in (None, data[:-1], data[:1], b"", data + b"\0", data[::-1]):
            put(path / name, data)
            store = opened(path, memory_map)
            if touched:
                contents(store, concerned(name))
            put(path / name, broken)
            if broken is not None:
                os.utime(path / name, ns=(1, 1))  # a program did it, later
            outcomes.see(name, lambda name=name, store=store: contents(store, concerned(name)), good)
            put(path / name, data)
    assert not outcomes.harmless
    assert len(outcomes.messages) == 16 * 6


def test_bits_that_rot_after_opening(damaged: tuple[Path, dict[str, bytes]], memory_map: bool) -> None:
    path, objects = damaged
    for name, data in objects.items():
        put(path / name, data)
    good = contents(FeatureStore.open(path))
    noise = random.Random(5)
    outcomes = Outcomes(path)
    shards = [name for name in objects if "/c/" in name and name.split("/")[0] not in NOT_READ]
    for name in noise.sample(shards, 30):
        data, place = objects[name], noise.randrange(len(objects[name]))
        flipped = bytes([data[place] ^ (1 << noise.randrange(8))])
        store = opened(path, memory_map)
        put(path / name, data[:place] + flipped + data[place + 1 :])  # no time tells
        outcomes.see(name, lambda name=name, store=store: contents(store, concerned(name)), good)
        put(path / name, data)
    assert not set(outcomes.harmless) - {"clip_id/c/0", "row_size/c/0"}
    assert outcomes.messages


def test_loading_never_gives_a_damaged_row(damaged: tuple[Path, dict[str, bytes]], memory_map: bool) -> None:
    path, objects = damaged
    noise = random.Random(6)
    shards = [name for name in objects if name.split("/")[0] in (*STREAMS, *FRAME_ARRAYS) and "/c/" in name]
    for name in noise.sample(shards, 12):
        data, place = objects[name], noise.randrange(len(objects[name]))
        flipped = bytes([data[place] ^ (1 << noise.randrange(8))])
        put(path / name, data[:place] + flipped + data[place + 1 :])
        with pytest.raises(CacheError, match=rf"array {name.split('/')[0]} is damaged in .*object {name} "):
            opened(path, memory_map).load()
        put(path / name, data)
