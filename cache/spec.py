"""What a set of features is: its streams, and every declared setting that changes their numbers.

The fingerprint covers what is declared to change the numbers (digests of weights, preprocessing, precision,
versions of the computing libraries). It does not cover what leaves them alone (format version of the store,
workers, device).
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from cache.errors import StoreFormatError
from cache.features import FRAME_ARRAYS, VISUAL_STREAM

SettingValue = str | int | float | bool

FINGERPRINT_LENGTH = 16
#: What the names of settings begin with that say how the features of another toolkit were read.
IMPORTED_PREFIX = "imported."
_NAME = re.compile(r"[a-z][a-z0-9_]*")
# A stream's name becomes the name of an array in the store's group: it must be none of the other arrays, no
# dimension (readers take an array named like a dimension for its coordinate) and not the completion record.
_CLIP_TABLE = ("clip_id", "row_size", "media_sha256", "face_share", "audio_s", "clip_facts")
_RESERVED_NAMES = frozenset({*FRAME_ARRAYS, *_CLIP_TABLE, "view", "frame", "clip", "box_edge", "completion"})


@dataclass(frozen=True, kw_only=True)
class StreamSpec:
    """Shape of one stream.

    Attributes:
        name: ``visual``, ``audio`` or a further name, lower case.
        num_features: Features per row D.
        views: Names of the V views; ``None`` for a stream without views, which is every one but ``visual``.
    """

    name: str
    num_features: int
    views: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or self.name in _RESERVED_NAMES:
            raise ValueError(
                "a stream's name must be lower case letters, digits and underscores, and none of the store's "
                f"own names ({', '.join(sorted(_RESERVED_NAMES))}), got {self.name!r}"
            )
        if not isinstance(self.num_features, int) or self.num_features < 1:
            raise ValueError(f"num_features of {self.name!r} must be at least 1, got {self.num_features!r}")
        if self.views is not None:
            object.__setattr__(self, "views", tuple(self.views))
        if (self.views is not None) != (self.name == VISUAL_STREAM):
            raise ValueError(f"views belong to the visual stream alone, {self.name!r} has {self.views}")
        if self.views is not None and (not self.views or len(set(self.views)) != len(self.views)):
            raise ValueError(f"views of {self.name!r} must name at least one, each once, got {self.views}")

    def shape(self, num_frames: int) -> tuple[int, ...]:
        """Shape of this stream's rows: ``(V, N, D)`` with views, ``(N, D)`` without."""
        rows = (num_frames, self.num_features)
        return rows if self.views is None else (len(self.views), *rows)


@dataclass(frozen=True, kw_only=True, eq=False)
class FeatureSpec:
    """Streams and settings of one set of features.

    Attributes:
        streams: The streams, in the order of the store.
        settings: Flat dotted settings that change the numbers, for example ``audio.anchor: center``.
    """

    streams: tuple[StreamSpec, ...]
    settings: Mapping[str, SettingValue]

    def __post_init__(self) -> None:
        object.__setattr__(self, "streams", tuple(self.streams))
        object.__setattr__(self, "settings", dict(self.settings))  # a plain dict: it has to pickle
        names = [stream.name for stream in self.streams]
        if not names or len(set(names)) != len(names):
            raise ValueError(f"streams must name at least one stream, each once, got {names}")
        for key, value in self.settings.items():
            if not isinstance(key, str) or not isinstance(value, (str, int, float)):
                raise ValueError(f"setting {key!r} must be a string, a number or a boolean, got {value!r}")
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"setting {key!r} must be finite, got {value!r}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FeatureSpec) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    @cached_property
    def fingerprint(self) -> str:
        """First 16 hexadecimal digits of the SHA-256 of `to_json`."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:FINGERPRINT_LENGTH]

    def stream(self, name: str) -> StreamSpec:
        """The stream of that name.

        Raises:
            KeyError: No such stream.
        """
        for stream in self.streams:
            if stream.name == name:
                return stream
        raise KeyError(name)

    def differences(self, other: FeatureSpec, *, here: str = "here", there: str = "there") -> tuple[str, ...]:
        """Every stream and setting in which two specs differ, for people to read.

        Args:
            other: The spec to compare with.
            here: What to call this spec.
            there: What to call the other.

        Returns:
            Lines like ``audio.anchor: 'center' here, 'end' there``; empty where the fingerprints are equal.
        """
        mine, theirs = self._flat(), other._flat()
        lines = []
        for key in [*mine, *(key for key in theirs if key not in mine)]:
            # 1, 1.0 and True are equal in Python and differ in JSON, so JSON decides, as in the fingerprint.
            if key in mine and key in theirs and json.dumps(mine[key]) == json.dumps(theirs[key]):
                continue
            shown = [repr(side[key]) if key in side else "not set" for side in (mine, theirs)]
            lines.append(f"{key}: {shown[0]} {here}, {shown[1]} {there}")
        return tuple(lines)

    def to_json(self) -> str:
        """Canonical JSON: sorted keys, no spaces, ASCII; the streams keep their order."""
        mapping = {
            "settings": dict(self.settings),
            "streams": [
                {
                    "name": stream.name,
                    "num_features": stream.num_features,
                    "views": None if stream.views is None else list(stream.views),
                }
                for stream in self.streams
            ],
        }
        return json.dumps(mapping, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> FeatureSpec:
        """Inverse of `to_json`.

        Raises:
            StoreFormatError: `text` is not the JSON of a feature spec.
        """
        try:
            mapping: Any = json.loads(text)
            streams = tuple(
                StreamSpec(
                    name=stream["name"],
                    num_features=stream["num_features"],
                    views=None if stream["views"] is None else tuple(stream["views"]),
                )
                for stream in mapping["streams"]
            )
            return cls(streams=streams, settings=mapping["settings"])
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise StoreFormatError(
                f"feature spec: expected JSON with 'streams' and 'settings', got {text[:60]!r} ({error})"
            ) from error

    def _flat(self) -> dict[str, object]:
        """Streams and settings under one flat set of keys, streams first."""
        flat: dict[str, object] = {"streams": [stream.name for stream in self.streams]}
        for stream in self.streams:
            flat[f"streams.{stream.name}.num_features"] = stream.num_features
            if stream.views is not None:
                flat[f"streams.{stream.name}.views"] = list(stream.views)
        return flat | dict(sorted(self.settings.items()))
