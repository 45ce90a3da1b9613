"""Every way to read a store, beside the arrays that it was made from: an error of the package, or those."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cache import CacheError, ClipFeatures, FeatureStore
from cache.features import FRAME_ARRAYS

_STREAMS = ("visual", "audio")


@dataclass(kw_only=True)
class Readings:
    """What readers of one damaged store gave.

    Attributes:
        num_right: Reads that gave the right rows.
        num_refused: Reads that gave an error of the package that names the store.
        wrong: Reads that gave anything else, one line each.
    """

    num_right: int = 0
    num_refused: int = 0
    wrong: list[str] = field(default_factory=list)


class StoreReaders:
    """Reads everything in a store, in several ways.

    Args:
        wanted: What the store was made from, by clip id.
    """

    def __init__(self, wanted: Mapping[str, ClipFeatures]) -> None:
        self._wanted = wanted
        self._flat = {name: _flat(wanted, name) for name in (*_STREAMS, *FRAME_ARRAYS)}

    def read(self, store: Path | str, *, memory_map: bool, rng: np.random.Generator) -> Readings:
        """Open and read.

        Args:
            store: Path or URL.
            memory_map: Whether through mapped shards; else through zarr.
            rng: Chooses windows.
        """
        readings = Readings()
        opened: list[FeatureStore] = []

        def open_store() -> bool:
            opened.append(FeatureStore.open(store, memory_map=memory_map))
            return opened[0].clip_ids == tuple(self._wanted)

        self._try("open", open_store, str(store), readings)
        if opened:
            self.read_opened(opened[0], rng, readings)
        return readings

    def read_opened(self, store: FeatureStore, rng: np.random.Generator, readings: Readings) -> None:
        """Read everything in an opened store, and add to the readings."""
        for what, read in self._reads(store, rng):
            self._try(what, read, store.where, readings)

    def _reads(
        self, store: FeatureStore, rng: np.random.Generator
    ) -> Iterator[tuple[str, Callable[[], bool]]]:
        """Each gives whether what was read is right."""
        for name, flat in self._flat.items():
            rows = slice(0, flat.shape[_axis(name)])
            yield (
                f"rows of {name}",
                lambda name=name, flat=flat, rows=rows: _same(store.read(name, rows), flat),
            )
        for clip, wanted in self._wanted.items():
            for name in (*_STREAMS, *FRAME_ARRAYS):
                array = _of(wanted, name)
                start, stop = sorted(rng.integers(0, wanted.num_frames + 1, 2).tolist())
                part = array[(slice(None),) * _axis(name) + (slice(start, stop),)]
                yield (
                    f"rows {start} to {stop} of {name} of {clip}",
                    lambda clip=clip, name=name, start=start, stop=stop, part=part: _same(
                        _rows(store, clip, name, start, stop), part
                    ),
                )
        number = int(rng.integers(len(self._wanted)))
        clip, wanted = list(self._wanted.items())[number]
        yield "facts", lambda: store[clip].facts == {"codec": "h264", "number": number}
        yield "key", lambda: store[clip].key.clip_id == clip
        yield "media_sha256", lambda: store[clip].media_sha256 == f"{number + 1:064x}"
        yield "face_share", lambda: _close(store[clip].face_share, wanted.face_found)
        yield "audio_s", lambda: 0 <= store[clip].audio_s <= wanted.num_frames / 25
        yield "spec", lambda: store.spec.fingerprint == store.fingerprint
        yield "load", lambda: self._load_is_right(store, list(self._wanted))
        chosen = [list(self._wanted)[index] for index in rng.permutation(len(self._wanted))[:2]]
        yield f"load of {chosen}", lambda: self._load_is_right(store, chosen)

    def _load_is_right(self, store: FeatureStore, clips: list[str]) -> bool:
        loaded = store.load(clips)
        wanted = {clip: self._wanted[clip] for clip in clips}
        return loaded.clip_ids == tuple(clips) and all(
            _same(loaded.streams[name] if name in _STREAMS else getattr(loaded, name), _flat(wanted, name))
            for name in self._flat
        )

    @staticmethod
    def _try(what: str, read: Callable[[], bool], where: str, readings: Readings) -> None:
        try:
            right = bool(read())
        except CacheError as error:
            readings.num_refused += 1
            if where not in str(error) or len(str(error).splitlines()) != 1:
                readings.wrong.append(f"{what}: an error that does not say where: {error}")
        except Exception as error:
            readings.wrong.append(f"{what}: {type(error).__name__}: {error}")
        else:
            readings.num_right += right
            if not right:
                readings.wrong.append(f"{what}: wrong rows")


def _rows(store: FeatureStore, clip: str, name: str, start: int, stop: int) -> np.ndarray:
    window = store[clip].window(start, stop)
    return window.stream(name) if name in _STREAMS else getattr(window, name)


def _of(features: ClipFeatures, name: str) -> np.ndarray:
    return features.streams[name] if name in _STREAMS else getattr(features, name)


def _flat(wanted: Mapping[str, ClipFeatures], name: str) -> np.ndarray:
    return np.concatenate([_of(features, name) for features in wanted.values()], axis=_axis(name))


def _axis(name: str) -> int:
    return 1 if name == "visual" else 0


def _same(read: np.ndarray, wanted: np.ndarray) -> bool:
    """To the last bit: -0.0 is not 0.0."""
    return read.dtype == wanted.dtype and read.shape == wanted.shape and read.tobytes() == wanted.tobytes()


def _close(share: float, found: np.ndarray) -> bool:
    return abs(share - (found.mean() if found.size else 0.0)) < 1e-12
