"""Small features, keys and work directories, and a reader of stores without zarr or the package."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cache import ClipFeatures, ClipKey, FeatureSpec, PartStore, StreamSpec, pack_store

SPEC = FeatureSpec(
    streams=(
        StreamSpec(name="visual", num_features=5, views=("center", "flip")),
        StreamSpec(name="audio", num_features=3),
        StreamSpec(name="text", num_features=2),
    ),
    settings={"audio.anchor": "center", "faces.margin": 0.25, "library.torch": "2.11.0"},
)


def _features(num_frames: int, seed: int = 0, spec: FeatureSpec = SPEC) -> ClipFeatures:
    rng = np.random.default_rng((seed, num_frames))
    found = rng.random(num_frames) < 0.7
    return ClipFeatures(
        streams={
            # some rows are all zero: a chunk of zeros is what zarr would leave out
            stream.name: (
                rng.standard_normal(stream.shape(num_frames)) * found.reshape(num_frames, 1)
            ).astype(np.float16)
            for stream in spec.streams
        },
        time_s=np.cumsum(rng.uniform(0.01, 0.1, num_frames)),
        source_frame=np.sort(rng.choice(10_000, num_frames, replace=False)).astype(np.int64),
        face_found=found,
        audio_found=rng.random(num_frames) < 0.5,
        face_box=rng.uniform(0, 500, (num_frames, 4)).astype(np.float32),
        face_score=rng.random(num_frames).astype(np.float32),
    )


def _key(clip_id: str, spec: FeatureSpec = SPEC, **changed: Any) -> ClipKey:
    fields = {"media_sha256": "ab" * 32, "faces_sha256": None, "selection": "all", **changed}
    return ClipKey(clip_id=clip_id, fingerprint=spec.fingerprint, **fields)


@pytest.fixture(scope="session", autouse=True)
def quick_disk() -> Iterator[None]:
    """No fsync, which costs most of the time and decides on nothing but what a power failure leaves."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="session")
def spec() -> FeatureSpec:
    return SPEC


@pytest.fixture(scope="session")
def make_features() -> Callable[..., ClipFeatures]:
    return _features


@pytest.fixture(scope="session")
def make_key() -> Callable[..., ClipKey]:
    return _key


@pytest.fixture(scope="session")
def commit_clips() -> Callable[..., tuple[list[tuple[PartStore, ClipKey]], dict[str, ClipFeatures]]]:
    """Commit clips of the given lengths; gives the sources for `pack_store` and the features by clip id."""

    def commit(
        directory: Path, num_frames: Sequence[int], seed: int = 0, spec: FeatureSpec = SPEC
    ) -> tuple[list[tuple[PartStore, ClipKey]], dict[str, ClipFeatures]]:
        parts = PartStore(directory)
        sources, features = [], {}
        for index, count in enumerate(num_frames):
            clip_id = f"clip_{index}"
            features[clip_id] = _features(count, seed + index, spec)
            parts.commit(_key(clip_id, spec), features[clip_id], {"codec": "h264", "index": index})
            sources.append((parts, _key(clip_id, spec)))
        return sources, features

    return commit


@pytest.fixture
def packed(tmp_path: Path, commit_clips: Any) -> tuple[Path, dict[str, ClipFeatures]]:
    """A store of four clips over several chunks and shards, one clip without a frame."""
    sources, features = commit_clips(tmp_path / "parts", [7, 0, 12, 4])
    pack_store(sources, SPEC, tmp_path / "features.zarr", chunk_rows=2, shard_rows=6)
    return tmp_path / "features.zarr", features


def _crc32c(data: bytes) -> int:
    """CRC-32C bit by bit, from its definition (reflected polynomial 0x82F63B78, RFC 3720)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def _checked(data: bytes) -> bytes:
    assert _crc32c(data[:-4]) == int.from_bytes(data[-4:], "little")
    return data[:-4]


def _read_raw(store: Path, name: str) -> np.ndarray:
    """A numeric array of a store from its bytes alone, by the Zarr v3 and sharding specifications.

    Chunk i of a shard has to lie at i * (chunk_bytes + 4), each chunk and the index with its CRC-32C.
    """
    meta = json.loads((store / name / "zarr.json").read_text())
    (sharding,) = meta["codecs"]
    assert sharding["name"] == "sharding_indexed"
    little = {"name": "bytes", "configuration": {"endian": "little"}}
    inner = sharding["configuration"]
    one_byte = {"name": "bytes"}
    assert inner["codecs"] in ([little, {"name": "crc32c"}], [one_byte, {"name": "crc32c"}])
    assert inner["index_codecs"] == [little, {"name": "crc32c"}]
    assert inner["index_location"] == "end"
    dtype = np.dtype(meta["data_type"]).newbyteorder("<")
    assert dtype.itemsize == 1 or inner["codecs"][0] == little
    shape, shard, chunk = (
        meta["shape"],
        meta["chunk_grid"]["configuration"]["chunk_shape"],
        inner["chunk_shape"],
    )
    axis = 1 if len(shape) == 3 else 0
    chunks_per_shard, chunk_bytes = shard[axis] // chunk[axis], int(np.prod(chunk)) * dtype.itemsize
    out = np.empty(shape, dtype)
    for view in np.ndindex(*shape[:axis]):
        rows = []
        for index in range(-(-shape[axis] // shard[axis])):
            path = store.joinpath(name, "c", *map(str, view), str(index), *["0"] * (len(shape) - axis - 1))
            data = path.read_bytes()
            table = _checked(data[-(16 * chunks_per_shard + 4) :])
            offsets = np.frombuffer(table, "<u8").reshape(-1, 2)
            for place in range(min(chunks_per_shard, -(-(shape[axis] - index * shard[axis]) // chunk[axis]))):
                start = place * (chunk_bytes + 4)
                assert offsets[place].tolist() == [start, chunk_bytes + 4]
                block = _checked(data[start : start + chunk_bytes + 4])
                rows.append(np.frombuffer(block, dtype).reshape(chunk[axis:]))
        if rows:
            out[view] = np.concatenate(rows)[: shape[axis]]
    return out


@pytest.fixture(scope="session")
def read_raw() -> Callable[[Path, str], np.ndarray]:
    return _read_raw


@pytest.fixture(scope="session")
def objects_of() -> Callable[[Path], dict[str, bytes]]:
    """Every file of a directory, by its relative path."""

    def read(directory: Path) -> dict[str, bytes]:
        files = [path for path in sorted(directory.rglob("*")) if path.is_file()]
        return {path.relative_to(directory).as_posix(): path.read_bytes() for path in files}

    return read
