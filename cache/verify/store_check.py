"""Checking a store: quickly, by sizes and metadata, or deeply, by every byte.

A deep check reads each object once, a chunk in memory, and compares its SHA-256 with the completion record,
so that nothing that was changed goes unnoticed; the checksum of each chunk then says which rows are
concerned. What the rows say is checked as they pass by: values are finite, times rise, and the table of clips
tells what is so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cache.errors import CacheError, IncompleteStoreError
from cache.location import RECORD_PATH, Location, Stamp, location_of
from cache.packed_store import settled_identity
from cache.record import CompletionRecord
from cache.verify.byte_check import ByteCheck
from cache.verify.metadata import read_metadata
from cache.verify.report import Findings, StoreReport


def verify_store(
    store: Path | str | Location,
    *,
    deep: bool = False,
    progress: Callable[[int], object] | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> StoreReport:
    """Check a store, here or at a place that fsspec reaches.

    Quick: the completion record fits its own digest, every object that it lists is there and has its size,
    nothing else is there, and the metadata is what was written. Deep: also the SHA-256 of every object, the
    CRC32C of every chunk, and what the rows say.

    Args:
        store: Path, URL or location.
        deep: Whether to read every byte.
        progress: With `deep`, called with numbers of bytes that were read.
        storage_options: For fsspec's file system, where `store` is a URL of one.

    Returns:
        What was found; nothing that is wrong with the store is raised.

    Raises:
        IncompleteStoreError: The store was replaced while it was checked.
        CacheError: The place cannot be reached.
    """
    location = location_of(store, storage_options)
    identity = settled_identity(location)
    findings = Findings()
    try:
        record = CompletionRecord.read(location)
    except CacheError as error:
        _require_identity(location, identity)
        findings.add(_without(str(error), location.name), object=RECORD_PATH)
        return StoreReport(store=location.name, deep=deep, problems=findings.problems)
    whole = _check_listing(location, record, findings)
    try:
        metadata = read_metadata(location, record, whole, findings)
    except FileNotFoundError as error:
        _require_identity(location, identity)
        raise IncompleteStoreError(f"{error}, and was there a moment ago; check the store again") from error
    if deep:
        ByteCheck(
            location=location,
            record=record,
            metadata=metadata,
            whole=whole,
            findings=findings,
            progress=progress or (lambda num_bytes: None),
        ).run()
    _require_identity(location, identity)
    return StoreReport(
        store=location.name,
        deep=deep,
        fingerprint=record.fingerprint,
        digest=record.digest,
        num_clips=record.num_clips,
        num_frames=record.num_frames,
        num_objects=len(record.objects),
        num_bytes=sum(facts.size_bytes for facts in record.objects.values()),
        problems=findings.problems,
        notes=tuple(findings.notes),
    )


def _require_identity(location: Location, identity: Stamp | None) -> None:
    if location.identity() != identity:
        raise IncompleteStoreError(f"{location.name} was replaced while it was checked; check it again")


def _check_listing(location: Location, record: CompletionRecord, findings: Findings) -> set[str]:
    """Compare what is there with what is listed; the objects that are there and of their size."""
    sizes = location.sizes()
    whole = set()
    for path, facts in record.objects.items():
        array = path.partition("/")[0] if "/" in path else None
        if path not in sizes:
            findings.add("is missing", object=path, array=array)
        elif sizes[path] != facts.size_bytes:
            findings.add(f"has {sizes[path]} bytes, expected {facts.size_bytes}", object=path, array=array)
        else:
            whole.add(path)
    for path in sorted(sizes.keys() - record.objects.keys() - {RECORD_PATH}):
        findings.add("is not in the completion record", object=path)
    return whole


def _without(message: str, name: str) -> str:
    """A message without the store's name, which the report has already."""
    return message.removeprefix(name).lstrip(":/ ").removeprefix(RECORD_PATH).lstrip(": ")
