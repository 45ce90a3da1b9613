"""The completion record: what a finished store consists of, written last.

It lists every other object of the store with its size and SHA-256. zarr takes a lost object for one that was
never written and reads fill values; the record is what tells the two apart. It lies in the store as a group
of its own without arrays, because readers that list the store warn of any file that is no part of a Zarr
hierarchy.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from cache.atomic_file import replacement_of
from cache.canonical_json import canonical_json
from cache.errors import CorruptFeatureError, IncompleteStoreError, StoreFormatError
from cache.file_digest import file_digest
from cache.layout import FORMAT_NAME, FORMAT_VERSION

RECORD_PATH = "completion/zarr.json"
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

    @classmethod
    def of(cls, store: Path, *, fingerprint: str, num_clips: int, num_frames: int) -> CompletionRecord:
        """The record of what lies in a directory now; reads every byte."""
        paths = sorted(path.relative_to(store).as_posix() for path in store.rglob("*") if path.is_file())
        objects = {
            path: StoredObject(size_bytes=(store / path).stat().st_size, sha256=file_digest(store / path))
            for path in paths
            if path != RECORD_PATH
        }
        return cls(fingerprint=fingerprint, num_clips=num_clips, num_frames=num_frames, objects=objects)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the record: equal for stores whose bytes are equal, 64 hexadecimal digits."""
        return hashlib.sha256(canonical_json(self._content()).encode()).hexdigest()

    def write(self, store: Path) -> None:
        """Write the record into its store, flushed to the disk."""
        document = {
            "attributes": {**self._content(), "digest": self.digest},
            "zarr_format": 3,
            "node_type": "group",
        }
        path = store / RECORD_PATH
        path.parent.mkdir(exist_ok=True)
        with replacement_of(path) as file:
            file.write(json.dumps(document, indent=1).encode())

    @classmethod
    def read(cls, store: Path) -> CompletionRecord:
        """Read a store's record.

        Raises:
            IncompleteStoreError: The directory or its record is missing.
            StoreFormatError: A store of another format version, or a record that is damaged.
        """
        path = store / RECORD_PATH
        if not store.exists():
            raise IncompleteStoreError(
                f"{store}: no feature store there; run 'dvc repro extract', 'dvc pull' or 'tagf extract'"
            )
        try:
            data = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError) as error:
            if not (store / "zarr.json").is_file():
                raise StoreFormatError(f"{store}: expected a feature store, got no Zarr group") from error
            raise IncompleteStoreError(
                f"{store}: {RECORD_PATH} is missing, so the store was never finished or only partly copied; "
                "run 'dvc repro extract' or 'dvc checkout'"
            ) from error
        try:
            content: dict[str, Any] = json.loads(data)["attributes"]
            name, version = content["format"], content["format_version"]
            if (name, version) != (FORMAT_NAME, FORMAT_VERSION):
                raise StoreFormatError(
                    f"{store}: this program reads {FORMAT_NAME} version {FORMAT_VERSION}, got {name} version "
                    f"{version}; update the program or extract again"
                )
            record = cls(
                fingerprint=content["fingerprint"],
                num_clips=content["num_clips"],
                num_frames=content["num_frames"],
                objects={path: StoredObject(**facts) for path, facts in content["objects"].items()},
            )
            fits = record.digest == content["digest"]
        except StoreFormatError:
            raise
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise CorruptFeatureError(
                f"{path}: the completion record is damaged ({error}); {RESTORE_HINT}"
            ) from error
        if not fits:
            raise CorruptFeatureError(
                f"{path}: the completion record does not fit its own digest; {RESTORE_HINT}"
            )
        return record

    def check_sizes(self, store: Path, paths: Iterable[str] | None = None) -> None:
        """Compare the sizes of objects with the record; reads none of them.

        Args:
            store: The store.
            paths: Objects to look at; all by default.

        Raises:
            IncompleteStoreError: An object is missing.
            CorruptFeatureError: An object has another size.
        """
        for path in self.objects if paths is None else paths:
            wanted = self.objects[path].size_bytes
            try:
                size = (store / path).stat().st_size
            except (FileNotFoundError, NotADirectoryError) as error:
                raise IncompleteStoreError(f"{store}: object {path} is missing; {RESTORE_HINT}") from error
            if size != wanted:
                raise CorruptFeatureError(
                    f"{store}: object {path} has {size} bytes, expected {wanted}; {RESTORE_HINT}"
                )

    def check_digests(
        self,
        store: Path,
        paths: Iterable[str] | None = None,
        progress: Callable[[int], object] | None = None,
    ) -> None:
        """Compare the SHA-256 of objects with the record; reads every byte of them.

        Args:
            store: The store.
            paths: Objects to look at; all by default.
            progress: Called with the number of bytes of each object that was read.

        Raises:
            IncompleteStoreError: An object is missing.
            CorruptFeatureError: An object has another size or other bytes.
        """
        for path in self.objects if paths is None else paths:
            self.check_sizes(store, [path])
            if file_digest(store / path) != self.objects[path].sha256:
                raise CorruptFeatureError(f"{store}: object {path} is not what was written; {RESTORE_HINT}")
            if progress is not None:
                progress(self.objects[path].size_bytes)

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
