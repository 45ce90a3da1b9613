"""The completion record: what a finished store consists of, written last.

It lists every other object of the store with its size and SHA-256. zarr takes a lost object for one that was
never written and reads fill values; the record is what tells the two apart. It lies in the store as a group
of its own without arrays, because readers that list the store warn of any file that is no part of a Zarr
hierarchy.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from cache.atomic_file import replacement_of
from cache.canonical_json import canonical_json
from cache.errors import CorruptFeatureError, IncompleteStoreError, StoreFormatError
from cache.layout import FORMAT_NAME, FORMAT_VERSION
from cache.location import RECORD_PATH, Location, location_of

RESTORE_HINT = "restore it with 'dvc checkout', or pack it again with 'dvc repro --force extract'"


@dataclass(frozen=True, kw_only=True)
class StoredObject:
    """One object of a store.

    Attributes:
        size_bytes: Its size.
        sha256: Its digest, 64 hexadecimal digits.
    """

    size_bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True, eq=False)
class CompletionRecord:
    """Everything that a finished store consists of.

    Attributes:
        fingerprint: Fingerprint of the feature spec.
        num_clips: Number of clips.
        num_frames: Number of rows of all clips.
        objects: Every object but the record itself, by its path relative to the store.
    """

    fingerprint: str
    num_clips: int
    num_frames: int
    objects: Mapping[str, StoredObject]

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the record: equal for stores whose bytes are equal, 64 hexadecimal digits."""
        return hashlib.sha256(canonical_json(self._content()).encode()).hexdigest()

    def write(self, store: Path) -> None:
        """Write the record into its store, flushed to the disk."""
        path = store / RECORD_PATH
        path.parent.mkdir(exist_ok=True)
        with replacement_of(path, tidy=False) as file:
            file.write(json.dumps(self._document(), indent=1).encode())

    @classmethod
    def read(cls, where: Path | str | Location) -> CompletionRecord:
        """Read a store's record.

        Raises:
            IncompleteStoreError: The store or its record is missing.
            StoreFormatError: A store of another format version, or no feature store.
            CorruptFeatureError: The record is damaged.
            CacheError: The store cannot be reached.
        """
        location = location_of(where)
        try:
            data = location.read(RECORD_PATH)
        except FileNotFoundError as error:
            raise _no_record(location) from error
        try:
            document: dict[str, Any] = json.loads(data)
            content = document["attributes"]
            name, version = content["format"], content["format_version"]
            if (name, version) != (FORMAT_NAME, FORMAT_VERSION):
                raise _other_format(location, name, version)
            record = cls(
                fingerprint=content["fingerprint"],
                num_clips=content["num_clips"],
                num_frames=content["num_frames"],
                objects={path: StoredObject(**facts) for path, facts in content["objects"].items()},
            )
            # All of it, since the digest covers the attributes alone and not what makes them a Zarr group.
            is_whole = record._document() == document
        except StoreFormatError:
            raise
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise CorruptFeatureError(
                f"{location.name}/{RECORD_PATH}: the completion record is damaged ({error}); {RESTORE_HINT}"
            ) from error
        if not is_whole:
            raise CorruptFeatureError(
                f"{location.name}/{RECORD_PATH}: the completion record does not fit its own digest, or is no "
                f"longer a Zarr group; {RESTORE_HINT}"
            )
        return record

    def check_sizes(
        self,
        where: Path | str | Location,
        paths: Iterable[str] | None = None,
        *,
        sizes: Mapping[str, int] | None = None,
    ) -> None:
        """Compare the sizes of objects with the record; reads none of them.

        Args:
            where: The store.
            paths: Objects to look at; all by default.
            sizes: Sizes in bytes by path, where they are known; the store is listed otherwise.

        Raises:
            IncompleteStoreError: An object is missing.
            CorruptFeatureError: An object has another size.
            CacheError: The store cannot be reached.
        """
        location = location_of(where)
        sizes = location.sizes() if sizes is None else sizes
        for path in self.objects if paths is None else paths:
            wanted = self.objects[path].size_bytes
            if path not in sizes:
                raise IncompleteStoreError(f"{location.name}: object {path} is missing; {RESTORE_HINT}")
            if sizes[path] != wanted:
                raise CorruptFeatureError(
                    f"{location.name}: object {path} has {sizes[path]} bytes, expected {wanted}; "
                    f"{RESTORE_HINT}"
                )

    def check_content(self, where: Path | str | Location, path: str, content: bytes) -> None:
        """Compare the bytes of an object, read before, with its SHA-256.

        Raises:
            CorruptFeatureError: They are not what was written.
        """
        if hashlib.sha256(content).hexdigest() != self.objects[path].sha256:
            raise CorruptFeatureError(
                f"{location_of(where).name}: object {path} is not what was written; {RESTORE_HINT}"
            )

    def _document(self) -> dict[str, Any]:
        return {
            "attributes": {**self._content(), "digest": self.digest},
            "zarr_format": 3,
            "node_type": "group",
        }

    def _content(self) -> dict[str, Any]:
        return {
            "format": FORMAT_NAME,
            "format_version": FORMAT_VERSION,
            "fingerprint": self.fingerprint,
            "num_clips": self.num_clips,
            "num_frames": self.num_frames,
            "objects": {
                path: {"size_bytes": facts.size_bytes, "sha256": facts.sha256}
                for path, facts in self.objects.items()
            },
        }


def _no_record(location: Location) -> IncompleteStoreError | StoreFormatError:
    """What to say of a place without a completion record."""
    if location.local is None or not location.local.exists():
        found = location.sizes()
        is_empty, is_group = not found, "zarr.json" in found
    else:
        is_empty, is_group = False, (location.local / "zarr.json").is_file()
    if is_empty:
        return IncompleteStoreError(
            f"{location.name}: no feature store there; run 'dvc repro extract', 'dvc pull' or 'tagf extract'"
        )
    if not is_group:
        return StoreFormatError(
            f"{location.name}: expected a feature store, got no Zarr group; give what 'tagf extract' wrote"
        )
    return IncompleteStoreError(
        f"{location.name}: {RECORD_PATH} is missing, so the store was never finished or only partly copied; "
        "run 'dvc repro extract' or 'dvc checkout'"
    )


def _other_format(location: Location, name: object, version: object) -> StoreFormatError:
    is_older = name == FORMAT_NAME and isinstance(version, int) and version < FORMAT_VERSION
    remedy = "pack it again with 'tagf extract'; nothing is extracted again" if is_older else "update tagf"
    return StoreFormatError(
        f"{location.name}: this program reads {FORMAT_NAME} version {FORMAT_VERSION}, got {name} version "
        f"{version}; {remedy}"
    )
