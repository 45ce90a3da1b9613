"""What an export says of the store that it was made from, beside the rows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from cache.canonical_json import Json, canonical_json
from cache.errors import CorruptFeatureError, StoreFormatError
from cache.parts import ClipKey
from cache.spec import FeatureSpec

EXPORT_FORMAT = "tagf-feature-export"
EXPORT_VERSION = 1


@dataclass(frozen=True, kw_only=True, eq=False)
class ExportedClip:
    """One clip of an export.

    Attributes:
        name: Of its files, or of its group.
        key: What it was extracted from.
        facts: Its provenance.
        num_frames: Its rows.
        sha256: Array -> SHA-256 of its rows' bytes, little-endian, view by view.
    """

    name: str
    key: ClipKey
    facts: Mapping[str, Json]
    num_frames: int
    sha256: Mapping[str, str]


@dataclass(frozen=True, kw_only=True, eq=False)
class ExportIndex:
    """Everything of a store but its rows.

    Attributes:
        spec: What its features are.
        attributes: Further attributes of its group.
        chunk_rows: Rows per chunk.
        shard_rows: Rows per shard of every array; None where the format decides.
        digest: SHA-256 over the store's bytes.
        clips: Its clips, in order.
    """

    spec: FeatureSpec
    attributes: Mapping[str, Json]
    chunk_rows: int
    shard_rows: int | None
    digest: str
    clips: tuple[ExportedClip, ...]

    def with_digests(self, digests: Sequence[Mapping[str, str]]) -> ExportIndex:
        """The same with the digests of each clip's arrays.

        Args:
            digests: ``sha256`` of each clip.
        """
        clips = (replace(clip, sha256=sha256) for clip, sha256 in zip(self.clips, digests, strict=True))
        return replace(self, clips=tuple(clips))

    def to_json(self) -> str:
        """A JSON document, with a digest of its own."""
        content: dict[str, Any] = {
            "format": EXPORT_FORMAT,
            "format_version": EXPORT_VERSION,
            "fingerprint": self.spec.fingerprint,
            "feature_spec": json.loads(self.spec.to_json()),
            "attributes": dict(self.attributes),
            "chunk_rows": self.chunk_rows,
            "shard_rows": self.shard_rows,
            "store_digest": self.digest,
            "clips": [
                {
                    "name": clip.name,
                    "num_frames": clip.num_frames,
                    "key": asdict(clip.key),
                    "facts": dict(clip.facts),
                    "sha256": dict(clip.sha256),
                }
                for clip in self.clips
            ],
        }
        return json.dumps({**content, "index_sha256": _digest(content)}, indent=1, ensure_ascii=True)

    @classmethod
    def from_json(cls, text: str | bytes, *, where: str) -> ExportIndex:
        """Inverse of `to_json`.

        Args:
            text: The document.
            where: What messages call it.

        Raises:
            StoreFormatError: That is no export, or one of another version.
            CorruptFeatureError: It was changed since it was written.
        """
        try:
            content: dict[str, Any] = json.loads(text)
            found = content["format"], content["format_version"]
        except (ValueError, KeyError, TypeError) as error:
            raise StoreFormatError(f"{where}: expected the index of an export, got something else") from error
        if found != (EXPORT_FORMAT, EXPORT_VERSION):
            raise StoreFormatError(
                f"{where}: this program reads {EXPORT_FORMAT} version {EXPORT_VERSION}, got {found[0]} "
                f"version {found[1]}; update tagf or export the store again"
            )
        try:
            digest = content.pop("index_sha256")
            if digest != _digest(content):
                raise ValueError("it does not fit its own digest")
            return cls(
                spec=FeatureSpec.from_json(json.dumps(content["feature_spec"])),
                attributes=content["attributes"],
                chunk_rows=content["chunk_rows"],
                shard_rows=content["shard_rows"],
                digest=content["store_digest"],
                clips=tuple(
                    ExportedClip(**{**clip, "key": ClipKey(**clip["key"])}) for clip in content["clips"]
                ),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CorruptFeatureError(
                f"{where}: the index of the export was changed or is damaged ({error}); export the store "
                "again"
            ) from error


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()
