"""Finished clips, one immutable file each, in a work directory.

A part is an uncompressed npz: ``key.json``, ``facts.json`` and ``arrays.json`` (of each array its type, its
shape and a CRC32C of each view), then one npy member per array, in a fixed order and with fixed dates: equal
features give equal bytes. It is committed whole or not at all, by any number of processes or machines
at once. Its file is named by a digest of its key, so that clip ids never become paths.
"""

from __future__ import annotations

import hashlib
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path

from cache.atomic_file import make_directory, remove_leftovers, replacement_of
from cache.canonical_json import Json, canonical_json
from cache.errors import StorageError
from cache.features import FRAME_ARRAYS, ClipFeatures
from cache.part_reader import PartReader
from cache.part_writer import ARRAYS_MEMBER, FACTS_MEMBER, KEY_MEMBER, PartWriter, member
from cache.spec import FINGERPRINT_LENGTH, FeatureSpec

_SHA256 = re.compile(r"[0-9a-f]{64}")
_FINGERPRINT = re.compile(rf"[0-9a-f]{{{FINGERPRINT_LENGTH}}}")


@dataclass(frozen=True, kw_only=True)
class ClipKey:
    """What one clip's features were made from.

    Attributes:
        clip_id: The clip's name, unique in a store.
        media_sha256: Digest of the media file.
        faces_sha256: Digest of the file that the faces were taken from; ``None`` where they were detected.
        selection: Which subject, track and streams of the media file, in the manifest's words.
        fingerprint: `FeatureSpec.fingerprint` of the extraction.
    """

    clip_id: str
    media_sha256: str
    faces_sha256: str | None
    selection: str
    fingerprint: str

    def __post_init__(self) -> None:
        if not self.clip_id:
            raise ValueError("clip_id must not be empty")
        try:
            self.clip_id.encode()
        except UnicodeEncodeError as error:
            raise ValueError(
                f"clip_id must be valid Unicode, got {self.clip_id!r}; rename the file that it was taken from"
            ) from error
        for name in ("media_sha256", "faces_sha256"):
            value = getattr(self, name)
            if value is not None and not _SHA256.fullmatch(value):
                raise ValueError(f"{name} must be 64 hexadecimal digits, got {value!r}")
        if not _FINGERPRINT.fullmatch(self.fingerprint):
            raise ValueError(
                f"fingerprint must be {FINGERPRINT_LENGTH} hexadecimal digits, got {self.fingerprint!r}"
            )

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the key as canonical JSON, 64 hexadecimal digits."""
        return hashlib.sha256(canonical_json(self.as_dict()).encode()).hexdigest()

    def as_dict(self) -> dict[str, str | None]:
        """The fields by name, JSON; `dataclasses.asdict` takes ten times as long, for a deep copy."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """One finished clip.

    Attributes:
        key: What it was made from.
        features: Its rows, read-only.
        facts: Provenance: code digest, facts of the media, machine.
    """

    key: ClipKey
    features: ClipFeatures
    facts: Mapping[str, Json]


class PartStore:
    """A work directory of parts.

    Args:
        directory: Created with the first part. Not to lie in a DVC stage's output, which DVC would delete.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = Path(directory)
        self._prepared: set[str] = set()

    def path(self, key: ClipKey) -> Path:
        """File of a part, whether it exists or not."""
        return self.directory / key.fingerprint / f"{key.digest}.npz"

    def __contains__(self, key: ClipKey) -> bool:
        return self.path(key).is_file()

    def commit(self, key: ClipKey, features: ClipFeatures, facts: Mapping[str, Json]) -> Path:
        """Write one part, whole or not at all; an older part of the same key is replaced.

        Raises:
            ValueError: `facts` is not JSON.
            StorageError: The disk is full or not writable.
        """
        shapes = {name: (*rows.shape[:-2], -1, rows.shape[-1]) for name, rows in features.streams.items()}
        with self._writer(key, shapes) as writer:
            writer.append(**{name: getattr(features, name) for name in FRAME_ARRAYS})
            for name, rows in features.streams.items():
                writer.append_stream(name, rows)
            return writer.commit(facts)

    def writer(self, key: ClipKey, spec: FeatureSpec) -> AbstractContextManager[PartWriter]:
        """A writer that takes the clip's rows block by block; nothing is there until it commits.

        Args:
            key: What the part is made from.
            spec: Its streams.

        Raises:
            StorageError: The disk is full or not writable.
        """
        return self._writer(key, {stream.name: stream.shape(-1) for stream in spec.streams})

    @contextmanager
    def _writer(self, key: ClipKey, shapes: Mapping[str, tuple[int, ...]]) -> Iterator[PartWriter]:
        def save(
            facts: Mapping[str, Json],
            arrays: Mapping[str, Json],
            add_arrays: Callable[[zipfile.ZipFile], None],
        ) -> Path:
            documents = {
                KEY_MEMBER: canonical_json(key.as_dict()),
                FACTS_MEMBER: canonical_json(facts),
                ARRAYS_MEMBER: canonical_json(arrays),
            }
            path = self.path(key)
            with (
                writing(),
                replacement_of(path, tidy=False) as file,
                zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive,
            ):
                for name, text in documents.items():
                    with archive.open(member(name), "w") as stream:
                        stream.write(text.encode())
                add_arrays(archive)
            return path

        def writing() -> AbstractContextManager[None]:
            return self._writing(f"the part of clip {key.clip_id!r}", key.fingerprint)

        with writing():  # makes the directory
            pass
        writer = PartWriter(shapes, self.directory / key.fingerprint, writing, save)
        try:
            yield writer
        finally:
            writer.close()

    def open(self, key: ClipKey) -> PartReader:
        """One part, to be read piece by piece: a context manager, and a `cache.row_source.RowSource`.

        Raises:
            UnknownClipError: There is no such part.
            CorruptFeatureError: The file is damaged, or holds another part.
        """
        return PartReader(self.path(key), key)

    def read(self, key: ClipKey) -> Part:
        """One part, its checksums verified.

        Raises:
            UnknownClipError: There is no such part.
            CorruptFeatureError: The file is damaged, or holds another part.
        """
        with self.open(key) as part:
            return Part(key=key, features=part.features(), facts=part.facts)

    def facts(self, key: ClipKey) -> Mapping[str, Json]:
        """Provenance of one part, without reading its arrays.

        Raises:
            UnknownClipError: There is no such part.
            CorruptFeatureError: The file is damaged, or holds another part.
        """
        with self.open(key) as part:
            return part.facts

    def discard(self, key: ClipKey) -> None:
        """Remove one part, if it is there."""
        self.path(key).unlink(missing_ok=True)

    def write_spec(self, spec: FeatureSpec) -> None:
        """Keep a spec beside its parts, so that a later run can name the settings that differ.

        Raises:
            StorageError: The disk is full or not writable.
        """
        path = self._spec_path(spec.fingerprint)
        if not path.is_file():
            with self._writing("the feature spec", spec.fingerprint), replacement_of(path) as file:
                file.write(spec.to_json().encode())

    def read_spec(self, fingerprint: str) -> FeatureSpec | None:
        """The spec of a fingerprint, as far as `write_spec` kept it."""
        try:
            return FeatureSpec.from_json(self._spec_path(fingerprint).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def _spec_path(self, fingerprint: str) -> Path:
        return self.directory / fingerprint / "spec.json"

    @contextmanager
    def _writing(self, what: str, fingerprint: str) -> Iterator[None]:
        """Prepare the directory, and name the work directory in what the disk refuses."""
        directory = self.directory / fingerprint
        try:
            make_directory(directory)
            if fingerprint not in self._prepared:
                remove_leftovers(directory)
                self._prepared.add(fingerprint)
            yield
        except OSError as error:
            raise StorageError(
                f"cannot write {what} into {directory}: {error.strerror or error}; free space there or "
                "choose another work directory"
            ) from error
