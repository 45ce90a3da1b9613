"""A small store, and every kind of damage to its objects."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from cache import ClipFeatures, ClipKey, FeatureSpec, PartStore, StreamSpec, pack_store

Kind = Literal["deleted", "cut short", "made longer", "bit flipped"]

# A clip without rows, one over several shards with a long stretch without a face, where chunks are all zero,
# and some that share chunks.
NUM_FRAMES = (23, 0, 150, 1, 40)
_ZERO_ROWS = slice(30, 110)
_SPEC = FeatureSpec(
    streams=(
        StreamSpec(name="visual", num_features=24, views=("center", "flip")),
        StreamSpec(name="audio", num_features=8),
    ),
    settings={"audio.anchor": "center"},
)
_LONG_AGO_S = 1_600_000_000


@dataclass(frozen=True, kw_only=True)
class Damage:
    """What is done to one object.

    Attributes:
        path: The object, relative to the store.
        kind: What is done.
        place: Number of the bit that is flipped; length to which the object is cut or made longer.
    """

    path: str
    kind: Kind
    place: int = 0

    def of(self, data: bytes) -> bytes | None:
        """The damaged object; None where it is deleted."""
        if self.kind == "deleted":
            return None
        if self.kind == "bit flipped":
            damaged = bytearray(data)
            damaged[self.place // 8] ^= 1 << self.place % 8
            return bytes(damaged)
        return data[: self.place].ljust(self.place, b"\0")

    def __str__(self) -> str:
        at = {"deleted": "", "bit flipped": f" {self.place % 8} of byte {self.place // 8}"}
        return f"{self.path} {self.kind}{at.get(self.kind, f' to {self.place} bytes')}"


def pack_small_store(folder: Path) -> dict[str, ClipFeatures]:
    """Pack `folder`/features.zarr of few rows in many chunks and shards.

    Returns:
        What it holds, by clip id.
    """
    parts = PartStore(folder / "parts")
    features, sources = {}, []
    for number, num_frames in enumerate(NUM_FRAMES):
        key = ClipKey(
            clip_id=f"clip/{number}",
            media_sha256=f"{number + 1:064x}",
            faces_sha256=None,
            selection="all",
            fingerprint=_SPEC.fingerprint,
        )
        features[key.clip_id] = _features(number, num_frames)
        parts.commit(key, features[key.clip_id], {"codec": "h264", "number": number})
        sources.append((parts, key))
    pack_store(sources, _SPEC, folder / "features.zarr", chunk_rows=16, shard_rows=64)
    return features


def systematic_damage(objects: Mapping[str, bytes]) -> Iterator[Damage]:
    """Each object deleted, cut to several lengths, and made longer.

    Args:
        objects: Every object of the store by its path.
    """
    for path, data in objects.items():
        yield Damage(path=path, kind="deleted")
        size = len(data)
        # To nothing, a byte, half; without a chunk's or index's checksum, an entry of the index, a byte.
        for length in sorted({0, 1, size // 2, size - 20, size - 4, size - 1}):
            if 0 <= length < size:
                yield Damage(path=path, kind="cut short", place=length)
        for length in (size + 1, size + 4096):
            yield Damage(path=path, kind="made longer", place=length)


def random_flip(objects: Mapping[str, bytes], rng: np.random.Generator) -> Damage:
    """One bit at a random place: of all bytes in half of the cases, else of a random object."""
    paths = list(objects)
    sizes = np.array([len(objects[path]) for path in paths])
    share = sizes / sizes.sum() if rng.random() < 0.5 else np.full(len(paths), 1 / len(paths))
    path = paths[int(rng.choice(len(paths), p=share))]
    return Damage(path=path, kind="bit flipped", place=int(rng.integers(8 * len(objects[path]))))


def write_object(store: Path, path: str, data: bytes | None) -> None:
    """Write an object in place, or delete it; its time of change is another one each time, and long ago.

    Clocks of file systems tick slowly: what is written twice within a tick has one time of change.
    """
    file = store / path
    if data is None:
        file.unlink()
        return
    before = file.stat().st_mtime_ns if file.exists() else 0
    with file.open("r+b" if before else "wb") as stream:
        stream.truncate(len(data))
        stream.write(data)
    changed = _LONG_AGO_S * 10**9 if before != _LONG_AGO_S * 10**9 else before + 10**9
    os.utime(file, ns=(changed, changed))


def _features(number: int, num_frames: int) -> ClipFeatures:
    rng = np.random.default_rng(number)
    found = rng.random(num_frames) < 0.8
    found[_ZERO_ROWS] = False
    visual = rng.standard_normal((2, num_frames, 24)).astype(np.float16)
    visual[:, ~found] = 0
    return ClipFeatures(
        streams={"visual": visual, "audio": rng.standard_normal((num_frames, 8)).astype(np.float16)},
        time_s=np.arange(num_frames) / 25,
        source_frame=np.arange(num_frames),
        face_found=found,
        audio_found=rng.random(num_frames) < 0.5,
        face_box=(rng.random((num_frames, 4)) * found[:, None]).astype(np.float32),
        face_score=(rng.random(num_frames) * found).astype(np.float32),
    )
